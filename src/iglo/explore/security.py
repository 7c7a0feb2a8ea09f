"""Keeps the server safe: which hosts and origins may send requests, and what a page may load."""

import ipaddress
import re
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LOCAL = ("127.0.0.1", "localhost", "::1")
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/?#@\[\]\\]+)(:\d+)?", re.IGNORECASE)  # name and port


class Guard:
    """Refuses requests that a page of another site may have sent, and adds HEADERS to every answer.

    A site can point its own name at this machine, and so make a browser send requests here (DNS rebinding). Therefore
    the Host header must be one of this server's names, or an address in numbers if the server listens anywhere.

    Args:
        hosts: names and addresses of this server.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]):
        self.app, self.names = app, {*LOCAL, *(host.lower() for host in hosts)}
        self.anywhere = any(_is_number(name) and ipaddress.ip_address(name).is_unspecified for name in self.names)
        if self.anywhere:
            self.names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        answer = self.app
        if not self._is_ours(headers.get("host", "")):
            sentence = "host: this name is not one of this server's; open the address that it printed."
            answer = JSONResponse({"error": sentence}, 400)
        elif self._is_foreign(headers):
            answer = JSONResponse({"error": "origin: requests of other sites are refused."}, 403)
        await answer(scope, receive, send_with_headers)

    def _is_ours(self, host: str) -> bool:
        if (found := HOST.fullmatch(host)) is None:
            return False
        name = found[1].strip("[]").lower()
        return name in self.names or (self.anywhere and _is_number(name))

    def _is_foreign(self, headers: Headers) -> bool:
        """Whether a page of another site has sent the request, as far as the browser says so."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            return True
        return site not in ("none", "same-origin") and headers.get("sec-fetch-mode") != "navigate"


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_local(address: str) -> bool:
    """Whether only this machine can reach a server that is bound to this address in numbers."""
    return _is_number(address) and ipaddress.ip_address(address).is_loopback
