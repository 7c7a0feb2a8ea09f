"""What the params of the main pipeline must be, and the sentence for each mistake."""

import copy

import pytest

from iglo.errors import UserError
from iglo.params.pipeline import Params, check_rounds, parse_params
from tests.params.cases import FILES, changed, check_messages, message_of, values_of

VALUES = values_of(FILES[0])
BIG, BIG_SHOWN = 10**399, f"1{'0' * 37}...{'0' * 39}"
LARGE = ["sigma", "sigma_end", "alpha", "beta", "staged.alpha", "staged.beta", "encoder.l1", "encoder.pairs_sigma"]
WRONG = [  # key, value, message; … is the key and "must be"
    ("seed", True, "…a whole number, got True."),
    ("seed", 1.0, "…a whole number, got 1.0."),
    ("seed", "0", "…a whole number, got '0'."),
    ("seed", None, "…a whole number, got None."),
    ("seed", -1, "…at least 0, got -1."),
    ("alpha", True, "…a finite number, got True."),
    ("alpha", "much", "…a finite number, got 'much'."),
    ("alpha", float("nan"), "…a finite number, got nan."),
    ("beta", "nan", "…a finite number, got nan."),
    ("beta", "inf", "…a finite number, got inf."),
    ("sigma", float("inf"), "…a finite number, got inf."),
    ("sigma", -0.1, "…at least 0, got -0.1."),
    ("sigma", BIG, f"…a finite number, got {BIG_SHOWN}."),
    ("sigma_end", -0.1, "…at least 0, got -0.1."),
    *((key, 1e308, "…at most 1000000.0, got 1e+308.") for key in LARGE),
    ("method", "gan", "…one of glo, incremental, got 'gan'."),
    ("prior", "gan", "…one of best, normal, gaussian_diag, gaussian, gmm, imle, neighbours, flow, got 'gan'."),
    ("precision", "fp16", "…one of fp32, tf32, bf16, got 'fp16'."),
    ("data", None, "…a mapping of keys to values, got None."),
    ("data.path", 3, "…a text, got 3."),
    ("data.path", b"x", "…a text, got b'x'."),
    ("data.shuffle", "yes", "…true or false, got 'yes'."),
    ("data.shuffle", 1, "…true or false, got 1."),
    ("data.classes", "frog", "…a list, got 'frog'."),
    ("data.classes", {"frog"}, "…a list, got {'frog'}."),
    ("data.classes", ["frog", 6], "data.classes.1: must be a text, got 6."),
    *(("data.image_size", size, f"…a power of two from 16 to 128, got {size}.") for size in (48, 8, 256)),
    ("data.channels", 2, "…1 or 3, got 2."),
    ("data.train", 0, "…at least 1, got 0."),
    ("data.train", BIG, f"…at most {2**63 - 1}, got {BIG_SHOWN}."),
    ("data.test", 0, "…at least 1, got 0."),
    ("latent.dimension", 0, "…at least 1, got 0."),
    ("latent.dimension", 20_000, "…at most 4096, got 20000."),
    ("latent.radius", 0, "…greater than 0, got 0.0."),
    ("latent.radius", 1e-40, "…from 1e-06 to 1000000.0, got 1e-40."),
    ("latent.radius", 1e308, "…from 1e-06 to 1000000.0, got 1e+308."),
    ("latent.constraint", None, "…one of none, ball, sphere, got None."),
    ("generator.width", 0, "…at least 1, got 0."),
    ("generator.width", 10_000, "…at most 1024, got 10000."),
    ("generator.ema", 1, "…at least 0 and less than 1, got 1.0."),
    ("features.image_size", 100_000, "…at most 1024, got 100000."),
    ("features.batch_size", 10**6, "…at most 65536, got 1000000."),
    ("loss.blocks", 6, "…from 1 to 5, got 6."),
    ("loss.blocks", 0, "…from 1 to 5, got 0."),
    ("optimizer.generator_rate", 0, "…greater than 0, got 0.0."),
    ("optimizer.code_rate", -1e-3, "…greater than 0, got -0.001."),
    ("optimizer.schedule", True, "…one of constant, linear, cosine, got True."),
    ("optimizer.name", "lamb", "…one of adam, dense_adam, sgd, got 'lamb'."),
    ("optimizer.name", ["sgd"], "…one of adam, dense_adam, sgd, got ['sgd']."),
    ("optimizer.reshuffle", None, "…true or false, got None."),
    ("staged.beta", 0, "…greater than 0, got 0.0."),
    ("staged.earlier_batch", 0, "…at least 1, got 0."),
    ("full.batch_size", 0, "…at least 1, got 0."),
    ("full.batch_size", 10**6, "…at most 65536, got 1000000."),
    ("full.epochs", -1, "…at least 0, got -1."),
    ("full.epochs", 10**12, "…at most 1000000, got 1000000000000."),
    ("encoder.width", 10_000, "…at most 1024, got 10000."),
    ("encoder.held_out", 1.0, "…greater than 0 and less than 1, got 1.0."),
    ("encoder.held_out", 0, "…greater than 0 and less than 1, got 0.0."),
    ("encoder.mode", "both", "…one of codes, joint, got 'both'."),
    ("encoder.epochs", 0, "…at least 1, got 0."),
    ("encoder.pairs", -1, "…at least 0, got -1.0."),
    ("encoder.pairs_sigma", None, "…a finite number, got None."),
    ("joint.epochs", -1, "…at least 0, got -1."),
    ("joint.rate", 0, "…greater than 0, got 0.0."),
    ("joint.keep_weight", -0.5, "…at least 0, got -0.5."),
    ("joint.flip", 1, "…true or false, got 1."),
    ("joint.shift", -1, "…at least 0, got -1."),
    ("joint.gain", 1.5, "…from 0 to 1, got 1.5."),
    ("evaluate.samples", 10**9, "…at most 1000000, got 1000000000."),
    ("evaluate.pairs", 10**7, "…at most 100000, got 10000000."),
    ("evaluate.steps", 10**6, "…at most 1000, got 1000000."),
    ("rounds", {"id": 1}, "…a list, got {'id': 1}."),
    ("rounds.1", 3, "…a mapping of keys to values, got 3."),
    ("rounds.1.clusters", 0, "…at least 1, got 0."),
]
TAKEN = "since there are 1500 training images, of which the rounds before take up to"
FEWER = "ask for fewer clusters, fewer images per cluster or more images"
TOGETHER = [  # requirements that bind several keys
    ("rounds", [], "rounds: must hold at least one round, got an empty list."),
    ("rounds.0.id", 2, "rounds.0: must be numbered in order, id 1 after 0, got id 2 after 0."),
    ("rounds.1.id", 3, "rounds.1: must be numbered in order, id 2 after 1, got id 3 after 1."),
    ("rounds.1.after", 0, "rounds.1: must be numbered in order, id 2 after 1, got id 2 after 0."),
    ("rounds.2.after", 1, "rounds.2: must be numbered in order, id 3 after 2, got id 3 after 1."),
    ("rounds.1.per_cluster", None, "…a number, since rounds follow, got None."),
    ("rounds.2.per_cluster", 4, "…null, so that the last round takes all that is left, got 4."),
    ("rounds.0.clusters", 1501, f"…at most 1500, since there are 1500 training images, got 1501; {FEWER}."),
    ("rounds.0.per_cluster", 23, f"rounds.1.clusters: must be at most 28, {TAKEN} 1472, got 64; {FEWER}."),
    ("rounds.1.per_cluster", 20, f"rounds.2.clusters: must be at most 0, {TAKEN} 1536, got 1; {FEWER}."),
    (
        "encoder.held_out",
        0.9999,
        "encoder.held_out: must leave at least one of the 1500 training images, got 0.9999; lower it, or use more "
        "images.",
    ),
    ("joint.shift", 32, "joint.shift: must be less than data.image_size, got 32."),
]
UNKNOWN = [
    ("sed", 1, "sed: unknown key; did you mean seed?"),
    ("optimizer.generater_rate", 1, "optimizer.generater_rate: unknown key; did you mean optimizer.generator_rate?"),
    ("rounds.1.cluster", 1, "rounds.1.cluster: unknown key; did you mean rounds.1.clusters?"),
    ("data.xyzzy", 1, "data.xyzzy: unknown key."),
]


def test_a_mistake_is_named_with_its_key_its_requirement_and_its_value():
    check_messages(VALUES, Params, WRONG + TOGETHER + UNKNOWN)


def test_a_missing_key_is_named():
    for section, values in VALUES.items():
        for key in [None, *(values if isinstance(values, dict) else ())]:
            less = copy.deepcopy(VALUES)
            del (less if key is None else less[section])[key or section]
            name = section if key is None else f"{section}.{key}"
            needed = name not in ("arrivals", "arrival")  # a file of an earlier iglo has none
            expected = f"{name}: missing; every key of params.yaml must be given." if needed else "accepted"
            assert message_of(less, Params) == expected
    less = copy.deepcopy(VALUES)
    del less["rounds"][1]["epochs"]
    assert message_of(less, Params) == "rounds.1.epochs: missing; every key of params.yaml must be given."


def test_a_misspelt_key_is_told_as_that_and_not_as_missing():
    less = copy.deepcopy(VALUES)
    less["latent"]["dimensions"] = less["latent"].pop("dimension")
    assert message_of(less, Params) == "latent.dimensions: unknown key; did you mean latent.dimension?"


def test_two_weights_are_not_both_zero():
    for pair in (("alpha", "beta"), ("encoder.l1", "encoder.l2")):
        zero = changed(changed(VALUES, pair[0], 0), pair[1], 0)
        assert message_of(zero, Params) == f"{pair[0]}, {pair[1]}: at least one must be greater than 0, got 0 and 0."
        assert message_of(changed(zero, pair[0], 0.5), Params) == "accepted"


def test_a_launch_that_starts_nothing_is_refused():
    for value, shown in ((None, "None"), (2, "2"), (" ", "' '"), (["a"] * 1000, "['a', 'a', 'a', 'a'")):
        message = message_of(VALUES | {"launch": value}, Params)
        assert message.startswith(f"launch: must be the command that starts a stage, such as python, got {shown}")
    assert parse_params(VALUES | {"launch": "python"}) == parse_params(VALUES)


def test_whole_numbers_are_numbers_null_is_none_and_paths_may_be_any_text():
    values = VALUES
    for key, value in (("sigma", 2), ("latent.radius", None), ("data.test", None), ("data.classes", ["frog", "ship"])):
        values = changed(values, key, value)
    params = parse_params(changed(values, "data.path", "caf\udce9"))
    assert params.data.path == "caf\udce9"  # a path that is not UTF-8
    assert type(params.sigma) is float and params.sigma == 2
    assert params.latent.radius is params.data.test is None and params.data.classes == ("frog", "ship")


def test_rounds_may_take_all_images_but_those_of_the_last_round():
    params = parse_params(changed(VALUES, "data.train", 64 * 4 + 64 * 8 + 1))
    check_rounds(params.rounds, 769)
    with pytest.raises(UserError, match=r"^rounds\.2\.clusters: must be at most 0, since there are 768 training"):
        check_rounds(params.rounds, 768)
