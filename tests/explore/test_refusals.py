"""The server of the page refuses in one sentence, and does not let one client hold up the others."""

import json
import socket
import threading

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the packages of the page are not installed")

import anyio
import httpx
from anyio.from_thread import start_blocking_portal
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient

from iglo.errors import UserError
from iglo.explore import server as server_module
from iglo.explore import uploads
from iglo.explore.server import MOST_WAITING, Line, Server, listen
from tests.explore.asking import HOST, client, png, sentence
from tests.exported import IMAGES


@pytest.fixture(scope="module")
def page(views):
    return client(views)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/decode", "ref: is missing"),
        ("/api/decode?ref=" + "x" * 5000, "ref: must be the address of a code"),
        ("/api/decode?ref=t:1&other=2", "'other': unknown parameter"),
        ("/api/decode?" + "&".join(["ref=t:1"] * 65), "ref: must be 1 to 64 codes"),
        ("/api/near?ref=t:1&ref=t:2", "ref: must be given once"),
        ("/api/training?row=12", "row: must be below 12, got 12"),
        ("/api/training?row=-1", "must be a whole number"),
        ("/api/map?layout=../../etc/passwd", "layout: must be one of pca, neighbours"),
        ("/api/samples?prior=gaussian&seed=99999999999", "seed: must be"),
        ("/api/samples?prior=gaussian&psi=2", "psi: must be from 0 to 1"),
        ("/api/samples?prior=gaussian&toward=there", "toward: must be one of mean, nearest"),
        ("/api/path?stop=t:1&way=line", "stop: must be 2 to 12 stops"),
        ("/api/path?stop=t:1&stop=t:2&way=straight", "way: must be one of circle, line, graph"),
        ("/api/path?" + "stop=t:1&" * 12 + "way=line&steps=60", "at most 241 images, got 661"),
        ("/api/path.gif?stop=t:1&stop=t:99&way=line", "training image must be below 12"),
        ("/api/conversions?ref=t:1", "this model has no classes"),
        ("/sheets/images/1.png", "there is no sheet 1"),
    ],
)
def test_a_wrong_request_gets_one_sentence(page, path, words):
    assert words in sentence(page.get(path), 400)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/..%2f..%2fetc%2fpasswd",
        "/api/",
        "/sheets/other/0.png",
        "/sheets/images/..png",
        f"/sheets/images/{'9' * 5000}.png",
        "//etc/passwd",
        "/api/model/",
    ],
)
def test_there_are_no_other_pages(page, path):
    sentence(page.get(path), 404)


def test_other_methods_are_refused(page):
    sentence(page.post("/api/model"), 405)
    sentence(page.get("/api/upload"), 405)
    sentence(page.put("/"), 405)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"no image", "cannot be used"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "cannot be used"),
        (png(np.zeros((4, 4, 1), np.uint8)), "fewer than 8 on a side"),
        (png(np.zeros((6000, 6000, 1), np.uint8)), "has more than 33554432 pixels"),
    ],
)
def test_a_file_that_is_no_image_gets_one_sentence(page, content, words):
    assert words in sentence(page.post("/api/upload", content=content), 400)
    line = json.loads(page.post("/api/invert", content=content).text) if content else {"error": words}
    assert words in line["error"]


def test_a_long_file_is_refused_before_it_is_read(page, monkeypatch):
    monkeypatch.setattr(server_module, "LARGEST_UPLOAD", 2**20)
    read = []

    def parts():
        for number in range(100):
            read.append(number)
            yield b"\0" * 2**19

    assert "at most 1 MiB" in sentence(page.post("/api/upload", content=parts()), 400)


def test_a_name_of_another_site_is_refused(page, views):
    named = ("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[", "127.0.0.1@evil.example")
    for host in (*named, "evil@127.0.0.1", "127.0.0.1/api", "127.0.0.1?", "127.0.0.1:port", "localhost."):
        sentence(page.get("/api/model", headers={"host": host}), 400)
    for host in ("localhost:8765", "127.0.0.1:8765", "[::1]:8765", "LOCALHOST"):
        assert page.get("/", headers={"host": host}).status_code == 200
    anywhere = client(views, "0.0.0.0")
    assert anywhere.get("/", headers={"host": "192.168.1.7:8765"}).status_code == 200
    sentence(anywhere.get("/", headers={"host": "evil.example"}), 400)
    everywhere = TestClient(Server(views).app("", "0:0:0:0:0:0:0:0"), base_url=HOST)
    assert everywhere.get("/", headers={"host": "[fe80::1]:8765"}).status_code == 200
    sentence(everywhere.get("/", headers={"host": ""}), 400)


def test_a_page_of_another_site_is_refused(page):
    for origin in ("http://evil.example", "null", "http://[", "http://127.0.0.1:9999", f"{HOST}/x"):
        sentence(page.post("/api/upload", headers={"origin": origin}, content=b"x"), 403)
    sentence(page.get("/api/model", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}), 403)
    assert page.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200
    assert page.post("/api/upload", headers={"origin": HOST}, content=png(IMAGES[0])).status_code == 200


def test_every_answer_forbids_scripts_from_elsewhere(page):
    for path in ("/", "/api/model", "/nothing"):
        headers = page.get(path).headers
        policy = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff"


def test_an_error_of_ours_shows_no_traceback(views, monkeypatch):
    server = Server(views)
    kind, _ = views.answers["model"]
    monkeypatch.setitem(views.answers, "model", (kind, lambda query: 1 / 0))
    page = TestClient(server.app("127.0.0.1"), base_url=HOST, raise_server_exceptions=False)
    assert sentence(page.get("/api/model"), 500) == "The server has failed; its terminal says why."


def test_requests_beyond_the_line_are_refused(views):
    server = Server(views)
    server.line.waiting = MOST_WAITING
    page = TestClient(server.app("127.0.0.1"), base_url=HOST)
    assert "busy" in sentence(page.get("/api/model"), 503)


def run(function, *arguments):
    """What an asynchronous function returns. It runs in a thread, because Playwright may hold the loop of this one."""
    with start_blocking_portal() as portal:
        return portal.call(function, *arguments)


def test_a_request_whose_client_has_gone_is_left_out():
    class Gone:
        async def is_disconnected(self) -> bool:
            return True

    line, done = Line(), []
    with pytest.raises(ClientDisconnect):
        run(line.run, Gone(), done.append, 1)
    assert (done, line.waiting) == ([], 0)


def test_a_file_that_does_not_arrive_is_given_up(views, monkeypatch):
    monkeypatch.setattr(server_module, "UPLOAD_SECONDS", 0.1)
    server = Server(views)

    async def parts():
        yield b"\x89PNG"
        await anyio.sleep(20)

    async def post():
        transport = httpx.ASGITransport(server.app("127.0.0.1"))
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as page:
            return await page.post("/api/upload", content=parts())

    assert "must arrive within" in sentence(run(post), 408)
    assert server.bodies.borrowed_tokens == 0


def test_an_answer_does_not_wait_for_a_packet_of_the_client():
    """asyncio turns Nagle's algorithm off only on sockets that say TCP; with it, each answer takes 40 ms longer."""
    with listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_a_port_belongs_to_one_server():
    with listen("127.0.0.1", 0) as taken, pytest.raises(UserError, match="cannot listen on"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match="no such name"):
        listen("a..b", 0)


def test_two_optimisations_run_at_once_and_a_third_is_refused(views):
    finder, content = uploads.Uploads(views), png(IMAGES[0])
    running, stopped = threading.Barrier(3), [threading.Event() for _ in range(2)]

    def wait(told):
        if told["step"] == 0:
            running.wait(20)

    threads = [
        threading.Thread(target=finder.optimised, args=(content, 1000, wait, event), daemon=True) for event in stopped
    ]
    for thread in threads:
        thread.start()
    running.wait(20)
    with pytest.raises(uploads.UserError, match="2 optimisations run already"):
        finder.optimised(content, 10, lambda told: None, threading.Event())
    for event, thread in zip(stopped, threads, strict=True):
        event.set()
        thread.join(20)
        assert not thread.is_alive()
    finder.optimised(content, 1, lambda told: None, threading.Event())
