"""Configs of models: as JSON and back, what is refused, and the networks and tables that they describe."""

import json
from dataclasses import replace

import pytest

from iglo.errors import UserError
from iglo.models.config import KINDS, ClassContentConfig, GLOConfig, config_record, parse_config
from iglo.models.geometry import Euclidean, Sphere
from iglo.models.networks import Encoder, Generator, ModulatedGenerator, PairEncoder
from iglo.models.style import StyleGenerator

GLO = GLOConfig(6, 16, 1, 4, "sphere", None)
FILM = ClassContentConfig(3, 4, 16, 1, 4, "film", ("ant", "bee", "cat/dog"))
CONCAT = ClassContentConfig(3, 4, 16, 1, 4, "concat", ("ant", "bee"))


@pytest.mark.parametrize("config", [GLO, GLOConfig(6, 32, 3, 8, "none", 2.5, "style"), FILM, CONCAT])
def test_a_config_comes_back_from_json(config):
    record = json.loads(json.dumps(config_record(config)))
    assert parse_config(record) == config and KINDS[record["kind"]] is type(config)


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (GLO, {"kind": "gan"}, "config.kind: must be one of glo, class_content, got 'gan'."),
        (GLO, {"kind": ["glo"]}, "config.kind: must be one of glo, class_content, got ['glo']."),
        (GLO, {"kind": None}, "config.kind: must be one of glo, class_content, got None."),
        (GLO, {"classes": ["ant"]}, "config.classes: unknown key."),
        (GLO, {"radius": 0}, "config.radius: must be greater than 0, got 0.0."),
        (GLO, {"width": -1}, "config.width: must be at least 1, got -1."),
        (GLO, {"image_size": 48}, "config.image_size: must be a power of two from 16 to 128, got 48."),
        (GLO, {"channels": 2}, "config.channels: must be 1 or 3, got 2."),
        (GLO, {"network": "vgg"}, "config.network: must be one of dcgan, style, got 'vgg'."),
        (GLO, {"constraint": "cube"}, "config.constraint: must be one of none, ball, sphere, got 'cube'."),
        (FILM, {"classes": []}, "classes: must name at least one class, got none."),
        (FILM, {"classes": "ant"}, "config.classes: must be a list, got 'ant'."),
        (FILM, {"classes": [1]}, "config.classes.0: must be a text, got 1."),
        (FILM, {"combine": "glue"}, "config.combine: must be one of concat, film, got 'glue'."),
    ],
)
def test_a_record_that_describes_no_model_is_refused(config, changes, message):
    with pytest.raises(UserError) as error:
        parse_config(json.loads(json.dumps(config_record(config))) | changes)
    assert str(error.value) == message


def test_a_config_must_be_a_mapping_with_every_key():
    for record in (None, [], "glo"):
        with pytest.raises(UserError, match=r"^config: must be a mapping of keys to values, got "):
            parse_config(record)
    with pytest.raises(UserError, match=r"^model\.dimension: missing"):
        parse_config({"kind": "glo"}, "model")


def test_a_model_of_an_earlier_version_has_the_network_of_dcgan():
    record = config_record(GLO)
    del record["network"]
    assert parse_config(record) == GLO


def test_a_config_describes_its_networks_and_tables():
    assert type(GLO.generator()) is type(CONCAT.generator()) is Generator
    assert type(replace(GLO, network="style").generator()) is StyleGenerator
    assert type(FILM.generator()) is ModulatedGenerator
    assert type(GLO.encoder(2)) is Encoder and type(FILM.encoder(2)) is type(CONCAT.encoder(2)) is PairEncoder
    (table,) = GLO.tables().values()
    assert (table.dimension, table.geometry, table.shared, table.noisy) == (6, Sphere(6**0.5), False, True)
    assert GLO.geometry() == table.geometry and GLO.prior_table in GLO.tables() and not GLO.classes
    tables = FILM.tables()
    assert {name: (each.dimension, each.shared, each.noisy) for name, each in tables.items()} == {
        "class": (3, True, False),
        "content": (4, False, True),
    }
    assert FILM.dimension == 7 and FILM.prior_table in tables and type(FILM.geometry()) is Euclidean
