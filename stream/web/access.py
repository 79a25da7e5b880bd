"""Who may ask the web server what: by the names that it is called by, and the page that asks. Pure but for `Doorway`.

A foreign page can have its own name resolved to this machine (DNS rebinding), and any page can open a WebSocket to it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'self'",
}
"""Headers of every answer, unless it has one of the name."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def is_own_name(host: str, names: frozenset[str]) -> bool:
    """Whether a Host header names this machine: by an address, or by one of its names, which are in lower case."""
    host = host.lower()
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def is_own_page(origin: str, host: str) -> bool:
    """Whether a page of this server asks, by the Origin and Host headers. Whoever is no browser sends no Origin."""
    if not origin:
        return True
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def refusal(scope: Scope, names: frozenset[str]) -> str:
    """Why a request must not be answered; empty if it may be. scope: ASGI's, of an HTTP request or a WebSocket."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in ("host", "origin") and key in headers:
            return f"there are two {key} headers"
        headers[key] = value.decode("latin-1")
    host, origin = headers.get("host", ""), headers.get("origin", "")
    if not is_own_name(host, names):
        return "this server is not called that"
    changes = scope["type"] == "websocket" or scope["method"] not in SAFE
    if changes and not is_own_page(origin, host):
        return "another server's page may not ask this"
    return ""


class Doorway:
    """Lets only those requests through to an application that may be answered, and adds HEADERS to every answer."""

    def __init__(self, app: App, names: frozenset[str]) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        wrong = refusal(scope, self._names)
        if wrong:
            await refuse(scope, send, 403, wrong)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"].endswith("response.start"):
                message["headers"] = _completed(message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, send_with_headers)


async def refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    """Answers a request, or a WebSocket that is not accepted yet, by one line."""
    body = f"{why}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    kind = "http" if scope["type"] == "http" else "websocket.http"
    await send({"type": f"{kind}.response.start", "status": status, "headers": _completed(headers)})
    await send({"type": f"{kind}.response.body", "body": body})


def _completed(headers: Any) -> list[tuple[bytes, bytes]]:
    present = {name.lower() for name, _ in headers}
    more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    return [*headers, *((name, value) for name, value in more if name not in present)]
