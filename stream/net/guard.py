"""Watches how much a server sends to a library that reads from it: libraries do not limit headers, SDP and
playlists."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .address import Address

FLOOD = 64 << 20
"""Maximum bytes that may come without a picture: ten seconds before a key frame, at 50 Mbit/s."""
PLAYLIST_FLOOD = 24 << 20
"""The same for HLS: playlists take 15 times their size in memory, and segments begin with key frames."""
GOODBYE = 1.0
"""Maximum seconds that a library may take to end a connection."""
POLL = 0.05
"""Seconds between two looks at the connections."""
_RECEIVED = slice(128, 136)
"""Where tcpi_bytes_received lies in Linux's struct tcp_info."""
_DESCRIPTORS = "/proc/self/fd"


class Guard:
    """Closes the new connections to a host if they bring too much without a picture, or take too long to open.

    The library owns the sockets and does not give them out: they are found among the process's sockets, by the host's
    address. The guard has a thread of its own, because the library may keep the calling thread for any time. On systems
    without /proc it does nothing.
    """

    def __init__(self, address: Address, flood: int = FLOOD, seconds: float | None = None) -> None:
        """flood: maximum bytes without a picture. seconds: maximum time until `opened` is called; None: no limit.
        Raises nothing."""
        self.reason = ""
        """why the connections were closed; empty if they were not"""
        self._flood, self._deadline = flood, None if seconds is None else time.monotonic() + seconds
        self._seconds = seconds
        self._counted: dict[str, int] = {}
        """socket -> the bytes it had received at the last picture"""
        self._restart = False
        self._known = set(_sockets())
        """sockets that existed before, which are not watched"""
        self._closed = threading.Event()
        self._host = address.host
        self._thread: threading.Thread | None = None
        if self._host and os.path.isdir(_DESCRIPTORS):
            self._thread = threading.Thread(target=self._watch, name="saliency-tubes guard", daemon=True)
            self._thread.start()

    def opened(self) -> None:
        """To be called when the input is open: from now on only the bytes without a picture are limited."""
        self._deadline = None

    def picture(self) -> None:
        """To be called for each picture: the count starts anew."""
        self._restart = True

    def closing(self) -> None:
        """To be called before the library ends its connections: it gets GOODBYE seconds, whatever the server does."""
        self._seconds, self._deadline = GOODBYE, time.monotonic() + GOODBYE

    def close(self) -> None:
        """May be called twice."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(1.0)  # a slow name server may keep the thread longer

    def _watch(self) -> None:
        try:
            resolved = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        addresses = {str(address[0]) for *_, address in resolved}
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
    """This process's sockets: the system's name of each, which is unique, -> its number, which may be used again."""
    sockets = {}
    with suppress(OSError):
        for name in os.listdir(_DESCRIPTORS):
            with suppress(OSError):  # it was closed meanwhile
                link = os.readlink(f"{_DESCRIPTORS}/{name}")
                if link.startswith("socket:"):
                    sockets[link] = int(name)
    return sockets


@contextmanager
def _borrowed(number: int) -> Iterator[socket.socket | None]:
    """The socket with this number, whose owner may close it at any time; None if there is none."""
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
    """Bytes received so far; 0 if the system does not tell or the socket is not TCP."""
    with suppress(OSError, AttributeError):
        return int.from_bytes(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)[_RECEIVED], "little")
    return 0
