"""Which heavy modules the package and the stages load when they start, because loading takes most of a short stage."""

import json

import pytest

from tests import chain
from tests.tiny import ROOT

HEAVY = ("torch", "torchvision", "sklearn", "scipy", "skimage", "lpips", "matplotlib", "timm", "onnx", "pandas", "dvc")


def loaded(*modules: str) -> set[str]:
    """The heavy modules that are loaded when some modules are imported in a new process."""
    found = f"[name for name in {HEAVY!r} if name in sys.modules]"
    code = f"import sys, json, {', '.join(modules)}; print(json.dumps({found}))"
    output, errors = chain.start(ROOT, "-c", code).communicate()
    assert output, errors
    return set(json.loads(output))


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (("iglo", "iglo.cli.main"), set()),
        (("stages.check", "stages.fetch", "stages.prepare", "stages.select", "stages.cluster"), set()),
        (("stages.initialise", "stages.staged", "stages.full", "stages.encoder", "stages.joint"), {"torch"}),
        (("stages.extract_features", "stages.arrival_images"), {"torch"}),
        (("stages.arrival_learn", "stages.arrival_encoder"), {"torch"}),
    ],
)
def test_a_start_loads_no_more_than_it_needs(modules, heavy):
    assert loaded(*modules) == heavy
