"""The RTSP server: one for an address and port, with a thread of its own, shared by all streams that it serves."""

from __future__ import annotations

import logging
import resource
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from typing import Any, ClassVar

from ...engine.errors import SinkError, unforeseen
from ..media.gst_load import load
from ..net.doorkeeper import Doorkeeper, party
from ..telemetry.log import say

PARTS = ("GstApp", "GstVideo", "GstRtsp", "GstRtspServer")
MAX_CONNECTIONS = 128
"""Maximum number of connections at a time, each of which costs a few threads and sockets; more are refused."""
MAX_CONNECTIONS_EACH = MAX_CONNECTIONS // 4
"""Maximum number of connections of one address at a time, so that one viewer, or one router with many machines behind
it, cannot keep all others out."""
MAX_SESSIONS = 2
"""Maximum number of sessions of one connection, each of which costs threads and up to 17 files."""
FILES = 17 * MAX_CONNECTIONS * MAX_SESSIONS + 512
"""Number of files that may have to be open at once: if no more can be opened, GLib ends the whole process."""
LONGEST_BODY = 1 << 16
"""Maximum bytes of a request; viewers send only a few lines."""
SESSION_SECONDS = 30
"""Seconds after which a client that is silent, or has not started a session, is disconnected."""
HANG_UP_SECONDS = 2.0
"""Seconds that clients are given to notice the end of the stream."""
TICK_MS = 100
"""Milliseconds between two looks for expired sessions and for pauses to fill."""

_LAUNCH = (
    "( appsrc name=feed is-live=true format=time block=false max-bytes=0 "
    'caps="video/x-h264,stream-format=byte-stream,alignment=au" '
    "! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
"""With config-interval=-1 and x264's slices every client made with FFmpeg shows corrupt pictures."""


class RtspServer:
    """Serves streams under paths. `acquire` returns the server of a port, `release` gives it back."""

    _shared: ClassVar[dict[tuple[str, int], RtspServer]] = {}  # one server for each port of the process
    _lock = threading.Lock()

    def __init__(self, gst: Any, address: str, port: int, login: tuple[str, str] | None) -> None:
        """Raises OSError if the port cannot be bound."""
        self._gst, self.login = gst, login
        self._users = 0
        self._sockets: dict[Any, Any] = {}
        """the socket of every client"""
        self._sessions: dict[Any, int] = {}
        """client -> number of sessions that it has started"""
        self._trouble = ""
        self._without_session: dict[Any, float] = {}
        """clients without a session -> when they connected"""
        self._parties: dict[Any, str] = {}
        """client -> what its address is counted as (`doorkeeper.party`)"""
        self._doorkeeper = Doorkeeper()
        self._closing = threading.Event()
        self._counting = threading.Condition()
        self._key = (address, port)
        self._ticks: list[Callable[[], None]] = []
        self._refused: dict[str, Callable[[], None]] = {}
        """path -> function that is called for each failed login"""
        self._context = gst.GLib.MainContext.new()
        self._loop = gst.GLib.MainLoop.new(self._context, False)
        _allow_files(FILES)
        server = self._server = gst.GstRtspServer.RTSPServer.new()
        if hasattr(server, "set_content_length_limit"):  # GStreamer 1.18
            server.set_content_length_limit(LONGEST_BODY)
        server.set_address(address)
        server.set_service(str(port))
        # A client's DESCRIBE waits for the first frame. With a thread for each client no other one has to wait.
        threads = gst.GstRtspServer.RTSPThreadPool.new()
        threads.set_max_threads(-1)
        server.set_thread_pool(threads)
        server.connect("client-connected", self._greet)
        if login is not None:
            server.set_auth(_auth(gst, *login, self._login_failed))
        self._source = server.create_source(None)
        self._source.attach(self._context)
        self.port = int(server.get_bound_port())
        timer = self._timer = gst.GLib.timeout_source_new(TICK_MS)
        timer.set_callback(self._tick)
        timer.attach(self._context)
        self._thread = threading.Thread(target=self._loop.run, name="saliency-tubes rtsp", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(cls, gst: Any, name: str, address: str, port: int, login: tuple[str, str] | None) -> RtspServer:
        """The server of that address and port. Raises SinkError if the port is taken, or serves with another login."""
        with cls._lock:
            server = cls._shared.get((address, port)) if port else None
            if server is None:
                try:
                    server = cls(gst, address, port, login)
                except gst.GLib.Error as error:
                    raise SinkError(f"{name}: cannot listen on {address} port {port}: {error.message}") from None
                if port:
                    cls._shared[address, port] = server
            elif server.login != login:
                raise SinkError(f"{name}: port {port} is already served with another user name or password")
            server._users += 1
            return server

    def release(self) -> None:
        """Gives the server back. After the last stream has done so, the server and its thread end."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            self._shared.pop(self._key, None)
        server_filter = self._gst.GstRtspServer.RTSPFilterResult.REMOVE
        self._source.destroy()
        self._timer.destroy()
        self._closing.set()
        with self._counting:
            self._hang_up(self._sockets)
            self._counting.wait_for(lambda: not self._sockets, HANG_UP_SECONDS)
        self._server.client_filter(lambda server, client: server_filter)
        self._server.get_session_pool().filter(lambda pool, session: server_filter)
        # Quit from within the loop: a loop that does not run yet would miss a plain quit().
        end = self._gst.GLib.idle_source_new()
        end.set_callback(lambda *_: self._loop.quit())
        end.attach(self._context)
        self._thread.join(5.0)

    def mount(
        self,
        name: str,
        path: str,
        configure: Callable[[Any], None],
        tick: Callable[[], None],
        refused: Callable[[], None],
    ) -> None:
        """Serves `path`. configure(media): called for each client, in a thread of the server's. tick(): TICK_MS.
        refused(): called for each failed login there, one at a time.

        Raises SinkError, which begins with `name`, if the path is served already: GStreamer would replace the older
        one.
        """
        with self._lock:
            if path in self._refused:
                raise SinkError(f"{name}: {path} is already served on port {self.port}")
            self._refused[path] = refused
        gst = self._gst
        factory = gst.GstRtspServer.RTSPMediaFactory.new()
        factory.set_launch(_LAUNCH)
        factory.set_shared(False)  # one pipeline for each client, so that a slow one delays nobody else
        factory.set_latency(0)
        factory.set_suspend_mode(gst.GstRtspServer.RTSPSuspendMode.NONE)
        factory.set_protocols(gst.GstRtsp.RTSPLowerTrans.TCP | gst.GstRtsp.RTSPLowerTrans.UDP)
        if self.login is not None:
            permissions = gst.GstRtspServer.RTSPPermissions.new()
            for permission in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role("viewer", permission, True)
            factory.set_permissions(permissions)
        factory.connect("media-configure", lambda _, media: configure(media))
        self._server.get_mount_points().add_factory(path, factory)
        self._ticks.append(tick)

    def unmount(self, path: str, tick: Callable[[], None]) -> None:
        self._server.get_mount_points().remove_factory(path)
        self._ticks.remove(tick)
        with self._lock:
            self._refused.pop(path, None)

    def _greet(self, _: Any, client: Any) -> None:
        client.connect("closed", self._gone)
        client.connect("new-session", self._begin_session)
        # 0 would close the client in the thread that finds its session expired, which is another one (see `_hang_up`).
        client.set_property("post-session-timeout", 1)
        who = party(client.get_connection().get_ip())
        with self._counting:
            self._sockets[client] = client.get_connection().get_read_socket()
            self._without_session[client] = time.monotonic()
            self._parties[client] = who
            of_theirs = sum(other == who for other in self._parties.values())
            if len(self._sockets) > MAX_CONNECTIONS or of_theirs > MAX_CONNECTIONS_EACH:
                self._doorkeeper.turned_away(who)
                self._hang_up([client])

    def _login_failed(self, client: Any, path: str) -> None:
        """Delays the answer to a client that has failed too often, in the client's own thread, so that nobody else
        waits.

        It keeps its connection meanwhile, even if it hangs up: otherwise an address could try again at once on a new
        one.
        """
        with self._counting:
            if client in self._sessions:
                return  # it has logged in before: the server's challenge has expired, and the client answers a new one
            pause = self._doorkeeper.failed(self._parties.get(client, "?"), time.monotonic())
            for served, refused in self._refused.items():
                if path == served or path.startswith(f"{served}/"):
                    refused()
        self._closing.wait(pause)

    def _begin_session(self, client: Any, session: Any) -> None:
        session.set_timeout(SESSION_SECONDS)
        with self._counting:
            self._without_session.pop(client, None)
            self._sessions[client] = self._sessions.get(client, 0) + 1
            if self._sessions[client] > MAX_SESSIONS:
                self._hang_up([client])

    def _gone(self, client: Any) -> None:
        with self._counting:
            self._sockets.pop(client, None)
            self._sessions.pop(client, None)
            self._without_session.pop(client, None)
            self._parties.pop(client, None)
            self._counting.notify_all()

    def _tick(self, *_: object) -> bool:
        for work in (self._server.get_session_pool().cleanup, self._end_half_open, self._tell, *self._ticks):
            try:
                work()
            except Exception as error:  # a timer whose callback raises is removed, and all streams need it
                text = unforeseen(error)
                if text != self._trouble:
                    say("sink", f"RTSP on port {self.port}: {text}", level=logging.ERROR)
                self._trouble = text
        return True

    def _end_half_open(self) -> None:
        """Disconnects clients without a session; GStreamer itself would keep them for a minute."""
        latest = time.monotonic() - SESSION_SECONDS
        with self._counting:
            self._hang_up([client for client, since in self._without_session.items() if since < latest])

    def _tell(self) -> None:
        with self._counting:
            line = self._doorkeeper.line(time.monotonic())
        if line:
            say("sink", f"RTSP on port {self.port}: {line}", level=logging.WARNING)

    def _hang_up(self, clients: Iterable[Any]) -> None:
        """Closes the sockets of clients, from any thread that holds the lock. Each client's own thread notices and
        closes the client; `client.close()` from another thread can make that one loop for ever.
        """
        for client in clients:
            if client in self._sockets:
                with suppress(self._gst.GLib.Error):  # the client has closed it already
                    self._sockets[client].shutdown(True, True)


def _allow_files(count: int) -> None:
    """Raises the number of files that the process may open, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@cache
def _auth_type() -> type:
    """The type is made once: GLib keeps types for ever."""
    gst = load(*PARTS)
    base: Any = gst.GstRtspServer.RTSPAuth

    class Auth(base):  # type: ignore[misc]
        """Reports each refused login before the refusal is sent. The first challenge is not one: no login came before
        it."""

        failed: Callable[[Any, str], None]

        def do_generate_authenticate_header(self, context: Any) -> None:
            _, login = context.request.get_header(gst.GstRtsp.RTSPHeaderField.AUTHORIZATION, 0)
            if login is not None:
                self.failed(context.client, context.uri.abspath if context.uri else "")
            base.do_generate_authenticate_header(self, context)

    return Auth


def _auth(gst: Any, user: str, password: str, failed: Callable[[Any, str], None]) -> Any:
    """Digest authentication, which never sends a password. failed(client, path) is called in the client's thread for
    each failed login."""
    auth = _auth_type()()
    auth.failed = failed
    token = gst.GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", "viewer")
    auth.set_supported_methods(gst.GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    return auth
