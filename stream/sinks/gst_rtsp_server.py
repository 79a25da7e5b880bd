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
"""at a time: each costs a few threads and sockets; whoever comes then is sent away"""
MAX_CONNECTIONS_EACH = MAX_CONNECTIONS // 4
"""at a time, of one address: one viewer, or one machine behind whose address many are, cannot keep all others out"""
MAX_SESSIONS = 2
"""that one connection may begin: each costs threads and up to 17 files"""
FILES = 17 * MAX_CONNECTIONS * MAX_SESSIONS + 512
"""that may have to be open at once: without files GLib ends the whole process"""
LONGEST_BODY = 1 << 16
"""bytes of a request; nobody who watches sends more than a few lines"""
SESSION_SECONDS = 30
"""after which a client that says nothing is sent away, and one that never came as far as a session"""
HANG_UP_SECONDS = 2.0
"""that clients are given at the end to notice that it is one"""
TICK_MS = 100
"""how often expired sessions are looked for, and silence is filled"""

_LAUNCH = (
    "( appsrc name=feed is-live=true format=time block=false max-bytes=0 "
    'caps="video/x-h264,stream-format=byte-stream,alignment=au" '
    "! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
"""config-interval=-1 with x264's slices shows corrupt pictures in every client made with FFmpeg (facts/video.md)"""


class RtspServer:
    """Serves streams under paths. Made by `acquire`, given back by `release`."""

    _shared: ClassVar[dict[tuple[str, int], RtspServer]] = {}  # a port is the process's, whoever serves on it
    _lock = threading.Lock()

    def __init__(self, gst: Any, address: str, port: int, login: tuple[str, str] | None) -> None:
        """Raises OSError where the port cannot be bound."""
        self._gst, self.login = gst, login
        self._users = 0
        self._sockets: dict[Any, Any] = {}
        """of every client"""
        self._sessions: dict[Any, int] = {}
        """how many each client has begun"""
        self._trouble = ""
        self._without_session: dict[Any, float] = {}
        """clients, and since when they are connected"""
        self._parties: dict[Any, str] = {}
        """whom each client's address counts for"""
        self._doorkeeper = Doorkeeper()
        self._closing = threading.Event()
        self._counting = threading.Condition()
        self._key = (address, port)
        self._ticks: list[Callable[[], None]] = []
        self._refused: dict[str, Callable[[], None]] = {}
        """by path, who is told of failed logins"""
        self._context = gst.GLib.MainContext.new()
        self._loop = gst.GLib.MainLoop.new(self._context, False)
        _allow_files(FILES)
        server = self._server = gst.GstRtspServer.RTSPServer.new()
        if hasattr(server, "set_content_length_limit"):  # GStreamer 1.18
            server.set_content_length_limit(LONGEST_BODY)
        server.set_address(address)
        server.set_service(str(port))
        # A client's DESCRIBE waits for the first frame: with a thread for each no other one waits with it.
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
        """The server of that address and port. Raises SinkError where it is taken, or served with another login."""
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
        """The last one to give it back ends the server and its thread."""
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
        # From within: a loop that does not run yet would miss a plain quit().
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

        Raises SinkError, beginning with `name`, where it is served already: GStreamer would let the newest one win.
        """
        with self._lock:
            if path in self._refused:
                raise SinkError(f"{name}: {path} is already served on port {self.port}")
            self._refused[path] = refused
        gst = self._gst
        factory = gst.GstRtspServer.RTSPMediaFactory.new()
        factory.set_launch(_LAUNCH)
        factory.set_shared(False)  # one for each client: a slow one has only itself to wait for
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
        # 0 would close it in the thread that finds its session expired, which is not its own (see `_hang_up`).
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
        """Makes whoever fails too often wait for the answer: in the client's own thread, and nobody waits with it.

        It keeps its place meanwhile, even where it hangs up: who has all that one address may have must wait as well.
        """
        with self._counting:
            if client in self._sessions:
                return  # it has logged in before: the server's challenge has grown old, and it answers a new one
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
            except Exception as error:  # a timer whose callback raises is gone, and with it all the others
                text = unforeseen(error)
                if text != self._trouble:
                    say("sink", f"RTSP on port {self.port}: {text}", level=logging.ERROR)
                self._trouble = text
        return True

    def _end_half_open(self) -> None:
        """GStreamer itself would keep them, and their places, for a minute."""
        latest = time.monotonic() - SESSION_SECONDS
        with self._counting:
            self._hang_up([client for client, since in self._without_session.items() if since < latest])

    def _tell(self) -> None:
        with self._counting:
            line = self._doorkeeper.line(time.monotonic())
        if line:
            say("sink", f"RTSP on port {self.port}: {line}", level=logging.WARNING)

    def _hang_up(self, clients: Iterable[Any]) -> None:
        """From any thread that holds the lock, for it only ends the sockets: each client's own thread sees that, and
        closes. `client.close()` from another thread can leave that one spinning.
        """
        for client in clients:
            if client in self._sockets:
                with suppress(self._gst.GLib.Error):  # the other side was faster
                    self._sockets[client].shutdown(True, True)


def _allow_files(count: int) -> None:
    """Lets the process have so many files open, as far as the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@cache
def _auth_type() -> type:
    """Made once: GLib never forgets a type."""
    gst = load(*PARTS)
    base: Any = gst.GstRtspServer.RTSPAuth

    class Auth(base):  # type: ignore[misc]
        """Tells of each refusal of a login, before it is sent. The first challenge is none: it answers no login."""

        failed: Callable[[Any, str], None]

        def do_generate_authenticate_header(self, context: Any) -> None:
            _, login = context.request.get_header(gst.GstRtsp.RTSPHeaderField.AUTHORIZATION, 0)
            if login is not None:
                self.failed(context.client, context.uri.abspath if context.uri else "")
            base.do_generate_authenticate_header(self, context)

    return Auth


def _auth(gst: Any, user: str, password: str, failed: Callable[[Any, str], None]) -> Any:
    """Digest, which sends no password. failed(client, path): called in the client's thread for each failed login."""
    auth = _auth_type()()
    auth.failed = failed
    token = gst.GstRtspServer.RTSPToken.new()
    token.set_string("media.factory.role", "viewer")
    auth.set_supported_methods(gst.GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    return auth
