"""The rules of the house, read from the syntax tree. Every rule is shown a piece of code that breaks it."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from stages import imports
from tests import pipeline

PACKAGE = pipeline.ROOT / "src" / "iglo"
LIBRARY = sorted(PACKAGE.rglob("*.py"))
STAGES = sorted((pipeline.ROOT / "stages").glob("*.py"))
LAYERS = [  # in the order of imports: a module may import its own layer and the layers before it
    {"errors", "environment", "randomness", "progress"},
    {"files"},
    {"runtime"},
    {"params"},
    {"data"},
    {"models"},
    {"backbones"},
    {"losses"},
    {"subsets"},
    {"training"},
    {"latent"},
    {"evaluation"},
    {"report"},
    {"comparison"},
    {"disentangle"},
    {"export"},
    {"estimator"},
    {"explore"},
    {"cli"},
]
COMMAND = sorted((PACKAGE / "cli").glob("*.py"))  # know the command line and what DVC leaves
TORCH_DRAWS = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "poisson"}
TORCH_DRAWS |= {"rand_like", "randn_like", "randint_like"}
TENSOR_DRAWS = ("normal_", "uniform_", "random_", "bernoulli_", "exponential_", "orthogonal_", "multinomial")
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_PARAMETERS, MOST_MODULES_AT_THE_TOP = 300, 60, 7, 8
FLOATS = {"zeros", "ones", "empty", "linspace", "rand", "randn", "eye"}  # torch functions that use the default type
NUMPY_GENERATORS = {"default_rng", "Generator"}
ESTIMATORS = {"PCA", "KMeans", "MiniBatchKMeans", "GaussianMixture"}


tree = cache(ast.parse)


def names(code: str) -> Iterator[tuple[str, ast.AST]]:
    """Every dotted name in code, with its node: torch.cuda.is_available gives itself, torch.cuda and torch."""
    for node in ast.walk(tree(code)):
        if isinstance(node, (ast.Attribute, ast.Name)):
            yield dotted(node), node


def dotted(node: ast.AST) -> str:
    """`a.b.c` as written; what is no name is left out, so that f(x).normal_ gives .normal_."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(code: str) -> Iterator[tuple[str, list[ast.expr], dict[str, ast.expr]]]:
    """Every call: the dotted name of what is called, its arguments by position and by keyword."""
    for node in ast.walk(tree(code)):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node.args, {keyword.arg: keyword.value for keyword in node.keywords}


def imported(code: str, *modules: str) -> list[str]:
    """What code imports of these modules or from within them."""
    return [
        name
        for name in imports.imported_names(ast.parse(code))
        for module in modules
        if f"{name}.".startswith(f"{module}.")
    ]


# --- Rules: what in a piece of code breaks them ---


def layer_of(module: str) -> int:
    """The place in LAYERS of a module of iglo, by its dotted name."""
    name = module.split(".")[1]
    return next(place for place, layer in enumerate(LAYERS) if name in layer)


def upward_imports(code: str, module: str) -> list[str]:
    """What the code of a module imports from layers that stand after its own."""
    names = [name for name in imported(code, "iglo") if name != "iglo" and imports.module_file(name)]
    return sorted(name for name in names if layer_of(name) > layer_of(module))


def relative_imports(code: str) -> list[str]:
    return [name for name in imports.imported_names(ast.parse(code)) if name.startswith(".")]


def knowledge_of_the_pipeline(code: str) -> list[str]:
    """The library knows nothing of DVC's files, the stages or the command line."""
    texts = [node.value for node in ast.walk(tree(code)) if isinstance(node, ast.Constant)]
    named = {"params.yaml", "dvc.yaml", "dvc.lock", "metrics.json", "metrics-all.json"}
    files = [text for text in texts if text in named]
    arguments = [name for name, _ in names(code) if name == "sys.argv"]
    return imported(code, "stages", "dvc", "argparse", "click", "tests", "sys.argv") + files + arguments


def questions_about_the_device(code: str) -> list[str]:
    return [name for name, _ in names(code) if name == "torch.cuda" or name.endswith(".is_available")]


def global_randomness(code: str) -> list[str]:
    """Draws from generators that are not handed over. backbones may seed torch.default_generator, within fork_rng."""
    found = imported(code, "random", "torch.manual_seed")
    for name, _ in names(code):
        *modules, last = name.split(".")
        if modules in (["np", "random"], ["numpy", "random"]) and last not in NUMPY_GENERATORS:
            found.append(name)
        if name in ("torch.manual_seed", "torch.seed", "torch.random.manual_seed"):
            found.append(name)
    for name, arguments, keywords in calls(code):
        *modules, last = name.split(".")
        drawn = last in TORCH_DRAWS if modules == ["torch"] else modules and last.endswith(TENSOR_DRAWS)
        if drawn and "generator" not in keywords:
            found.append(name)
        if last in ESTIMATORS and "random_state" not in keywords:
            found.append(name)
        if last == "default_rng" and not arguments and not keywords:
            found.append(name)
    return found


def default_types(code: str) -> list[str]:
    """Calls that make tensors in the default type of the process, which a user may have changed."""
    made = [(name, keywords) for name, _, keywords in calls(code) if name.startswith("torch.")]
    return [name for name, keywords in made if name.removeprefix("torch.") in FLOATS and "dtype" not in keywords]


def pickles(code: str) -> list[str]:
    """Ways to load what runs code when it is loaded."""
    found = imported(code, "pickle", "dill", "joblib.load", "shelve", "cloudpickle")
    for name, _, keywords in calls(code):
        safe = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False)}.get(name)
        safe = ("weights_only", True) if name.endswith("load_state_dict_from_url") else safe
        if safe and not is_constant(keywords.get(safe[0]), safe[1]):
            found.append(name)
        if name in ("joblib.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load"):
            found.append(name)
        if name.endswith("YAML") and ast.unparse(keywords.get("typ", ast.Constant(None))) != "'safe'":
            found.append(name)
    return found


def functions(code: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(code)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def length(code: str) -> int:
    """How many lines a module has over the most that it may have; 0 if it may have them."""
    return max(0, len(code.splitlines()) - MOST_LINES)


def long_functions(code: str) -> dict[str, int]:
    """The functions with too many lines, decorators not counted."""
    lines = [(node.name, node.end_lineno - node.lineno + 1) for node in functions(code)]
    return {name: count for name, count in lines if count > MOST_LINES_OF_A_FUNCTION}


def many_parameters(code: str) -> dict[str, int]:
    """The functions with too many parameters; self, cls, *args and **kwargs are not counted.

    An estimator of scikit-learn must name all its parameters, so its `__init__` may have any number.
    """
    classes = [node for node in ast.walk(tree(code)) if isinstance(node, ast.ClassDef)]
    estimators = [each for each in classes if "BaseEstimator" in map(dotted, each.bases)]
    free = [node for each in estimators for node in each.body if getattr(node, "name", "") == "__init__"]
    found = []
    for node in functions(code):
        if node in free:
            continue
        given = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        found.append((node.name, len([name for name in given if name not in ("self", "cls")])))
    return {name: count for name, count in found if count > MOST_PARAMETERS}


def has_no_sentence(code: str) -> bool:
    """Whether a module has another docstring than one sentence."""
    return not re.fullmatch(r"[^.!?]+(\.\w[^.!?]*)*\.", ast.get_docstring(tree(code)) or "")


def is_constant(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


Rule = Callable[[str], object]
EVERYWHERE: list[Rule] = [relative_imports, global_randomness, default_types, pickles]
IN_THE_LIBRARY: list[Rule] = [knowledge_of_the_pipeline]
OF_SIZE: list[Rule] = [length, long_functions, many_parameters]
OF_PACKAGES: list[Rule] = [has_no_sentence]
BREACHES: list[tuple[Rule, str]] = [
    (relative_imports, "from . import files"),
    (relative_imports, "from .files import whole_file"),
    (knowledge_of_the_pipeline, "import dvc.api"),
    (knowledge_of_the_pipeline, "from stages.common import stage"),
    (knowledge_of_the_pipeline, "import argparse"),
    (knowledge_of_the_pipeline, "import click"),
    (knowledge_of_the_pipeline, "import sys\nsys.argv[1]"),
    (knowledge_of_the_pipeline, "from sys import argv"),
    (knowledge_of_the_pipeline, "load_params('params.yaml')"),
    (questions_about_the_device, "torch.cuda.is_available()"),
    (questions_about_the_device, "torch.backends.mps.is_available()"),
    (questions_about_the_device, "device = torch.cuda.current_device()"),
    (global_randomness, "import random"),
    (global_randomness, "from random import shuffle"),
    (global_randomness, "np.random.seed(0)"),
    (global_randomness, "rng = np.random.RandomState(0)"),
    (global_randomness, "shuffle = numpy.random.shuffle"),
    (global_randomness, "np.random.default_rng()"),
    (global_randomness, "torch.manual_seed(0)"),
    (global_randomness, "from torch import manual_seed"),
    (global_randomness, "torch.randn(3)"),
    (global_randomness, "torch.randperm(len(x), device=d)"),
    (global_randomness, "module.weight.normal_(0, 0.02)"),
    (global_randomness, "nn.init.trunc_normal_(module.weight)"),
    (global_randomness, "f(x).uniform_()"),
    (global_randomness, "torch.randn_like(x)"),
    (global_randomness, "cluster.KMeans(8)"),
    (default_types, "torch.zeros(3)"),
    (default_types, "torch.linspace(0, 1, 5)"),
    (pickles, "import pickle"),
    (pickles, "from joblib import load"),
    (pickles, "joblib.load(path)"),
    (pickles, "torch.load(path)"),
    (pickles, "torch.load(path, weights_only=False)"),
    (pickles, "np.load(path)"),
    (pickles, "np.load(path, allow_pickle=True)"),
    (pickles, "np.load(path, allow_pickle=flag)"),
    (pickles, "torch.hub.load_state_dict_from_url(url)"),
    (pickles, "yaml.load(text, Loader)"),
    (pickles, "YAML().load(text)"),
    (pickles, "ruamel.yaml.YAML(typ='unsafe')"),
    (length, "1\n" * 301),
    (long_functions, "def f():\n" + "    1\n" * 60),
    (long_functions, "def f():\n" + "    1\n" * 60 + "class A:\n    def f(): 1"),
    (long_functions, "class A:\n    async def f():\n" + "        1\n" * 60),
    (many_parameters, "def f(self, a, b, c, /, d, e, *, f, g, h): 1"),
    (many_parameters, "class A(BaseEstimator):\n    def f(self, a, b, c, d, e, f, g, h): 1"),
    (has_no_sentence, ""),
    (has_no_sentence, '"""Two sentences. Here."""'),
    (has_no_sentence, '"""no end"""'),
]
KEPT: list[tuple[Rule, str]] = [
    (knowledge_of_the_pipeline, '"""Written to metrics.json by a stage."""\nimport sys\nsys.executable'),
    (questions_about_the_device, "torch.backends.cudnn.benchmark = False"),
    (default_types, "torch.zeros(3, dtype=torch.int64)\ncodes.new_zeros(3)\nnp.zeros(3)"),
    (global_randomness, "torch.randn(3, generator=rng)\nnp.random.default_rng(seed)\nPCA(2, random_state=0)"),
    (global_randomness, "from torch.nn.functional import normalize\nnormalize(x)\nstatistics.normal(x)"),
    (global_randomness, "with torch.random.fork_rng(devices=[]):\n    torch.default_generator.manual_seed(1)"),
    (pickles, "from joblib import cpu_count"),
    (pickles, "np.load(path, mmap_mode='r', allow_pickle=False)\ntorch.load(path, weights_only=True)\njson.load(file)"),
    (pickles, "YAML(typ='safe').load(text)"),
    (length, "1\n" * 300),
    (long_functions, "@a\n@b\ndef f():\n" + "    1\n" * 59),
    (many_parameters, "def f(self, a, b, c, /, d, *e, f, g, h, **i): 1"),
    (many_parameters, "class A(B, BaseEstimator):\n    def __init__(self, a, b, c, d, e, f, g, h): 1"),
    (has_no_sentence, '"""The command `iglo`, and what params.yaml says."""\n'),
]


def test_every_rule_can_be_broken_and_kept():
    assert [case for case in BREACHES if not case[0](case[1])] == []
    assert [case for case in KEPT if case[0](case[1])] == []
    assert {rule for rule, _ in BREACHES} == {
        *EVERYWHERE,
        *IN_THE_LIBRARY,
        *OF_SIZE,
        *OF_PACKAGES,
        questions_about_the_device,
    }


@pytest.mark.parametrize(
    ("code", "upward"),
    [
        ("from iglo.training.loop import fit", ["iglo.training.loop"]),
        ("def f():\n    from iglo.latent import priors", ["iglo.latent", "iglo.latent.priors"]),
        ("import iglo.training", ["iglo.training"]),
        ("import torch\nimport iglo\nfrom iglo.errors import UserError\nfrom iglo.models.codes import Factor", []),
        ("from iglo.losses import distances", []),
    ],
)
def test_an_upward_import_is_found(code: str, upward: list[str]):
    assert upward_imports(code, "iglo.losses.terms") == upward


def test_a_cycle_is_an_error():
    with pytest.raises(CycleError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


# --- The code ---


def breaches(paths: list[Path], rules: list[Rule]) -> dict[str, object]:
    """What breaks the rules, by file and rule."""
    code = {path.relative_to(pipeline.ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    return {f"{path}: {rule.__name__}": found for path in code for rule in rules if (found := rule(code[path]))}


def test_rules_of_all_code():
    assert breaches(LIBRARY + STAGES, EVERYWHERE) == {}
    assert breaches([path for path in LIBRARY if path not in COMMAND], IN_THE_LIBRARY) == {}


def test_modules_functions_and_lists_of_parameters_are_short():
    assert breaches(LIBRARY, OF_SIZE) == {}


def test_packages_have_few_modules_at_the_top_and_say_what_they_are_for():
    """A package has no code of its own. Users import the estimator's package, and the metrics' is a list of names."""
    assert len([*PACKAGE.glob("*.py")]) <= MOST_MODULES_AT_THE_TOP
    packages = [path for path in LIBRARY if path.name == "__init__.py" and path.parent != PACKAGE]
    assert {path.parent for path in LIBRARY} == {PACKAGE, *(path.parent for path in packages)}
    assert breaches(packages, OF_PACKAGES) == {}
    with_code = [path for path in packages if imports.source(path).has_code]
    assert with_code == [PACKAGE / name / "__init__.py" for name in ("estimator", "evaluation/metrics")]


def test_only_runtime_asks_which_device_there_is():
    others = [path for path in LIBRARY + STAGES if path.parent != PACKAGE / "runtime"]
    assert breaches(others, [questions_about_the_device]) == {}


def test_imports_point_one_way():
    for path in LIBRARY:
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        if module not in ("iglo", "iglo.__main__"):
            assert upward_imports(path.read_text(encoding="utf-8"), module) == [], module
    order = TopologicalSorter({path: imports.source(path).imports - {path} for path in LIBRARY}).static_order()
    assert set(LIBRARY) <= set(order)  # within a layer too, no module imports itself through others


def test_nothing_imports_the_command():
    inside = {path for path in LIBRARY if path.parent == PACKAGE / "cli" or path.name == "__main__.py"}
    assert {*COMMAND} < inside
    assert not [path for path in {*LIBRARY, *STAGES} - inside if inside & imports.source(path).imports]


def test_a_stage_is_a_module_that_no_other_stage_imports():
    """Stages share common and learning; each is run by its own name."""
    run = {imports.module_file(stage.module) for file in pipeline.FILES for stage in pipeline.stages(file)}
    for path in STAGES:
        assert not imports.source(path).imports & run - {path}
