"""The web server: one for an address and port, shared by all streams that are watched there, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...engine.errors import SinkError, UsageError
from ..net.loopback import is_loopback
from ..telemetry.health import Told
from ..telemetry.log import say
from .app import make_app
from .audience import Audience
from .bulletin import Bulletin
from .complaints import Complaints
from .feed import WebFeed
from .link import made_token, show_link
from .logins import AccessRules, Logins
from .messages import LONGEST
from .served import ServedStreams

CONNECTIONS = 256
"""Maximum number of connections at once; more are refused."""
ASKING = 10.0
"""Maximum seconds from a connection's beginning to its first whole request."""
STALLED = 10.0
"""A connection whose other side takes nothing for so many seconds is cut."""
UNSENT = 1 << 16
"""Bytes that the system keeps unsent for a connection: more would only be older when they arrive."""
ENDING = 2.0
"""Seconds that connections have to end in when the server does."""
TICK = 1.0
"""Seconds from one status to the next."""
_CONTROL = 131
"""Maximum bytes of a WebSocket's ping, which is written whether the other side reads or not (RFC 6455, section 5.5)."""


class WebServer:
    """Serves streams under names. `acquire` returns the server of a port, `release` gives it back."""

    _shared: ClassVar[dict[tuple[str, int], WebServer]] = {}  # one server for each port of the process
    _lock = threading.Lock()

    def __init__(self, host: str, port: int, rules: AccessRules) -> None:
        """Raises OSError if the port cannot be bound."""
        self.rules = rules
        self.feeds: dict[str, WebFeed] = {}
        self.expected: dict[str, Callable[[], Told]] = {}
        """how each stream is that is to be served, also while it is not open"""
        self._users, self._key = 0, (host, port)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=128)
        self.port = int(listening.getsockname()[1])
        own = socket.gethostname().lower()
        names = frozenset({host.lower(), "localhost", own, f"{own}.local", *rules.names})
        token = rules.token
        if not (token or rules.insecure or is_loopback(host)):
            token = made_token()
            show_link(host, self.port, token)
        self.logins = Logins(rules, token, self.port)
        self._streams, self._bulletin = ServedStreams(self.feeds, self.expected), Bulletin()
        self._doorway = make_app(self._streams, self._bulletin, self.logins, names)
        self._server = _server(self._doorway)
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="saliency-tubes web", daemon=True)
        self._thread.start()
        self._begun.wait()

    @classmethod
    def acquire(cls, name: str, host: str, port: int, rules: AccessRules) -> WebServer:
        """The server of that address. Raises SinkError if the address is in use or is not this machine's, UsageError if
        it has other rules already."""
        with cls._lock:
            server = cls._shared.get((host, port)) if port else None
            if server is None:
                try:
                    server = cls(host, port, rules)
                except (OSError, ValueError, TypeError) as error:  # the last two for an impossible host name
                    why = getattr(error, "strerror", None) or error
                    raise SinkError(f"{name}: cannot listen on {host} port {port}: {why}") from None
                if port:
                    cls._shared[host, port] = server
            if server.rules != rules:
                raise UsageError(f"{name}: another output has port {port} with other tokens, names or insecure")
            server._users += 1
            return server

    def release(self) -> None:
        """Gives the server back. After the last user has done so, the server and its threads end."""
        with self._lock:  # hold it to the end: the next `acquire` must find the port free
            self._users -= 1
            if self._users:
                return
            self._shared.pop(self._key, None)
            self.stop()

    def add(self, feed: WebFeed) -> bool:
        """Serves a stream from now on. False: another one has its name."""
        feed.open(Audience, self._bulletin, self._loop)
        if self.feeds.setdefault(feed.name, feed) is feed:
            return True
        feed.close("")
        return False

    def remove(self, feed: WebFeed) -> None:
        """Ends a stream, for all who watch it."""
        self.feeds.pop(feed.name, None)
        feed.close("the stream has ended")
        ending = asyncio.run_coroutine_threadsafe(feed.audience.peers.end(), self._loop)
        with suppress(FutureTimeoutError):
            ending.result(ENDING)

    def stop(self) -> None:
        """Ends the server. Connections that do not end by themselves are cut."""
        self._loop.call_soon_threadsafe(self._bulletin.end)
        self._server.should_exit = True
        self._thread.join()

    @property
    def failed_logins(self) -> int:
        """Number of failed logins so far."""
        return self._doorway.failed_logins

    # the thread

    def _run(self, listening: socket.socket) -> None:
        asyncio.run(self._serve(listening))

    async def _serve(self, listening: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        quiet = _Quiet(threading.get_ident())
        self._loop.set_exception_handler(_complaining())
        logger = logging.getLogger("uvicorn.error")
        logger.addFilter(quiet)
        self._bulletin.open(self._loop)
        ticking = asyncio.ensure_future(self._tick())
        self._begun.set()
        try:
            await self._server.serve([listening])
        finally:
            ticking.cancel()
            for connection in tuple(self._server.server_state.connections):
                connection.transport.abort()
            logger.removeFilter(quiet)

    async def _tick(self) -> None:
        watchdog = Watchdog(STALLED)
        while True:
            await asyncio.sleep(TICK)
            watchdog.look([one.transport for one in self._server.server_state.connections], self._loop.time())
            for feed in tuple(self.feeds.values()):
                feed.tick()
            self._bulletin.look(self._streams.all_status)
            line = self._doorway.line()
            if line:
                say("sink", f"web server on port {self.port}: {line}", level=logging.WARNING)


class Watchdog:
    """Cuts connections whose other side takes nothing."""

    def __init__(self, patience: float) -> None:
        """patience: seconds."""
        self._patience = patience
        self._seen: dict[asyncio.Transport, tuple[int, float]] = {}
        """bytes that wait in each transport, and since when they do"""

    def look(self, transports: list[asyncio.Transport], now: float) -> None:
        """To be called now and then, with all that are open."""
        before, self._seen = self._seen, {}
        for transport in transports:
            waiting = transport.get_write_buffer_size()
            were, since = before.get(transport, (0, now))
            moved = not waiting or waiting < were or waiting > were + _CONTROL
            self._seen[transport] = (waiting, now if moved else since)
            if not moved and now - since >= self._patience:
                transport.abort()


class Protocol(H11Protocol):  # type: ignore[misc]
    """Uvicorn's, with limits on what a client may leave undone."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        if len(self.connections) >= CONNECTIONS:
            transport.abort()
            return
        with suppress(OSError, AttributeError):  # another system than Linux
            own = transport.get_extra_info("socket")
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        super().connection_made(transport)
        self._deadline = self.loop.call_later(ASKING, self._give_up)

    def on_response_complete(self) -> None:
        self._deadline.cancel()
        self._deadline = self.loop.call_later(ASKING, self._give_up)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None:
            self._deadline.cancel()
            super().connection_lost(exc)

    def _give_up(self) -> None:
        if self in self.connections and (self.cycle is None or self.cycle.response_complete):
            self.transport.abort()


class _Quiet(logging.Filter):
    """Keeps what uvicorn says in the server's thread from the log, but for errors."""

    def __init__(self, thread: int) -> None:
        super().__init__()
        self._thread, self._complaints = thread, Complaints("the web server failed at a request")

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self._thread:
            return True
        if record.levelno >= logging.ERROR:
            self._complaints.say(repr(record.exc_info[1]) if record.exc_info else record.getMessage())
        return False


def _complaining() -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """Handles what goes wrong in the server's loop and in no request, such as that there are too many open files."""
    complaints = Complaints("the web server failed")
    return lambda loop, context: complaints.say(repr(context.get("exception") or context["message"]))


def _server(app: Any) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="websockets-sansio",
            ws_max_size=LONGEST,
            ws_per_message_deflate=False,
            ws_ping_interval=20.0,
            ws_ping_timeout=20.0,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=round(ENDING),
        )
    )
