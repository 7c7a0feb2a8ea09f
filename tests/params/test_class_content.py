"""What the params of the class/content pipeline must be, and the sentence for each mistake."""

import pytest
import yaml

from iglo.errors import UserError
from iglo.params.class_content import ClassContentParams
from iglo.params.pipeline import parse_params
from iglo.params.reading import load_params
from tests.params.cases import CLASS_CONTENTS, changed, check_messages, values_of

VALUES = values_of(CLASS_CONTENTS[0])
WRONG = [  # key, value, message; … is the key and "must be"
    ("combin", "film", "combin: unknown key; did you mean combine?"),
    ("latent.clas_dimension", 5, "latent.clas_dimension: unknown key; did you mean latent.class_dimension?"),
    ("combine", "adain", "…one of concat, film, got 'adain'."),
    ("data.fit", "crop", "…one of resize, pad, got 'crop'."),
    ("sigma", -0.1, "…at least 0, got -0.1."),
    ("optimizer.class_rate", 0, "…greater than 0, got 0.0."),
    ("renders.converted", 1, "…at least 2, got 1."),
    ("sweep.sigma", [0.1, -1], "sweep.sigma.1: must be at least 0, got -1.0."),
    ("sweep.sigma", [0.1, 0.1], "…one or more different values, got [0.1, 0.1]."),
    ("sweep.decay", [], "…one or more different values, got []."),
    ("sweep.loss", ["l1", "l3"], "sweep.loss.1: must be one of perceptual, l1, l2, l1_l2, lap_l1, got 'l3'."),
    ("joint.shift", 32, "joint.shift: must be less than data.image_size, got 32."),
    (
        "data.validation",
        0,
        "data.validation: must be at least 1, because the classifier learns from them, got 0.",
    ),
]


def test_a_mistake_is_named_with_its_key_its_requirement_and_its_value():
    check_messages(VALUES, ClassContentParams, WRONG)


def test_any_missing_key_is_named_in_a_file_of_unknown_kind(tmp_path):
    for key in VALUES:
        less = {name: value for name, value in VALUES.items() if name != key}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(less), encoding="utf-8")
        with pytest.raises(UserError, match=f"^{key}: missing;"):
            load_params(tmp_path / "params.yaml")


def test_enough_test_images_are_accepted():
    for test in (401, None):
        params = parse_params(changed(VALUES, "data.test", test), ClassContentParams)
        assert params.data.test == test and params.last_sigma == params.sigma
