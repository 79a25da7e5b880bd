"""An HTTP server of threads, with room for a bounded number of requests, none of which may dawdle. Binds at once."""

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
"""seconds for a request and its answer, unless the handler asks for more (`take_time`)"""


class HttpServer(ThreadingHTTPServer):
    """Serves in a thread of its own from `start` to `stop`. Raises OSError where the address cannot be had."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[Handler], places: int, name: str) -> None:
        """places: requests at once; more are turned away. name: of the thread."""
        self._places = threading.BoundedSemaphore(places)
        self._name = name
        self._told: set[str] = set()
        """errors of ours that were told"""
        self._ends: dict[Any, threading.Timer] = {}
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name=f"saliency-tubes {name}", daemon=True
        )

    @property
    def port(self) -> int:
        """that is listened on, where 0 was asked for"""
        return int(self.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Answers nobody any more. Requests that are being answered are cut off."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for request in tuple(self._ends):
            _hang_up(request)

    def take_time(self, request: Any) -> None:
        """This request may take as long as it likes."""
        self._ends[request].cancel()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return self._places.acquire(blocking=False)

    def process_request(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread was to be had, to give the place back
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        end = self._ends[request] = threading.Timer(LONGEST, _hang_up, [request])  # however slowly it asks
        end.daemon = True
        try:
            end.start()
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._ends.pop(request, None)
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves half-way is none of our trouble; what else goes wrong is told once."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError) and repr(error) not in self._told:
            self._told.add(repr(error))
            say("error", f"the {self._name} server failed at a request: {error!r}", level=logging.ERROR)


class Handler(BaseHTTPRequestHandler):
    """Answers one request. HEAD is GET without its body."""

    timeout = 5.0
    """seconds for a client to say what it wants"""
    server_version, sys_version = "saliency-tubes", ""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        raise NotImplementedError

    def answer(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        """headers: with _ for -, as in Cache_Control."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are no news."""


def _hang_up(request: Any) -> None:
    with suppress(OSError):  # it has ended by itself
        request.shutdown(socket.SHUT_RDWR)
