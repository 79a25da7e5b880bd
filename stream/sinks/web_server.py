"""The web server: one for an address and port, shared by all streams that are watched there."""

from __future__ import annotations

import ipaddress
import json
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from ...engine.errors import SinkError
from ..telemetry.http_server import Handler, HttpServer

PLACES = 32
"""Maximum number of requests at once; a viewer's request lasts as long as it watches. More are refused."""
SILENCE = 5.0
"""Seconds without a new picture after which the last one is sent again, which also shows which viewers have left."""
STALLED = 10.0
"""Maximum seconds of one write to a viewer; a viewer that reads nothing for so long is disconnected."""
BOUNDARY = b"--picture\r\n"
PAGE = Path(__file__).parents[1] / "assets" / "web.html"
_HEADERS = {
    "Cache_Control": "no-store",
    "X_Content_Type_Options": "nosniff",
    "Content_Security_Policy": "default-src 'none'; img-src 'self'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors *",
}


class Pictures(Protocol):
    """A stream to be watched, as JPEGs."""

    def next(self, after: int, timeout: float) -> tuple[int, bytes] | None:
        """The newest picture and its number, as soon as that is greater than `after`; None if none comes within
        `timeout` seconds, or if the stream has ended.
        """
        ...

    def watch(self, viewers: int) -> None:
        """Changes the number of viewers by `viewers`."""
        ...


class WebServer:
    """Serves streams under names. `acquire` returns the server of a port, `release` gives it back."""

    _shared: ClassVar[dict[tuple[str, int], WebServer]] = {}  # one server for each port of the process
    _lock = threading.Lock()

    def __init__(self, host: str, port: int) -> None:
        """Raises OSError if the port cannot be bound."""
        self.streams: dict[str, Pictures] = {}
        self._users, self._key = 0, (host, port)
        names = {host.lower(), "localhost", socket.gethostname().lower()}
        handler = type("WebHandler", (_WebHandler,), {"streams": self.streams, "hosts": names})
        self._server = HttpServer((host, port), handler, PLACES, "web")
        self.port = self._server.port
        self._server.start()

    @classmethod
    def acquire(cls, name: str, host: str, port: int) -> WebServer:
        """The server of that address. Raises SinkError if the address is in use or is not this machine's."""
        with cls._lock:
            server = cls._shared.get((host, port)) if port else None
            if server is None:
                try:
                    server = cls(host, port)
                except (OSError, ValueError, TypeError) as error:  # the last two for an impossible host name
                    why = getattr(error, "strerror", None) or error
                    raise SinkError(f"{name}: cannot listen on {host} port {port}: {why}") from None
                if port:
                    cls._shared[host, port] = server
            server._users += 1
            return server

    def release(self) -> None:
        """Gives the server back. After the last stream has done so, the server and its threads end."""
        with self._lock:  # hold it to the end: the next `acquire` must find the port free
            self._users -= 1
            if self._users:
                return
            self._shared.pop(self._key, None)
            self._server.stop()


class _WebHandler(Handler):
    timeout = STALLED
    streams: ClassVar[Mapping[str, Pictures]]
    hosts: ClassVar[set[str]]

    def do_GET(self) -> None:
        if not self._is_asked_by_name():
            self.answer(403, "text/plain; charset=utf-8", b"this server is not called that\n")
            return
        path = self.path.partition("?")[0]
        name, _, kind = path.removeprefix("/streams/").rpartition(".")
        if path == "/":
            self.answer(200, "text/html; charset=utf-8", PAGE.read_bytes(), **_HEADERS)
        elif path == "/streams":
            self.answer(200, "application/json", json.dumps(sorted(self.streams)).encode() + b"\n", **_HEADERS)
        elif path.startswith("/streams/") and name in self.streams and kind in ("jpg", "mjpeg"):
            (self._send_one if kind == "jpg" else self._send_all)(self.streams[name])
        else:
            self.answer(404, "text/plain; charset=utf-8", b"there are /, /streams, /streams/NAME.mjpeg and .jpg\n")

    def _is_asked_by_name(self) -> bool:
        """Whether the Host header is an address or a name of this machine. Another name may be that of a foreign page:
        its name server can be made to point here, so that the page could read the pictures (DNS rebinding).
        """
        host = self.headers.get("Host", "").lower()
        host = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host in self.hosts
        return True

    def _send_one(self, pictures: Pictures) -> None:
        picture = pictures.next(-1, SILENCE)
        if picture is None:
            self.answer(503, "text/plain; charset=utf-8", b"there is no picture yet\n", Retry_After="1")
        else:
            self.answer(200, "image/jpeg", picture[1], **_HEADERS)

    def _send_all(self, pictures: Pictures) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY[2:-2].decode()}")
        for name, value in _HEADERS.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        server: Any = self.server
        server.take_time(self.request)
        number, last = -1, None
        pictures.watch(1)
        try:
            self.wfile.write(BOUNDARY)
            while picture := pictures.next(number, SILENCE) or last:
                number, data = last = picture
                # Send the next boundary at once: a browser shows a picture only when it has seen its end.
                head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
                self.wfile.write(head + data + b"\r\n" + BOUNDARY)
                if pictures not in self.streams.values():
                    return
        finally:
            pictures.watch(-1)
