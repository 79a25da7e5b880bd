"""A gate between GStreamer and web servers: a server on the loopback that fetches for it, by http(s) only.

GStreamer plays every address that a playlist names, files of this machine included, and has no hook to refuse one. So
it is given only addresses of this server: playlists are rewritten when they pass.
"""

from __future__ import annotations

import http.client
import re
import secrets
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit
from weakref import WeakSet

from .address import Address, origin
from .redact import redact
from .tls import trusting

TIMEOUT = 15.0
"""Maximum seconds for which a web server may be silent."""
LONGEST = 4 << 20
"""Maximum bytes of a playlist."""
_MARK = b"#EXTM3U"
_NAMED = re.compile(r'\bURI\s*=\s*("[^"]*"|[^,\s]*)')
"""An address in a playlist's tag: of a key, a header or another rendition."""
_PASSED = ("Content-Type", "Content-Length", "Content-Range", "Accept-Ranges")
_WEB = ("http", "https")


class Gate:
    """Fetches one address, and the addresses in its playlists, until closed. The login is sent to the address's own
    server only."""

    def __init__(self, address: Address, tls_ca: str | None) -> None:
        """Raises OSError or ValueError if the certificates of `tls_ca` cannot be read."""
        self.refused = ""
        """what GStreamer asked for and was refused, in words that are safe to print"""
        self._logins: dict[tuple[str, str, int], tuple[str, str]] = {}
        self._sockets: WeakSet[socket.socket] = WeakSet()
        """connections to web servers; some of them may have ended"""
        self._closed = False
        self._connecting = threading.Lock()
        self._opener = _opener(trusting(tls_ca), self)
        self._token = secrets.token_urlsafe(16)
        self._server = _Server(("127.0.0.1", 0), partial(_Handler, gate=self))
        self._place = f"http://127.0.0.1:{self._server.server_address[1]}/{self._token}/"
        self.url = self.address(address.full.reveal())
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="saliency-tubes web", daemon=True
        )
        self._thread.start()

    def leads(self, url: str) -> bool:
        """Whether a URL is an address of this gate."""
        return url.startswith(self._place)

    def address(self, uri: str) -> str:
        """The address at which GStreamer finds what is at `uri`; other schemes than http(s) give an address that
        fails."""
        parts = urlsplit(uri)
        if parts.scheme.lower() not in _WEB or not parts.hostname:
            self.refuse(uri)
            return self._place
        if "@" in parts.netloc:
            login, _, host = parts.netloc.rpartition("@")
            user, _, password = login.partition(":")
            parts = parts._replace(netloc=host)
            self._logins[origin(parts.geturl())] = unquote(user), unquote(password)
        # The part after the last slash has no meaning; it makes a name that people recognise.
        return self._place + quote(parts._replace(fragment="").geturl(), safe="")

    def refuse(self, what: str) -> None:
        """Notes that GStreamer asked for something that is not fetched."""
        self.refused = self.refused or f"it names {redact(what)[:200]}: only what is on web servers is played"

    def fetch(self, path: str, headers: dict[str, str]) -> Any:
        """The answer to a request by GStreamer. Raises OSError, which includes HTTPError, or ValueError."""
        head, _, url = path.removeprefix("/").partition("/")
        if not secrets.compare_digest(head.encode(), self._token.encode()) or not url:
            raise ValueError("nothing is there")
        return self._opener.open(urllib.request.Request(unquote(url), headers=headers), timeout=TIMEOUT)

    def rewritten(self, playlist: bytes, base: str) -> bytes:
        """The playlist, with addresses of the gate in place of its own. base: the playlist's address."""

        def named(match: re.Match[str]) -> str:
            return f'URI="{self.address(urljoin(base, match[1].strip(chr(34))))}"'

        lines = []
        for line in playlist.decode("utf-8", "replace").splitlines():
            if line.startswith("#"):
                lines.append(_NAMED.sub(named, line))
            else:
                lines.append(self.address(urljoin(base, line.strip())) if line.strip() else "")
        return "\n".join([*lines, ""]).encode()

    def find_user_password(self, realm: str | None, url: str) -> tuple[str | None, str | None]:
        """The user and password for urllib, which calls this."""
        return self._logins.get(origin(url), (None, None))

    def add_password(self, *_: object) -> None:
        """Does nothing; urllib expects it."""

    def connected(self, connection: socket.socket) -> None:
        """Registers a connection to a web server, from any thread. After `close` it is closed at once."""
        with self._connecting:
            self._sockets.add(connection)
            if self._closed:
                _hang_up(connection)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        with self._connecting:
            self._closed = True
            for connection in self._sockets:  # wakes the threads that wait for data
                _hang_up(connection)
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # GStreamer has left, or a web server broke off: the missing data shows it


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, *arguments: Any, gate: Gate) -> None:
        self._gate = gate
        super().__init__(*arguments)

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = {name: self.headers[name] for name in ("Range", "User-Agent") if name in self.headers}
        try:
            answer = self._gate.fetch(self.path, asked)
        except urllib.error.HTTPError as error:
            with error:
                self.send_error(error.code)
            return
        except (OSError, ValueError, http.client.HTTPException):
            self.send_error(502)
            return
        with answer:
            start = answer.read(len(_MARK))
            if start == _MARK:
                self._send_playlist(start + answer.read(LONGEST), answer.url)
                return
            self.send_response(answer.status)
            for name in _PASSED:
                if answer.headers[name] is not None:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            while start:
                self.wfile.write(start)
                start = answer.read1(1 << 16)

    def _send_playlist(self, playlist: bytes, base: str) -> None:
        made = self._gate.rewritten(playlist, base)
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.apple.mpegurl")
        self.send_header("Content-Length", str(len(made)))
        self.end_headers()
        self.wfile.write(made)


def _opener(context: ssl.SSLContext, gate: Gate) -> urllib.request.OpenerDirector:
    """An opener for http(s) only: a redirect to another scheme is an error, and one to another server sends no
    login."""
    opener = urllib.request.OpenerDirector()
    logins: Any = gate  # it has the methods that urllib calls
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        _Http(gate),
        _Https(gate, context),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Basic(logins),
        _Digest(logins),
    ]
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _noted(kind: type[http.client.HTTPConnection], gate: Gate) -> Callable[..., Any]:
    class Connection(kind):  # type: ignore[valid-type, misc]
        def connect(self) -> None:
            super().connect()
            gate.connected(self.sock)

    return Connection


class _Http(urllib.request.HTTPHandler):
    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._connection: Any = _noted(http.client.HTTPConnection, gate)

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._connection, request)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, gate: Gate, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._connection: Any = partial(_noted(http.client.HTTPSConnection, gate), context=context)

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(self._connection, request)


class _Basic(urllib.request.HTTPBasicAuthHandler):
    def http_error_401(self, request: urllib.request.Request, *answer: Any) -> Any:
        # A login that was refused once would be refused again; urllib would try it five times.
        return None if request.has_header("Authorization") else super().http_error_401(request, *answer)


class _Digest(urllib.request.HTTPDigestAuthHandler):
    def http_error_401(self, request: urllib.request.Request, *answer: Any) -> Any:
        return None if request.has_header("Authorization") else super().http_error_401(request, *answer)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended already
        socket.socket.shutdown(connection, socket.SHUT_RDWR)  # also for TLS, without its closing message
