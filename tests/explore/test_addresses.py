"""Addresses of codes are read exactly. Any other text is refused."""

import pytest
import torch

from iglo.errors import UserError
from iglo.explore.addresses import LabelMove, Move, Sample, code_address, parse_address, sample_address


def test_every_kind_is_read():
    assert parse_address("t:12~d:0:1.5~d:4:-2~k:3") == (12, (Move(0, 1.5), Move(4, -2.0)), (), 3)
    assert parse_address("t:12~l:4:9:0.5").label_moves == (LabelMove(4, 9, 0.5),)
    assert parse_address("s:gmm:7:63").start == Sample("gmm", 7, 63)
    assert parse_address("s:gmm:7:0:0.25:nearest").start == Sample("gmm", 7, 0, 0.25, "nearest")
    assert parse_address("m:pca:0.5:-1").start == ("pca", 0.5, -1.0)


def test_a_code_comes_back_rounded_to_16_bits():
    code = torch.randn(100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(parse_address(code_address(code)).start, code.half().float())


@pytest.mark.parametrize("psi", [1.0, 0.5])
def test_the_address_of_a_sample_names_the_sample(psi):
    sample = Sample("flow", 3, 5, psi, "mean")
    assert parse_address(sample_address(sample)).start == sample


@pytest.mark.parametrize(
    "text",
    [
        *("", "t", "t:", "t:-1", "t:1.5", "t:²", "t:1:2", "t:99999999999999999999", "x:1", "t:1~", "t:1~z:1", "t: 1"),
        *(
            "t:1~d:0",
            "t:1~d:0:nan",
            "t:1~d:0:inf",
            "t:1~d:0:11",
            "t:1~d:-1:1",
            "t:1~k:0~k:1",
            "t:1~l:0:1",
            "t:1~l:0:1:nan",
            "t:1" + "~d:0:1" * 41,
        ),
        *("s:gmm:0", "s:gmm:0:64", "s:gmm:-1:0", "s:gmm:0:0:1.5:mean", "s:gmm:0:0:0.5:far", "s:gmm:0:0:-0.1:mean"),
        *("m:pca:0", "m:pca:2:0", "m:tsne:0:0", "m:pca:nan:0", "c:", "c:!!!", "c:AA", "c:AHw", "c:AAA=B"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(text):
    with pytest.raises(UserError, match=r"^ref: must be the address of a code, such as t:12, got '.{0,90}\.$"):
        parse_address(text)
