"""Watches what a server sends while a library reads it: the libraries put no bound to headers, SDP and playlists."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .address import Address

FLOOD = 64 << 20
"""bytes that may come without a picture: ten seconds before a key frame, at 50 Mbit/s"""
PLAYLIST_FLOOD = 24 << 20
"""the same of HLS, whose playlists take 15 times their size in memory, and whose segments begin with key frames"""
GOODBYE = 1.0
"""seconds that a library may take to end a connection"""
POLL = 0.05
"""seconds between two looks"""
_RECEIVED = slice(128, 136)
"""tcpi_bytes_received in Linux's struct tcp_info"""
_DESCRIPTORS = "/proc/self/fd"


class Guard:
    """Cuts a host's new connections once they brought too much without a picture, or took too long to be opened.

    The sockets are the library's, which asks nobody: they are found among the process's own, by the host's address.
    It has a thread, as the library keeps the caller's for as long as it likes. Without /proc it does nothing.
    """

    def __init__(self, address: Address, flood: int = FLOOD, seconds: float | None = None) -> None:
        """flood: bytes. seconds: until `opened` must have been called; None: for ever. Raises nothing."""
        self.reason = ""
        """why the connections were cut; empty where they were not"""
        self._flood, self._deadline = flood, None if seconds is None else time.monotonic() + seconds
        self._seconds = seconds
        self._counted: dict[str, int] = {}
        """bytes that each socket had received at the last picture"""
        self._restart = False
        self._known = set(_sockets())
        """sockets of others"""
        self._closed = threading.Event()
        self._host = address.host
        self._thread: threading.Thread | None = None
        if self._host and os.path.isdir(_DESCRIPTORS):
            self._thread = threading.Thread(target=self._watch, name="saliency-tubes guard", daemon=True)
            self._thread.start()

    def opened(self) -> None:
        """From now on only what comes without a picture counts."""
        self._deadline = None

    def picture(self) -> None:
        """One came: the count begins anew."""
        self._restart = True

    def closing(self) -> None:
        """The library is about to end its connections: it must be done with that soon, whatever the server does."""
        self._seconds, self._deadline = GOODBYE, time.monotonic() + GOODBYE

    def close(self) -> None:
        """May be called twice."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(1.0)  # a name server may keep it longer

    def _watch(self) -> None:
        try:
            found = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        addresses = {str(address[0]) for *_, address in found}
        while not self._closed.wait(POLL):
            received = {}
            for link, number in _sockets().items():
                if link not in self._known:
                    with _borrowed(number) as connection:
                        if connection is not None and _peer(connection) in addresses:
                            received[link] = _received(connection)
            if self._restart:
                self._restart, self._counted = False, received
            came = sum(count - self._counted.get(link, 0) for link, count in received.items())
            if came > self._flood:
                self._cut(received, f"{came >> 20} MB came, and no picture")
            elif self._deadline is not None and time.monotonic() > self._deadline:
                self._cut(received, f"no answer within {self._seconds:g} s")

    def _cut(self, links: dict[str, int], reason: str) -> None:
        self.reason = self.reason or reason
        for link, number in _sockets().items():
            if link in links:
                with _borrowed(number) as connection, suppress(OSError):
                    if connection is not None:
                        connection.shutdown(socket.SHUT_RDWR)


def _sockets() -> dict[str, int]:
    """This process's sockets: the system's name of each, which is never used again, and its number, which may be."""
    found = {}
    with suppress(OSError):
        for name in os.listdir(_DESCRIPTORS):
            with suppress(OSError):  # closed by now
                link = os.readlink(f"{_DESCRIPTORS}/{name}")
                if link.startswith("socket:"):
                    found[link] = int(name)
    return found


@contextmanager
def _borrowed(number: int) -> Iterator[socket.socket | None]:
    """The socket behind a number of somebody else's, who may close it meanwhile; None where there is none."""
    connection = None
    with suppress(OSError):
        copy = os.dup(number)
        try:
            connection = socket.socket(fileno=copy)
        except OSError:
            os.close(copy)
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()


def _peer(connection: socket.socket) -> str | None:
    with suppress(OSError):
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            return str(connection.getpeername()[0])
    return None


def _received(connection: socket.socket) -> int:
    """Bytes so far; 0 where the system does not say, or the socket is none of TCP."""
    with suppress(OSError, AttributeError):
        return int.from_bytes(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)[_RECEIVED], "little")
    return 0
