"""rtsp://@:8554/path: the drawn video, served. Encoded once for all; a slow client loses its own frames only."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Any

from ...engine.errors import SinkError, UsageError
from ...engine.picture import HOST
from ...engine.types import Shown
from ..media.gst_frames import with_own_times
from ..media.gst_load import Missing, need
from ..media.info import VideoInfo
from ..media.live_clock import LiveClock
from ..net.address import Address
from ..net.loopback import is_loopback
from ..net.secret import NOBODY, Secret
from .base import Sink, SinkOptions
from .gst_encode import Encode
from .gst_rtsp_server import PARTS, RtspServer

CLIENT_FRAMES = 30
"""Maximum number of encoded frames that wait for one client. Beyond that it gets nothing until it has caught up, and
then a key frame."""
KEYFRAME_EVERY = 0.25
"""Minimum seconds between two key frames that are made for new clients: many of them at once must not make every frame
a key frame."""
SILENCE = 0.5
"""Seconds without a frame after which the last one is sent again, ten times a second, so that players stay connected
and new ones get a picture."""
IDLE_EVERY = 0.5
"""Seconds between the frames that are kept while nobody watches."""

USER, PASSWORD = "SALIENCY_TUBES_RTSP_USER", "SALIENCY_TUBES_RTSP_PASSWORD"


class _Client:
    """A viewer: the appsrc of its own pipeline."""

    def __init__(self, feed: Any) -> None:
        self.feed = feed
        self.waits = True
        """whether it waits for a key frame"""


class GstRtspSink(Sink):
    """Serves H.264 to any number of clients. Nothing is encoded while there is none. `write` never waits.

    `frames_written` counts encoded frames: none while nobody watches, and none that were repeated during a pause.
    """

    never_waits = True
    shows_outages = True

    def __init__(self, address: Address, options: SinkOptions) -> None:
        """Raises UsageError for an address without a path, or a user name without a password."""
        self._address, self._port, self._path = address.served_at(options.listen)
        shown = f"[{self._address}]" if ":" in self._address else self._address
        super().__init__(f"rtsp://{shown}:{self._port}{self._path}")
        if len(self._path) < 2:
            raise UsageError(f"{self.name}: name what is served, as in rtsp://@:8554/explained")
        login = address.login or NOBODY
        user = login.user.reveal() or options.user or os.environ.get(USER)
        password = login.password.reveal() or Secret.of(options.password).reveal() or os.environ.get(PASSWORD)
        if bool(user) != bool(password):
            raise UsageError(f"{self.name}: a user name and a password belong together")
        self._login = (user, password) if user and password else None
        self.failed_logins = 0 if self._login else None
        self._options = options
        self.server: RtspServer | None = None
        self.encode: Encode | None = None
        self._clients: list[_Client] = []
        self._lock = threading.Lock()
        self._last: Any = None
        self._last_time = self._asked = self._written = 0.0

    @property
    def viewers(self) -> int:
        return len(self._clients)

    @property
    def port(self) -> int:
        """The port that is listened on, also if port 0 was asked for."""
        return self.server.port if self.server is not None else self._port

    def open(self, info: VideoInfo) -> None:
        gst = self._gst = need(SinkError, self.name, *PARTS)
        self._monotonic = gst.Gst.SystemClock.obtain()
        self._clock = LiveClock()
        try:
            self.encode = Encode(gst, info, self._options, self._fan_out)
        except (Missing, gst.GLib.Error) as error:
            raise SinkError(f"{self.name}: {getattr(error, 'message', error)}") from None
        self.description, self.notes = self.encode.description, self.encode.notes
        self.takes = frozenset({HOST, self.encode.frames.where})
        try:
            self.server = self._serve()
        except BaseException:
            self.encode.close()
            raise
        if self._login is None and not is_loopback(self._address):
            self.notes += ("everybody who reaches this machine can watch: there is no password",)
        self.state = "running"

    def write(self, shown: Shown) -> None:
        encode, frame = self.encode, shown.frame
        if encode is None:
            raise RuntimeError(f"{self.name}: write() before open() or after close()")
        size = (frame.image.width, frame.image.height)
        if size != encode.frames.size:
            raise SinkError(f"{self.name}: frame {frame.index} is {size[0]}x{size[1]}, not what was announced")
        now = self._written = time.monotonic()
        stamp = self._clock.stamp(frame.time, self._now())
        if not self._clients and now - self._last_time < IDLE_EVERY:
            return
        self._last, self._last_time = encode.frames.make(frame.image), now
        if self._clients:
            encode.push(self._last, stamp, counts=not shown.outage)

    def close(self) -> None:
        server, self.server = self.server, None
        encode, self.encode = self.encode, None
        if server is not None:
            server.unmount(self._path, self._fill_silence)
            with self._lock:
                clients, self._clients = self._clients, []
            for client in clients:
                with suppress(Exception):  # a pipeline that is being closed accepts nothing
                    client.feed.end_of_stream()
            server.release()
            self.state = "closed"
        if encode is not None:
            encode.close()
            self._lose("at the end", encode.account.empty())

    def _lose(self, reason: str, count: int) -> None:
        if count:
            self._drop(reason, count)

    def _serve(self) -> RtspServer:
        server = RtspServer.acquire(self._gst, self.name, self._address, self._port, self._login)
        try:
            server.mount(self.name, self._path, self._configure, self._fill_silence, self._refuse)
        except BaseException:
            server.release()
            raise
        return server

    # threads of the server

    def _configure(self, media: Any) -> None:
        """Makes the pipeline of a new client, which is fed from the next key frame on."""
        client = _Client(media.get_element().get_by_name("feed"))
        media.connect("unprepared", lambda _: self._forget(client))
        with self._lock:
            self._clients.append(client)
        self._ask_for_keyframe()

    def _refuse(self) -> None:
        self.failed_logins = (self.failed_logins or 0) + 1

    def _forget(self, client: _Client) -> None:
        with self._lock:
            if client in self._clients:
                self._clients.remove(client)

    def _fill_silence(self) -> None:
        encode = self.encode
        if encode is not None and self._clients and time.monotonic() - self._written > SILENCE:
            self._repeat()
        failed = encode.mend() if encode is not None else ""
        if encode is not None and failed:
            self._lose("encoder failed", encode.account.empty())
        if failed and self.state != "retrying":  # once until pictures come again
            self.state, self.notes = "retrying", (f"the encoder failed and is started anew: {failed}",)

    def _repeat(self) -> None:
        encode, last = self.encode, self._last
        if encode is not None and last is not None:
            encode.push(with_own_times(self._gst, last), self._now(), counts=False)

    # the encoder's thread

    def _fan_out(self, buffer: Any, key: bool) -> None:
        with self._lock:
            clients = tuple(self._clients)
        if self.state == "retrying":
            self.state = "running"
        if self.encode is not None:
            known, lost = self.encode.account.out(buffer.pts)
            self.frames_written += known
            self._lose("encoder too slow", lost)
        waiting = False
        for client in clients:
            feed = client.feed
            base, queued = feed.get_base_time(), feed.get_property("current-level-buffers")
            if client.waits and queued:
                continue  # it has not caught up, and would drop a key frame
            if client.waits and not (key and base):
                waiting = True
                continue
            if queued >= CLIENT_FRAMES:
                client.waits = True
                self._drop("slow client")
                continue
            client.waits = False
            copied = with_own_times(self._gst, buffer)
            copied.pts = max(0, buffer.pts - base)
            copied.dts = copied.pts
            feed.push_buffer(copied)
        if waiting:
            self._ask_for_keyframe()

    def _ask_for_keyframe(self) -> None:
        now = time.monotonic()
        encode = self.encode
        if encode is not None and now - self._asked >= KEYFRAME_EVERY:
            self._asked = now
            encode.keyframe()

    def _now(self) -> float:
        """Seconds of the clock that GStreamer's pipelines share."""
        return float(self._monotonic.get_time()) / 1e9
