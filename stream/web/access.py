"""Whom the web server answers at all: by the names that it is called by, and the page that asks. Pure.

A foreign page can have its own name resolved to this machine (DNS rebinding), and any page can open a WebSocket to it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from ..net.address import host_and_port

SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""
ONCE = ("host", "origin", "authorization", "cookie")
"""Headers that tell who asks, so that two of them are none."""
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
        return host_and_port(origin) == host.lower()
    except ValueError:
        return False


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of ASGI's request, by names in lower case. Raises ValueError if one of ONCE comes twice."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in ONCE and key in headers:
            raise ValueError(f"there are two {key} headers")
        headers[key] = value.decode("latin-1")
    return headers


def refusal(scope: Scope, headers: Mapping[str, str], names: frozenset[str]) -> str:
    """Why a request must not be answered, whoever asks; empty if it may be.

    scope: ASGI's, of an HTTP request or a WebSocket. headers: `headers_of` it. names: see `is_own_name`.
    """
    host, origin = headers.get("host", ""), headers.get("origin", "")
    if not is_own_name(host, names):
        return "this server is not called that: --web-name takes more names"
    changes = scope["type"] == "websocket" or scope["method"] not in SAFE
    if changes and not is_own_page(origin, host):
        return "another server's page may not ask this"
    return ""


def completed(headers: Any) -> list[tuple[bytes, bytes]]:
    """The headers of an answer, with those of HEADERS that it lacks."""
    present = {name.lower() for name, _ in headers}
    more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    return [*headers, *((name, value) for name, value in more if name not in present)]
