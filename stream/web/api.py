"""The interface for programs: explanations, events, snapshots, and controls. openapi.json describes all of it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...engine.errors import UsageError
from ..telemetry.log import say
from .access import Receive, Scope, Send
from .body import read_body
from .bulletin import Bulletin, Listener
from .controls import LONGEST, differences, read_change
from .doorway import ROLE, peer
from .feed import WebFeed
from .logins import Logins, Role
from .messages import as_json
from .mjpeg import left
from .served import ServedStreams
from .stills import png

DESCRIPTION = Path(__file__).parent / "openapi.json"
MAY_NOT = "no changes are taken here: start with --web-operator-token"
NONE = "there is no such stream, or it is not open"


class Api:
    """Routes of one server."""

    def __init__(self, streams: ServedStreams, bulletin: Bulletin, logins: Logins, patience: float) -> None:
        """patience: the longest that a first picture is waited for, in seconds."""
        self._streams, self._bulletin, self._logins, self._patience = streams, bulletin, logins, patience
        self._description = DESCRIPTION.read_bytes()
        self._encoding = asyncio.Lock()
        self._pngs: WeakKeyDictionary[WebFeed, tuple[int, bytes]] = WeakKeyDictionary()
        """the newest snapshot of each stream, and its frame's number"""

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/api/openapi.json", self.description),
            Route("/api/events", self.events),
            Route("/api/streams", self.all_status),
            Route("/api/streams/{name}", self.status),
            Route("/api/streams/{name}/history", self.history),
            Route("/api/streams/{name}/windows/{number:int}/thumbnail.jpg", self.thumbnail),
            Route("/api/streams/{name}/explanation", self.explanation),
            Route("/api/streams/{name}/snapshot.png", self.snapshot),
            Route("/api/streams/{name}/controls", self.controls, methods=["GET", "PATCH"]),
        ]

    async def description(self, request: Request) -> Response:
        return Response(self._description, media_type="application/json")

    async def events(self, request: Request) -> EventStream:
        if self._bulletin.is_full:
            raise HTTPException(503, "there are too many listeners", {"Retry-After": "10"})
        return EventStream(self._bulletin)

    async def all_status(self, request: Request) -> Response:
        return _json(self._streams.all_status())

    async def status(self, request: Request) -> Response:
        told = self._streams.status(request.path_params["name"])
        if told is None:
            raise HTTPException(404, NONE)
        return _json(told)

    async def history(self, request: Request) -> Response:
        return Response(self._feed(request).history.message() + "\n", media_type="application/json")

    async def thumbnail(self, request: Request) -> Response:
        jpeg = self._feed(request).history.picture(request.path_params["number"])
        if jpeg is None:
            raise HTTPException(404, "there is no picture of that window")
        return Response(jpeg, media_type="image/jpeg")

    async def explanation(self, request: Request) -> Response:
        event = self._feed(request).newest
        if event is None:
            raise HTTPException(404, "nothing is explained yet")
        return Response(f"{event.json}\n", media_type="application/json")

    async def snapshot(self, request: Request) -> Response:
        feed = self._feed(request)
        await feed.audience.next(feed.before_newest, self._patience)
        async with self._encoding:  # one at a time, and each frame once, however many ask
            newest = feed.newest_picture()
            if newest is None:
                raise HTTPException(503, "there is no picture yet", {"Retry-After": "1"})
            number, shown = newest
            known, data = self._pngs.get(feed, (-1, b""))
            if known != number:
                data = await asyncio.to_thread(png, shown)
                self._pngs[feed] = (number, data)
            return Response(data, media_type="image/png")

    async def controls(self, request: Request) -> Response:
        if request.method == "PATCH":
            return await self._change(request)
        view = self._feed(request).about.view
        return _json({} if view is None else view.controls)

    async def _change(self, request: Request) -> Response:
        """Changes the stream for all who watch it."""
        if not self._logins.has_operator:
            raise HTTPException(403, MAY_NOT)
        if request.scope[ROLE] < Role.OPERATOR:
            raise HTTPException(403, "only the operator's token may change a stream")
        feed = self._feed(request)
        view = feed.about.view
        body = await read_body(request, LONGEST)
        if view is None:
            raise HTTPException(409, "this stream has nothing that can be changed")
        before = dict(view.controls)
        try:
            asked = read_change(body)
            view.change(asked.explain, asked.hold, asked.max_age)
        except UsageError as error:
            raise HTTPException(400, str(error)) from None
        after = dict(view.controls)
        changed = differences(before, after)
        if changed:
            # At the level of warnings, so that it is there also where the log has little else.
            say("control", f"{feed.name}: {changed}; by {peer(request.scope)}", level=logging.WARNING)
            feed.mark("control", changed)
        return _json(after)

    def _feed(self, request: Request) -> WebFeed:
        return open_feed(self._streams, request)


class EventStream:
    """An answer in ASGI's form: messages to one listener until it or the server ends."""

    def __init__(self, bulletin: Bulletin) -> None:
        self._bulletin = bulletin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
        await send(head)
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        listener = self._bulletin.join()
        works = [asyncio.ensure_future(_send(listener, send)), asyncio.ensure_future(left(receive))]
        try:
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._bulletin.leave(listener)
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)


async def _send(listener: Listener, send: Send) -> None:
    async for message in listener.messages():
        await send({"type": "http.response.body", "body": message, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _json(record: Any) -> Response:
    return Response(as_json(record) + "\n", media_type="application/json")


def open_feed(streams: ServedStreams, request: Request) -> WebFeed:
    """The stream that a request names. Raises HTTPException if it is not there."""
    feed = streams.feed(request.path_params["name"])
    if feed is None:
        raise HTTPException(404, NONE)
    return feed


def say_wrong(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that says in a line of JSON what is wrong."""
    return Response(json.dumps({"error": why}) + "\n", status, headers, "application/json")
