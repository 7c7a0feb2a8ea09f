"""Servers on this machine, in threads of the tests: that of the page, and one that only sends files."""

import functools
import http.server
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from iglo.explore.opening import Places, open_model
from iglo.explore.server import Server, listen
from iglo.explore.views import Views

HOST = "127.0.0.1"


def views_of(folder: Path, model: str, cache: Path, priors: str | None = None) -> Views:
    """What is shown of a model in a working folder, as the command `explore` opens it there."""
    prepared = {"glo": str(folder / "data/prepared"), "class_content": str(folder / "disentangle/work/images")}
    places = Places(str(folder / model), priors and str(folder / priors), prepared, str(folder / "data/arrived"))
    return Views(open_model(places), cache)


@contextmanager
def served(views: Views) -> Iterator[str]:
    """Serves the page; its address."""
    listening = listen(HOST, 0)
    config = uvicorn.Config(Server(views).app(HOST), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://{HOST}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        views.space.embedding.stop()


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def sent(folder: Path) -> Iterator[str]:
    """Sends the files of a folder, as a server of static pages does; its address."""
    with http.server.ThreadingHTTPServer((HOST, 0), functools.partial(_Files, directory=os.fspath(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join(10)
