"""An HTTP server with threads, a limited number of requests at once, and a time limit for each."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .log import say

LONGEST = 10.0
"""Maximum seconds for a request and its answer, unless the handler asks for more (`take_time`)."""


class HttpServer(ThreadingHTTPServer):
    """Serves in a thread of its own from `start` to `stop`. Binds when it is made; raises OSError if the address is in
    use or is not this machine's."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[Handler], places: int, name: str) -> None:
        """places: maximum number of requests at once; more are refused. name: of the thread."""
        self._places = threading.BoundedSemaphore(places)
        self._name = name
        self._told: set[str] = set()
        """errors of the handler that were logged already"""
        self._ends: dict[Any, threading.Timer] = {}
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name=f"saliency-tubes {name}", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that is listened on, also if port 0 was asked for."""
        return int(self.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops serving. Requests that are being answered are cut off."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for request in tuple(self._ends):
            _hang_up(request)

    def take_time(self, request: Any) -> None:
        """Removes the time limit of this request."""
        self._ends[request].cancel()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return self._places.acquire(blocking=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started: free the place
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        end = self._ends[request] = threading.Timer(LONGEST, _hang_up, [request])  # also if the client asks very slowly
        end.daemon = True
        try:
            end.start()
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._ends.pop(request, None)
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores clients that leave half-way, and logs every other error once."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError) and repr(error) not in self._told:
            self._told.add(repr(error))
            say("error", f"the {self._name} server failed at a request: {error!r}", level=logging.ERROR)


class Handler(BaseHTTPRequestHandler):
    """Answers one request. HEAD is answered like GET, without the body."""

    timeout = 5.0
    """maximum seconds for which a client may be silent while it sends its request"""
    server_version, sys_version = "saliency-tubes", ""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        raise NotImplementedError

    def answer(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        """Sends an answer. headers: names with _ for -, such as Cache_Control."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are not logged."""


def _hang_up(request: Any) -> None:
    with suppress(OSError):  # the connection has ended already
        request.shutdown(socket.SHUT_RDWR)
