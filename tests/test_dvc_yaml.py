"""dvc.yaml against what the stages import and read."""

import configparser
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

from stages import imports, modules
from tests import chain, pipeline
from tests.pipeline import ROOT, Stage
from tools import deps

ALL = [stage for file in pipeline.FILES for stage in pipeline.stages(file)]
OWN = pipeline.stages(params=chain.params())
NUMBERED = {"rounds.0.id", "rounds.1.id"}  # follow from the place in the list, which load_params checks

NAMES_ITS_PARTS = {  # folders of several stages, and the params that tell which of them a stage takes
    "comparison/runs/subsets": {"base.rounds"},
    "comparison/runs/measured": {"seeds", "run", "joint"},
    "comparison/runs/curves": {"seeds", "run"},
    **{path: {"sweep"} for path in pipeline.STUDIES},
}
LATER = {
    "staged@0": {"full.batch_size"},  # only later stages of the list read it
    "arrival_images@0": {"data.on_error"},  # and this is read only if an image is bad
}
SETTINGS = {  # under which a stage reads what it does not read in the tiny run
    "check": [{"loss.name": "perceptual"}],
    "fetch": [{"data.source": "git"}, {"data.source": "torchvision"}],
    "initialise": [{"latent.init": "normal", "latent.constraint": "none", "latent.radius": 1.0}],
    "staged@1": [{"loss.name": "perceptual", "optimizer.schedule": "cosine"}],
    "full": [{"loss.name": "perceptual"}, {"sigma": 0.0}, {"method": "glo"}],
    "joint": [
        {"encoder.mode": "joint", "loss.name": "perceptual"},
        {"encoder.mode": "joint", "method": "glo"},
        {"encoder.mode": "joint", "sigma_end": 0.1},
    ],
    "priors": [{"loss.name": "perceptual"}],
    "evaluate": [{"loss.name": "perceptual"}],
    "arrival_images@0": [{"rounds.0.per_cluster": 2}],
    "arrival_learn@0": [{"loss.name": "perceptual"}, {"method": "glo"}],
    "arrival_encoder@0": [{"loss.name": "perceptual"}],
    "arrival_reference@0": [
        {"arrival.reference": True, "loss.name": "perceptual"},
        {"arrival.reference": True, "latent.init": "normal", "latent.constraint": "none", "latent.radius": 1.0},
        {"arrival.reference": True, "method": "glo"},
    ],
    "arrival_priors@0": [{"loss.name": "perceptual"}],
    "arrival_evaluate@0": [{"loss.name": "perceptual"}],
}


def by_name(stage: Stage) -> str:
    return stage.name


def test_a_stage_depends_on_its_modules():
    """On the file that the stage `modules` writes for it; and that stage depends on the modules of all."""
    for file in pipeline.FILES:
        stages = {stage.name: stage for stage in (OWN if file.parent == ROOT else pipeline.stages(file))}
        modules = stages.pop("modules")
        for name, stage in stages.items():
            (found,) = [path for path in stage.deps if "/modules/" in path]
            assert found == f"{modules.options['--out']}/{stage.module.removeprefix('stages.')}.json", name
            assert found == stage.options["--modules"]
        run = imports.stages_of(file.read_text(encoding="utf-8"))
        assert {"stages.modules", *(stage.module for stage in stages.values())} == {*run}
        assert {*modules.deps} == frozenset().union(*map(imports.code_of, run))


def test_the_files_of_modules_name_what_the_stages_import(tiny_run):
    for module in {stage.module for stage in OWN}:
        file = tiny_run.folder / "data" / "modules" / f"{module.removeprefix('stages.')}.json"
        written = json.loads(file.read_text(encoding="utf-8"))
        assert written == {path: hashlib.sha256((ROOT / path).read_bytes()).hexdigest() for path in written}
        assert written.keys() == imports.code_of(module)


@pytest.mark.parametrize(
    ("pipeline_text", "words"),
    [(" -m stages.nope", "there is no module stages.nope; correct its name."), (" -m stages.wrong", "is not Python (")],
)
def test_a_stage_without_code_or_with_wrong_code_is_one_sentence(pipeline_text, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "wrong.py").write_text("def f(:")
    (tmp_path / "dvc.yaml").write_text(pipeline_text)
    chain.write_params(tmp_path, chain.params())
    monkeypatch.setattr(imports, "ROOT", tmp_path)
    monkeypatch.setattr(modules, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        modules.main(["--pipeline", "dvc.yaml", "--out", "out", "--timing", "timing.json"])
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and words in error and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["staged", "full"])
def test_an_edit_of_the_encoder_does_not_train_the_generator_again(name):
    assert "src/iglo/training/encoder_stages.py" not in imports.code_of(f"stages.{name}")


def test_a_package_without_code_is_no_dependency(tmp_path):
    for text, has_code in [('"""A package."""\n', False), ("", False), ('"""A package."""\nimport os\n', True)]:
        file = tmp_path / f"{len(text)}.py"
        file.write_text(text)
        assert imports.source(file).has_code == has_code
    assert "src/iglo/__init__.py" in imports.code_of("stages.fetch")
    assert "src/iglo/data/__init__.py" not in imports.code_of("stages.fetch")


LIST = """stages:
  a:
    cmd: cd .. && ${launch} -m stages.fetch --out x
    deps: [x, "y/${z[-1].id}"]
  modules:
    cmd: >-
      do --pipeline x
    deps: [stages/gone.py,
      src/iglo/gone.py]
    outs: [stages/out.py]
  b:
    cmd: ""
    deps: [y]
"""


def test_the_list_of_modules_is_rewritten_and_nothing_else_is():
    written = deps.with_modules(LIST, ROOT)
    before, after = (yaml.safe_load(text)["stages"] for text in (LIST, written))
    code = after["modules"].pop("deps")
    assert {*code} == imports.code_of("stages.fetch") and code[:2] == ["stages/__init__.py", "stages/common.py"]
    del before["modules"]["deps"]
    assert after == before and max(map(len, written.splitlines())) <= 120
    assert deps.with_modules(written, ROOT) == written
    inside = yaml.safe_load(deps.with_modules(written, ROOT / "disentangle" / "sweep"))["stages"]["modules"]["deps"]
    assert inside == [f"../../{path}" for path in code]


def test_stale_lists_are_found(tmp_path, monkeypatch, capsys):
    file = tmp_path / "dvc.yaml"
    file.write_text((ROOT / "dvc.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(deps, "FILES", [file])
    monkeypatch.setattr(deps, "ROOT", tmp_path)
    assert deps.main(["--check"]) == 0
    file.write_text(file.read_text(encoding="utf-8").replace(" src/iglo/params/sections.py,", "", 1), encoding="utf-8")
    assert deps.main(["--check"]) == 1 and "dvc.yaml: the list of modules" in capsys.readouterr().out
    assert deps.main([]) == 0 and deps.main(["--check"]) == 0


def test_every_path_of_a_command_is_declared():
    """And what is declared is in the command, except the user's images, which the stage finds by its params."""
    # the last stages collect times, on which nothing may depend
    undeclared = {"comparison/params.yaml", "disentangle/params.yaml", "reports/timing", "comparison/runs/timing"}
    undeclared |= {file.relative_to(ROOT).as_posix() for file in pipeline.FILES}
    for stage in ALL:
        named = {path for path in stage.options.values() if "/" in path or path.endswith(".json")} - undeclared
        if pipeline.CELLS in named:
            named = named - {pipeline.CELLS} | {*pipeline.STUDIES}
        found_by_params = {"data/images", "data/frogs", "data/torchvision"} if stage.name == "prepare" else set()
        if stage.name.startswith("arrival_"):  # earlier images and the first model may be gone
            named -= {"data/prepared", "models/joint"} - {*stage.deps}
        checks = {path for path in stage.deps if "/checked/" in path or path == "data/weights"}  # no stage opens them
        modules = {*stage.deps} if stage.name == "modules" else set()
        assert named == {*stage.deps, *stage.outs} - modules - found_by_params - checks, stage.name


def test_a_stage_depends_on_the_weights_that_it_reads():
    """It depends on the digests that `check` writes. A section with single keys listed only names its network."""
    for stage in ALL:
        names = {key.removeprefix("base.").removesuffix(".weights") for key in stage.params if stage.name != "check"}
        if "loss.name" in stage.params or stage.name == "evaluate":  # evaluate's page shows all params
            names -= {"features", "loss"}
        read = names & {"features", "loss", "evaluate"}
        assert {Path(path).stem for path in stage.deps if "/checked/" in path} - {"passed"} == read, stage.name


def test_no_stage_depends_on_a_folder_of_several_stages():
    """Leftovers of a round that is gone would stay in it unseen."""
    outs = [out for stage in ALL for out in stage.outs]
    assert len(outs) == len(set(outs))
    for stage in ALL:
        for path in {*stage.deps, *stage.outs}:
            within = [out for out in outs if out.startswith(f"{path}/")]
            assert not within or NAMES_ITS_PARTS.get(path, {""}) <= {*stage.params}


@pytest.mark.parametrize("stage", OWN, ids=by_name)
def test_params_are_what_the_stage_reads(stage, tiny_run, few_rounds, tmp_path, monkeypatch):
    monkeypatch.setattr("iglo.backbones.networks.vgg_blocks", lambda *_, **__: [nn.Conv2d(3, 2, 3)])
    for download in ("_fetch_from_git", "_download"):
        monkeypatch.setattr(f"iglo.data.sources.{download}", lambda data, out: None)
    read = tiny_run.keys[stage.name] - NUMBERED
    for changes in SETTINGS.get(stage.name, []):
        read |= chain.keys_read(tiny_run.copy(tmp_path, **changes).folder, stage)
    assert [key for key in sorted(read) if not any(chain.covers(listed, key) for listed in stage.params)] == []
    needed = set(stage.params) - LATER.get(stage.name, set())
    assert [listed for listed in needed if not any(chain.covers(listed, key) for key in read)] == []


@pytest.mark.parametrize("path", [*ROOT.glob("**/params.yaml"), *ROOT.glob("**/presets/*.yaml")], ids=lambda p: p.name)
def test_no_key_is_one_that_dvc_leaves_out_of_its_hash(path):
    assert not {"size", "nfiles"} & set(keys(yaml.safe_load(path.read_text(encoding="utf-8"))))


def keys(value: Any) -> Iterator[str]:
    """Every key at every depth."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys(inner)


@pytest.mark.parametrize("file", pipeline.FILES, ids=lambda path: path.parent.name)
def test_every_pipeline_is_a_repository_in_which_dvc_tells_nobody_and_composes_nothing(file):
    """Each has its own repository, so that DVC in the root shows only the root pipeline."""
    config = configparser.ConfigParser()
    config.read_string("\n".join(line.strip() for line in (file.parent / ".dvc" / "config").read_text().splitlines()))
    assert config["core"]["analytics"] == "false"
    assert "hydra" not in config
