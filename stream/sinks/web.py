"""web://[HOST]:PORT[/NAME]: a page that shows the stream and lets viewers question it, and its pictures as JPEGs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...engine.errors import SinkError, UsageError
from ...engine.types import Shown
from ..media.info import VideoInfo
from ..net.address import SERVED, WEB_NAME, Address
from ..net.loopback import is_loopback
from ..net.secret import Secret
from ..net.token import find_token
from ..telemetry.events import Event
from ..web.about import About
from ..web.feed import CLASSES, WebFeed
from ..web.logins import AccessRules
from ..web.settings import VideoSettings
from .base import Sink, SinkOptions, freeze
from .stream_view import StreamView

if TYPE_CHECKING:
    from ..web.server import WebServer

TOKEN, OPERATOR_TOKEN = "SALIENCY_TUBES_WEB_TOKEN", "SALIENCY_TUBES_WEB_OPERATOR_TOKEN"
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class WebSink(Sink):
    """Hands frames and events to the web server, which encodes them while somebody watches.

    `write` and `event` never wait: a viewer that cannot keep up gets fewer pictures, and the others are not affected.
    """

    never_waits = True
    shows_outages = True
    follows_size = True

    def __init__(self, address: Address, options: SinkOptions) -> None:
        """Raises UsageError for an address that is none, or a name with other signs than letters, digits, . _ and -."""
        self._host, self._port, path = address.served_at(options.listen)
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.stream = path.strip("/") or WEB_NAME
        """the stream's name in addresses"""
        super().__init__(f"web://{shown}:{self._port}/{self.stream}")
        if address.login is not None or address.query_text or address.fragment:
            raise UsageError(f"{self.name}: write {SERVED['web'][0]}, without a login or options")
        if not _NAME.fullmatch(self.stream):
            raise UsageError(f"{self.name}: a stream's name has letters, digits, . _ and -, and 64 of them at most")
        self._settings = VideoSettings(
            options.encoder, options.bitrate, max(options.crf, 23), options.preset or "superfast", options.web_rtc
        )
        self._rules = _rules(options)
        self._view: StreamView | None = None
        self._server: WebServer | None = None
        self._feed: WebFeed | None = None
        self._written = 0

    @property
    def port(self) -> int:
        """The port that is listened on, also if port 0 was asked for."""
        return self._server.port if self._server is not None else self._port

    @property
    def url(self) -> str:
        """The page, as this machine reaches it."""
        local = "127.0.0.1" if self._host in ("0.0.0.0", "::") else self._host
        return f"http://{f'[{local}]' if ':' in local else local}:{self.port}/"

    @property
    def viewers(self) -> int:
        return self._feed.viewers if self._feed is not None else 0

    @property
    def failed_logins(self) -> int | None:
        return self._server.failed_logins if self._server is not None and self._server.logins.asks else None

    @failed_logins.setter
    def failed_logins(self, count: int | None) -> None:
        """The server counts."""

    @property
    def takes_pictures(self) -> bool:  # type: ignore[override]
        return self._feed is not None and self._feed.watched.pictures

    @property
    def wants_plain(self) -> bool:  # type: ignore[override]
        return self._feed is not None and self._feed.wants_plain

    @property
    def wants_classes(self) -> int:  # type: ignore[override]
        return CLASSES if self._feed is not None and self._feed.watched.windows else 0

    @property
    def frames_written(self) -> int:
        """Frames that were encoded for somebody."""
        return self._feed.encoded if self._feed is not None else self._written

    @frames_written.setter
    def frames_written(self, count: int) -> None:
        self._written = count

    def attach(self, stream: StreamView) -> None:
        self._view = stream

    def acquire(self) -> WebServer:
        """The server that this output is served by; whoever asks gives it back (`WebServer.release`). Raises SinkError
        if there can be none."""
        try:
            from ..web.server import WebServer
        except ImportError:
            raise SinkError(
                f"{self.name}: a web server needs Starlette, uvicorn and websockets: pip install 'saliency-tubes[web]'"
            ) from None
        return WebServer.acquire(self.name, self._host, self._port, self._rules)

    def open(self, info: VideoInfo) -> None:
        if self._settings.baseline:
            self._find_web_rtc()
        server = self.acquire()
        feed = WebFeed(About(self.stream, info, self._view, self._settings.baseline), info, self._settings, self._drop)
        if not server.add(feed):
            server.release()
            raise UsageError(f"{self.name}: another stream is served there; name it, as in web://:{self._port}/door")
        self._server, self._feed = server, feed
        self.description = f"watch at {self.url}"
        if server.logins.needed:
            self.description += ", with the token"
        elif not is_loopback(self._host):
            self.notes = ("everybody who reaches this machine can watch: no token is asked for",)
        self.state = "running"

    def _find_web_rtc(self) -> None:
        """Imports what it takes, which is too long for the server's thread. Raises SinkError."""
        try:
            from ..web import av_rtp  # noqa: F401
        except ImportError:
            raise SinkError(f"{self.name}: --web-rtc needs aiortc: pip install 'saliency-tubes[web-rtc]'") from None

    def write(self, shown: Shown) -> None:
        if self._feed is None:
            raise RuntimeError(f"{self.name}: write() before open() or after close()")
        if shown.frame.image.where == "host":
            freeze(shown)
        self._feed.write(shown)

    def event(self, event: Event) -> None:
        if self._feed is None:
            raise RuntimeError(f"{self.name}: event() before open() or after close()")
        self._feed.event(event)
        self.events += 1

    def signal(self, since: float | None) -> None:
        """The server's own look at the stream tells viewers."""

    def close(self) -> None:
        server, self._server = self._server, None
        feed, self._feed = self._feed, None
        if server is None or feed is None:
            return
        server.remove(feed)
        self._written = feed.encoded
        server.release()
        self.state = "closed"


def _rules(options: SinkOptions) -> AccessRules:
    """Raises UsageError."""
    if options.insecure and options.web_token:
        raise UsageError("web-token and insecure contradict each other: leave one out")
    names = frozenset(name.strip().lower() for name in options.web_name.split(",") if name.strip())
    wrong = next((name for name in names if not _HOST.fullmatch(name)), None)
    if wrong is not None:
        raise UsageError(f"web-name must be names as door.example.org, with commas between them, got {wrong!r}")
    return AccessRules(
        Secret("") if options.insecure else find_token(options.web_token, "web-token", TOKEN),
        find_token(options.web_operator_token, "web-operator-token", OPERATOR_TOKEN),
        options.insecure,
        names,
    )
