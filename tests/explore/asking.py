"""Asks the server of the page, in this process."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the packages of the page are not installed")

from starlette.testclient import TestClient

from iglo.explore.server import Server

HOST = "http://127.0.0.1:8765"


def client(views, host="127.0.0.1", base=HOST):
    return TestClient(Server(views).app(host), base_url=base, raise_server_exceptions=False)


def pixels(sheet) -> np.ndarray:
    """(N, H, W) the cells of a sheet."""
    content = sheet["url"].removeprefix("data:image/png;base64,")
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    rows, side = -(-sheet["count"] // sheet["columns"]), sheet["side"]
    cells = image.reshape(rows, side, sheet["columns"], side).swapaxes(1, 2).reshape(-1, side, side)
    return cells[: sheet["count"]]


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image[..., 0]).save(file, "PNG")
    return file.getvalue()


def sentence(answer, status: int) -> str:
    """The sentence of a refusal."""
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    text = answer.json()["error"]
    assert re.fullmatch(r"[^\n]+\.", text) and "Traceback" not in text
    return text
