"""Lets only those requests through to the application that may be answered. For the server's thread."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

from ..net.doorkeeper import Doorkeeper, party
from .access import App, Message, Receive, Scope, Send, completed, headers_of, refusal
from .logins import Asker, Logins, Role
from .signin import POLICY, SIGN_IN, forgotten, page, welcome

ROLE = "saliency_tubes.role"
"""Key of ASGI's scope: the `Role` of who asks."""
OPEN = (SIGN_IN, "/static/")
"""What everybody may ask for: where one signs in, and what the page is made of, which is no secret. A path that ends
with / stands for what is below it."""
_AUTHENTICATE = (b"www-authenticate", b'Bearer realm="saliency-tubes"')


class Doorway:
    """Asks every request for its host, its page and its token, and adds `access.HEADERS` to every answer."""

    def __init__(self, app: App, names: frozenset[str], logins: Logins) -> None:
        self._app, self._names, self._logins = app, names, logins
        self._keeper = Doorkeeper()
        self.failed_logins = 0
        """number of failed logins so far"""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        try:
            headers = headers_of(scope)
        except ValueError as error:
            await refuse(scope, send, 400, str(error))
            return
        wrong = refusal(scope, headers, self._names)
        if wrong:
            await refuse(scope, send, 403, wrong)
            return
        shown = self._logins.look(headers)
        if shown.failed:
            await self.fail(scope)
        if shown.role is Role.NOBODY and not _is_open(scope["path"]):
            await self._ask_for_token(scope, send, headers, shown)
            return
        scope[ROLE] = shown.role

        async def send_with_headers(message: Message) -> None:
            if message["type"].endswith("response.start"):
                message["headers"] = completed(message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, send_with_headers)

    async def fail(self, scope: Scope) -> None:
        """Counts a failed login, and returns when it may be answered."""
        self.failed_logins += 1
        await asyncio.sleep(self._keeper.failed(party(peer(scope)), time.monotonic()))

    def line(self) -> str:
        """What to log now of failed logins; empty if there is nothing."""
        return self._keeper.line(time.monotonic())

    async def _ask_for_token(self, scope: Scope, send: Send, headers: dict[str, str], shown: Asker) -> None:
        more = [_AUTHENTICATE]
        if shown.stale:
            more.append((b"set-cookie", forgotten(self._logins.cookie_name).encode()))
        if scope["type"] == "http" and scope["path"] == "/":
            # A browser that follows another site's link sends no SameSite=Strict cookie, until a page of ours asks.
            again = headers.get("sec-fetch-site") == "cross-site" and not shown.failed
            more.append((POLICY[0].lower().encode(), POLICY[1].encode()))
            await answer(scope, send, 401, b"text/html; charset=utf-8", welcome() if again else page(), more)
            return
        why = (
            "that is not the token"
            if shown.failed
            else f"this server asks for its token: {SIGN_IN}, or a bearer header"
        )
        await refuse(scope, send, 401, why, more)


def peer(scope: Scope) -> str:
    """The address that a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else "?"


async def refuse(scope: Scope, send: Send, status: int, why: str, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Answers a request, or a WebSocket that is not accepted yet, by a line of JSON. more: headers."""
    body = f"{json.dumps({'error': why})}\n".encode()
    await answer(scope, send, status, b"application/json", body, more)


async def answer(
    scope: Scope, send: Send, status: int, kind: bytes, body: bytes, more: Sequence[tuple[bytes, bytes]]
) -> None:
    """Sends a whole answer in ASGI's messages. kind: its media type. more: headers."""
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *more]
    start = "http" if scope["type"] == "http" else "websocket.http"
    await send({"type": f"{start}.response.start", "status": status, "headers": completed(headers)})
    await send({"type": f"{start}.response.body", "body": b"" if scope.get("method") == "HEAD" else body})


def _is_open(path: str) -> bool:
    return any(path == known or (known.endswith("/") and path.startswith(known)) for known in OPEN)
