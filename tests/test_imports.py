"""Which heavy modules the package and the stages load when they start, because loading takes most of a short stage."""

import json

import pytest

from tests import chain
from tests.tiny import ROOT

HEAVY = ("torch", "torchvision", "sklearn", "scipy", "skimage", "lpips", "matplotlib", "timm", "onnx", "pandas", "dvc")


STEP = """
import torch
from iglo.training.optimizers import network_optimizer
for name in ("adam", "sgd"):
    optimizer = network_optimizer(name, torch.nn.Linear(2, 1), 0.1)
    optimizer.param_groups[0]["params"][0].sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
"""


def loaded(*modules: str, then: str = "", names: tuple[str, ...] = HEAVY) -> set[str]:
    """Which of `names` are loaded when some modules are imported in a new process, and then some code has run."""
    found = f"[name for name in {names!r} if name in sys.modules]"
    code = f"import sys, json, {', '.join(modules)}\n{then}\nprint(json.dumps({found}))"
    output, errors = chain.start(ROOT, "-c", code).communicate()
    assert output, errors
    return set(json.loads(output))


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (("iglo", "iglo.cli.main"), set()),
        (("stages.check", "stages.fetch", "stages.prepare", "stages.select", "stages.cluster"), set()),
        (("stages.joint",), set()),
        (("stages.initialise", "stages.staged", "stages.full", "stages.encoder"), {"torch"}),
        (("stages.priors",), {"torch", "sklearn", "scipy", "skimage"}),
        (("stages.extract_features", "stages.arrival_images"), {"torch"}),
        (("stages.arrival_learn", "stages.arrival_encoder"), {"torch"}),
    ],
)
def test_a_start_loads_no_more_than_it_needs(modules, heavy):
    assert loaded(*modules) == heavy


def test_a_step_of_training_does_not_load_the_compiler():
    assert not loaded("stages.full", then=STEP, names=("torch._dynamo", "sympy"))
