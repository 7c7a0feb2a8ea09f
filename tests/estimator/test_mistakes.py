"""Wrong arguments, images and codes: each is a ValueError of one sentence, as users of scikit-learn expect."""

import numpy as np
import pytest

from tests.estimator.quick import DIGITS, LENGTH, quick

MISSING = {"loss": "perceptual", "loss_network": "vgg11", "loss_weights": "nowhere.safetensors"}
ARGUMENTS = [
    ({"n_components": 0}, "n_components: must be at least 1, got 0"),
    ({"n_components": 2.5}, "n_components: must be a whole number, got 2.5"),
    ({"n_subsets": 0}, "n_subsets: must be at least 1"),
    ({"epochs": -1}, "epochs: must be at least 0"),
    ({"encoder_epochs": 0}, "encoder_epochs: must be at least 1"),
    ({"sigma": np.nan}, "sigma: must be a finite number"),
    ({"constraint": "cube"}, "constraint: must be one of none, ball, sphere, got 'cube'"),
    ({"loss": "mse"}, "loss: must be one of"),
    ({"prior": "vae"}, "prior: must be one of"),
    ({"learning_rate": 0}, "learning_rate: must be greater than 0"),
    ({"batch_size": None}, "batch_size: must be a whole number, got None"),
    ({"image_shape": (3, 5)}, "image_shape: must be the shape of the samples in X"),
    ({"value_range": (1, 0)}, "value_range: must be"),
    ({"random_state": "seven"}, "'seven' cannot be used to seed"),
    (MISSING, "nowhere.safetensors"),
]


@pytest.mark.parametrize(("arguments", "said"), ARGUMENTS)
def test_a_wrong_argument_is_refused(arguments: dict, said: str):
    with pytest.raises(ValueError, match=said):
        quick(**arguments).fit(DIGITS[:12])


def test_images_of_another_shape_are_refused():
    model = quick().fit(DIGITS[:4].reshape(4, 8, 8))
    with pytest.raises(ValueError, match=r"X: images must have the shape \(8, 8, 1\), as in fit, got \(4, 16\)"):
        model.transform(np.zeros((4, 4, 16)))
    with pytest.raises(ValueError, match="expecting 64 features"):
        model.transform(np.zeros((4, 9, 9)))
    with pytest.raises(ValueError, match="X: images must be"):
        quick().fit(np.zeros((4, 8, 8, 2)))
    with pytest.raises(ValueError, match="at most 128×128"):
        quick().fit(np.zeros((2, 200, 180)))


def test_images_of_several_shapes_and_values_without_a_range_are_refused():
    with pytest.raises(ValueError, match=r"X: all must have one shape, got \(3, 8\) and \(8, 8\)"):
        quick().fit([np.zeros((8, 8)), np.zeros((3, 8))])
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match=r"X: values must be within ±1\.7e\+38, got -1e\+308 to 1e\+308; scale them"),
    ):
        quick().fit(np.array([[-1e308, 1e308, 0, 0]] * 4))


def test_wrong_codes_are_refused(fitted):
    for codes, said in [
        (np.zeros((2, 4)), "Z: must have 5 columns, the length of a code, got 4"),
        (np.full((2, LENGTH), np.nan), "Z contains NaN"),
        (np.zeros(LENGTH), "Expected 2D array"),
        (np.zeros((0, LENGTH)), "0 sample"),
    ]:
        with pytest.raises(ValueError, match=said):
            fitted.inverse_transform(codes)


def test_a_wrong_number_of_samples_is_refused(fitted):
    for count in (0, -1, 1.5, True, None):
        with pytest.raises(ValueError, match="n_samples: must be a whole number of at least 1"):
            fitted.sample(count)
