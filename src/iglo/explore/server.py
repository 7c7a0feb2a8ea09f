"""The server of the page: routes, threads, and errors as one sentence."""

import json
import logging
import os
import queue
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from iglo.errors import UserError
from iglo.explore.downloads import DOWNLOADS, download
from iglo.explore.page_files import TYPES, page_files
from iglo.explore.queries import LARGEST_UPLOAD, Nothing, OfInversion, OfPath, read_query
from iglo.explore.security import Guard
from iglo.explore.uploads import Uploads
from iglo.explore.views import Views
from iglo.progress import quiet

MOST_WAITING = 64  # requests that wait for the model; more are refused
MOST_CONNECTIONS = 256
MOST_UPLOADS = 4  # bodies that are in memory at the same time
UPLOAD_SECONDS = 60  # for a body to arrive
BUSY = "The server is busy; try again in a moment."

log = logging.getLogger("iglo.explore")


class BusyError(Exception):
    """Too many requests already wait."""


class Line:
    """The requests that wait for the model. One of them is computed at a time, in a thread."""

    def __init__(self) -> None:
        self.turn, self.waiting = anyio.Lock(), 0

    async def run(self, request: Request, function: Callable, *arguments: Any) -> Any:
        """Runs a function in its turn, for a request.

        Raises:
            BusyError: MOST_WAITING others wait.
            ClientDisconnect: the client has gone before its turn.
        """
        if self.waiting >= MOST_WAITING:
            raise BusyError
        self.waiting += 1
        try:
            async with self.turn:
                if await request.is_disconnected():
                    raise ClientDisconnect
                return await anyio.to_thread.run_sync(_quietly, function, *arguments)
        finally:
            self.waiting -= 1


def _quietly(function: Callable, *arguments: Any) -> Any:
    with quiet():
        return function(*arguments)


class Server:
    """Answers requests about one model.

    Args:
        views: answers what the page asks for.
    """

    def __init__(self, views: Views):
        self.views, self.uploads, self.line = views, Uploads(views), Line()
        self.files = page_files()
        self.bodies = anyio.CapacityLimiter(MOST_UPLOADS)

    def app(self, *hosts: str) -> Starlette:
        """Returns the application for a server with these names and addresses."""
        routes = [
            *(Route(f"/{path}", self.file, methods=["GET"]) for path in ["", *self.files]),
            *(Route(f"/api/{name}", self.answer, methods=["GET"], name=name) for name in self.views.answers),
            *(Route(f"/api/{name}", self.download, methods=["GET"]) for name in DOWNLOADS),
            Route("/sheets/{kind}/{number}.png", self.sheet, methods=["GET"]),
            Route("/api/upload", self.upload, methods=["POST"]),
            Route("/api/invert", self.invert, methods=["POST"]),
        ]
        app = Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hosts)], exception_handlers=HANDLERS)
        app.router.redirect_slashes = False
        return app

    async def file(self, request: Request) -> Response:
        """Sends a file of the page. Only names that are known from the start are looked up."""
        name = request.scope["path"].removeprefix("/") or "index.html"
        return Response(self.files[name], media_type=TYPES[name.rpartition(".")[2]])

    async def answer(self, request: Request) -> Response:
        """Answers a question of the page with JSON."""
        kind, function = self.views.answers[request.scope["path"].removeprefix("/api/")]
        query = read_query(request.query_params.multi_items(), kind)
        return JSONResponse(await self.line.run(request, function, query))

    async def sheet(self, request: Request) -> Response:
        """Sends a sheet of thumbnails."""
        kind, number = request.path_params["kind"], request.path_params["number"]
        if kind not in ("images", "renders") or not re.fullmatch("[0-9]{1,6}", number):
            raise HTTPException(404)
        content = await self.line.run(request, self.views.pictures.sheet, kind, int(number))
        return Response(content, media_type="image/png")

    async def download(self, request: Request) -> Response:
        """Sends a path as a file."""
        name = request.scope["path"].removeprefix("/api/")
        query = read_query(request.query_params.multi_items(), OfPath)
        content = await self.line.run(request, download, self.views, query, name)
        kept = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=DOWNLOADS[name], headers=kept)

    async def upload(self, request: Request) -> Response:
        """Finds the encoder's code of an image."""
        read_query(request.query_params.multi_items(), Nothing)
        async with self._body(request) as content:
            return JSONResponse(await self.line.run(request, self.uploads.encoded, content))

    async def invert(self, request: Request) -> Response:
        """Optimises the code of an image, and sends a line of JSON every few steps. The client may close to stop."""
        query = read_query(request.query_params.multi_items(), OfInversion)
        async with self._body(request) as content:
            lines = self._optimised(content, query.steps)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the body of a request. It waits until fewer than MOST_UPLOADS others are in memory."""
        async with self.bodies:
            with anyio.fail_after(UPLOAD_SECONDS):
                content = await _read_body(request)
            yield content

    async def _optimised(self, content: bytes, steps: int) -> AsyncIterator[str]:
        """Yields the lines of an optimisation, which runs in a thread."""
        told: queue.SimpleQueue = queue.SimpleQueue()
        stopped = threading.Event()

        def work() -> None:
            try:
                self.uploads.optimised(content, steps, told.put, stopped)
            except UserError as error:
                told.put({"error": str(error)})
            except Exception:
                log.exception("an optimisation failed")
                told.put({"error": "The server has failed; its terminal says why."})
            told.put(None)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            while (line := await anyio.to_thread.run_sync(told.get, abandon_on_cancel=True)) is not None:
                yield json.dumps(line) + "\n"
        finally:
            stopped.set()


async def _read_body(request: Request) -> bytes:
    """Reads the body of a request; UserError if it is empty or longer than LARGEST_UPLOAD."""
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > LARGEST_UPLOAD:
            raise UserError(f"image: the file must have at most {LARGEST_UPLOAD // 2**20} MiB.")
        parts.append(part)
    if not length:
        raise UserError("image: the file is empty.")
    return b"".join(parts)


def _error(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status)


async def _wrong(request: Request, error: Exception) -> Response:
    return _error(400, str(error))


async def _busy(request: Request, error: Exception) -> Response:
    return _error(503, BUSY)


async def _slow(request: Request, error: Exception) -> Response:
    return _error(408, f"The file must arrive within {UPLOAD_SECONDS} seconds.")


async def _gone(request: Request, error: Exception) -> Response:
    return _error(400, "The request ended too early.")


async def _http(request: Request, error: HTTPException) -> Response:
    sentences = {404: "There is no such page.", 405: "This request must use another method."}
    return _error(error.status_code, sentences.get(error.status_code, "This request cannot be answered."))


async def _failed(request: Request, error: Exception) -> Response:
    return _error(500, "The server has failed; its terminal says why.")


HANDLERS = {
    UserError: _wrong,
    BusyError: _busy,
    MemoryError: _busy,
    TimeoutError: _slow,
    ClientDisconnect: _gone,
    HTTPException: _http,
    Exception: _failed,
}


def listen(host: str, port: int) -> socket.socket:
    """Opens the socket of a server; port 0 takes a free one. Requests wait until the server runs.

    Raises:
        UserError: the port is taken, or there is no such host.
    """
    try:
        family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # with the protocol, because asyncio sends small packets without delay only if it knows that they are TCP's
        listening = socket.socket(family[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if os.name != "nt":  # on Windows, this option would allow two servers on one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(family[4])
        listening.listen()
    except (OSError, UnicodeError) as error:
        reason = "no such name" if isinstance(error, UnicodeError) else (error.strerror or str(error)).lower()
        raise UserError(f"port: cannot listen on {host}:{port} ({reason}); take another --port or --host.") from None
    return listening


class _Uvicorn(uvicorn.Server):
    """Uvicorn without messages at its end. Otherwise it reports every request that it breaks off."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def run(views: Views, host: str, listening: socket.socket) -> None:
    """Serves the page until the process is interrupted."""
    config = uvicorn.Config(
        Server(views).app(host, listening.getsockname()[0]),
        log_level="warning",
        lifespan="off",
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    try:
        _Uvicorn(config).run(sockets=[listening])
    finally:
        views.space.embedding.stop()
