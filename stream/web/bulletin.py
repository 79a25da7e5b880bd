"""What happens in all streams of a server, for programs that listen: server-sent events. For the server's thread, but
for `Bulletin.publish`.

The format is that of the HTML standard, section 9.2: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from .messages import as_json

LISTENERS = 64
"""Maximum number of listeners."""
WAITING = 256
"""Maximum number of messages that wait for one listener; then the oldest is dropped for a new one."""
SILENCE = 10.0
"""Seconds without a message after which a comment is sent, so that it shows which listeners have left."""
AGAIN = 2000
"""Milliseconds after which a browser connects again."""


class Listener:
    """One that listens. What waits for it is bounded."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._missed = 0
        self._came = asyncio.Event()
        self._ended = False

    def put(self, message: bytes) -> None:
        if len(self._waiting) >= WAITING:
            self._waiting.popleft()
            self._missed += 1
        self._waiting.append(message)
        self._came.set()

    def end(self) -> None:
        self._ended = True
        self._came.set()

    async def messages(self) -> AsyncIterator[bytes]:
        """Each message as soon as it is there, and comments in between, until the end."""
        yield f"retry: {AGAIN}\n\n".encode()
        while not self._ended:
            if not self._waiting:
                self._came.clear()
                try:
                    await asyncio.wait_for(self._came.wait(), SILENCE)
                except asyncio.TimeoutError:
                    yield b":\n\n"
                continue
            if self._missed:
                missed, self._missed = self._missed, 0
                yield sse("skip", as_json({"messages": missed}))
            yield self._waiting.popleft()


class Bulletin:
    """Tells every listener."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._states: dict[str, bytes] = {}
        """the newest message about the state of each stream; empty while nobody listens"""
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def listened(self) -> bool:
        """Whether anybody listens. In any thread."""
        return bool(self._listeners)

    @property
    def is_full(self) -> bool:
        return len(self._listeners) >= LISTENERS

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """loop: the server's."""
        self._loop = loop

    def publish(self, kind: str, made: Callable[[], str]) -> None:
        """Tells everybody. In any thread. made: makes the message's JSON, and is called, here, if anybody listens."""
        if self.listened and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, sse(kind, made()))

    def look(self, all_status: Callable[[], list[dict[str, Any]]]) -> None:
        """To be called now and then: tells everybody how a stream is where that is new. all_status: of all streams, as
        `status.status` has it; called if anybody listens."""
        before, self._states = self._states, {}
        if not self.listened:
            return
        for told in all_status():
            state = {"stream": told["name"], **{key: told[key] for key in ("state", "connected", "why")}}
            message = self._states[told["name"]] = sse("state", as_json(state))
            if before.get(told["name"]) != message:
                self._tell(message)
        for gone in before.keys() - self._states.keys():
            state = {"stream": gone, "state": "closed", "connected": False, "why": "the stream has ended"}
            self._tell(sse("state", as_json(state)))

    def join(self) -> Listener:
        """A new listener, who is told how each stream is as soon as that is known."""
        listener = Listener()
        for message in self._states.values():
            listener.put(message)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def end(self) -> None:
        """The server ends."""
        for listener in self._listeners:
            listener.end()

    def _tell(self, message: bytes) -> None:
        for listener in self._listeners:
            listener.put(message)


def sse(kind: str, data: str) -> bytes:
    """A message. data: one line."""
    return f"event: {kind}\ndata: {data}\n\n".encode()
