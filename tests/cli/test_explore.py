"""The command `iglo explore`: it serves until it is interrupted, and refuses in one sentence."""

import io
import json
import re
import signal
import socket
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from tests import chain
from tests.cli.command import done, refused
from tests.explore.runs import places
from tests.tiny import ROOT

pytest.importorskip("starlette", reason="the packages of the page are not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Maps are kept in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def start(*arguments: str):
    """A running `iglo explore`, and the address that it prints."""
    process = chain.start(Path(), "-m", "iglo", "explore", *arguments, PYTHONPATH=str(ROOT / "src"))
    line = process.stdout.readline()
    return process, re.search(r"http://[\w.:\[\]]+", line).group()


def image() -> bytes:
    """A file that is a small image."""
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "PNG")
    return file.getvalue()


def test_it_serves_the_model_of_the_pipeline_until_it_is_interrupted(tmp_path, monkeypatch):
    places(tmp_path)
    monkeypatch.chdir(tmp_path)
    process, address = start("--port", "0")
    try:
        with urllib.request.urlopen(f"{address}/api/model", timeout=20) as answer:
            about = json.load(answer)
        optimisation = urllib.request.Request(f"{address}/api/invert?steps=1000", image())
        with urllib.request.urlopen(optimisation, timeout=20) as answer:
            assert json.loads(answer.readline())["step"] == 0
            process.send_signal(signal.SIGINT)
            process.wait(20)
    finally:
        process.kill()
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors.splitlines()[-1:]) == (130, ["stopped by the keyboard"])
    assert about["name"] == "models/joint" and about["has"] == {"images": True, "history": True}
    assert len(about["priors"]) == 7
    assert "Traceback" not in errors


def test_an_export_is_served_too_and_a_warning_says_who_can_reach_it(here):
    process, address = start("models/export", "--port", "0", "--host", "0.0.0.0")
    try:
        with urllib.request.urlopen(address.replace("0.0.0.0", "127.0.0.1"), timeout=20) as answer:
            assert b"<!doctype html>" in answer.read()
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert re.search(r"^warning: host: everyone who can reach 0\.0\.0\.0 .*\.$", errors, re.MULTILINE)


def test_a_page_without_a_server_is_written_once(here):
    result = done("explore", "models/export", "--static", "page")
    assert result.stdout == f"wrote page ({len(list(Path('page').iterdir()))} files)\n"
    assert "is there already" in refused("explore", "models/export", "--static", "page")
    assert "got an empty name" in refused("explore", "models/export", "--static", "")
    done("explore", "models/export", "--static", "page", "--force")


def test_mistakes_are_one_sentence(here):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "port: cannot listen on" in refused("explore", "models/export", "--port", str(taken.getsockname()[1]))
    assert "host" in refused("explore", "models/export", "--host", "no such host")
    assert "there is no models/joint here; run `dvc repro` first" in refused("explore")
    assert "not an exported model" in refused("explore", "images", "--port", "0")
    assert "'--port'" in refused("explore", "--port", "70000")


def test_missing_packages_are_named(here, monkeypatch):
    monkeypatch.setattr("iglo.cli.explore.find_spec", lambda name: None)
    assert "install them by pip install 'iglo[explore]'" in refused("explore", "models/export")
