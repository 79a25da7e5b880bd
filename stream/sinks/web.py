"""web://[HOST]:PORT[/NAME]: the drawn video in a browser, as JPEGs (MJPEG). Encoded once for all who watch."""

from __future__ import annotations

import re
import threading
from typing import Any

import cv2

from ...engine.errors import UsageError
from ...engine.types import Shown
from ..media.info import VideoInfo
from ..net.address import SERVED, WEB_NAME, Address
from ..net.loopback import is_loopback
from .base import Sink, SinkOptions, freeze
from .web_server import WebServer

QUALITY = 85
"""Quality of the JPEGs, 0 to 100."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class WebSink(Sink):
    """Serves a page with the newest picture, and the pictures alone for other pages. Encodes while somebody watches.

    `write` never waits: a viewer that cannot keep up gets fewer pictures, and the others are not affected.
    """

    never_waits = True
    shows_outages = True

    def __init__(self, address: Address, options: SinkOptions) -> None:
        """Raises UsageError for an address that is none, or a name with other signs than letters, digits, . _ and -."""
        self._host, self._port, path = address.served_at(options.listen)
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self._stream = path.strip("/") or WEB_NAME
        super().__init__(f"web://{shown}:{self._port}/{self._stream}")
        if address.login is not None or address.query_text or address.fragment:
            raise UsageError(f"{self.name}: write {SERVED['web'][0]}, without a login or options")
        if not _NAME.fullmatch(self._stream):
            raise UsageError(f"{self.name}: a stream's name has letters, digits, . _ and -, and 64 of them at most")
        self._server: WebServer | None = None
        self._changed = threading.Condition()
        self._newest: Shown | None = None
        self._number = -1
        self._encoded: tuple[int, bytes] | None = None
        self._encoding = threading.Lock()
        self._pixel_aspect: Any = 1
        self._viewers = 0

    @property
    def port(self) -> int:
        """The port that is listened on, also if port 0 was asked for."""
        return self._server.port if self._server is not None else self._port

    @property
    def viewers(self) -> int:
        return self._viewers

    def open(self, info: VideoInfo) -> None:
        server = WebServer.acquire(self.name, self._host, self._port)
        if server.streams.setdefault(self._stream, self) is not self:
            server.release()
            raise UsageError(f"{self.name}: another stream is served there; name it, as in web://:{self._port}/door")
        self._server, self._pixel_aspect = server, info.pixel_aspect
        local = "127.0.0.1" if self._host in ("0.0.0.0", "::") else self._host
        self.description = f"watch at http://{f'[{local}]' if ':' in local else local}:{server.port}/"
        if not is_loopback(self._host):
            self.notes = ("everybody who reaches this machine can watch: there is no password",)
        self.state = "running"

    def write(self, shown: Shown) -> None:
        if self._server is None:
            raise RuntimeError(f"{self.name}: write() before open() or after close()")
        freeze(shown)
        with self._changed:
            self._newest, self._number = shown, self._number + 1
            self._changed.notify_all()

    def close(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        del server.streams[self._stream]
        with self._changed:
            self._newest = None
            self._changed.notify_all()
        server.release()
        self.state = "closed"

    # threads of the server

    def next(self, after: int, timeout: float) -> tuple[int, bytes] | None:
        """The newest picture as JPEG, and its number; see `web_server.Pictures`."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > after or self._server is None, timeout)
            shown, number = self._newest, self._number
        if shown is None or number <= after:
            return None
        with self._encoding:
            if self._encoded is None or self._encoded[0] < number:
                self._encoded = (number, self._encode(shown))
                self.frames_written += not shown.outage
            return self._encoded

    def watch(self, viewers: int) -> None:
        with self._changed:
            self._viewers += viewers

    def _encode(self, shown: Shown) -> bytes:
        picture = shown.frame.picture
        width = max(1, round(picture.width * self._pixel_aspect))
        rgb = picture.rgb(None if width == picture.width else (width, picture.height))
        _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return data.tobytes()
