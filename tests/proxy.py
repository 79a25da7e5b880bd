"""A proxy between an RTSP server and its clients, over TCP, that spoils packets, slows down, and cuts connections."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress

CHUNK = 1024
"""bytes at a time on a slow line"""
MINIMUM = 64
"""bytes of a packet that can hold a picture"""


class Proxy:
    """Passes one TCP port on to another, and spoils RTP packets on the way back, always the same ones.

    drop, flip, cut: the share of packets that are left out, have bytes turned, or lose their second half. tear: the
    share that lose their second half while their length is still told, so that what follows is taken for it.
    """

    def __init__(
        self, target: int, *, drop: float = 0, flip: float = 0, cut: float = 0, tear: float = 0, seed: int = 1
    ) -> None:
        self.spoiled = 0
        self.accepted = 0
        """connections that clients made"""
        self.denied = 0
        """times that the server answered 401"""
        self.active = True
        """False: packets pass untouched"""
        self._shares, self._random, self._target = (drop, flip, cut, tear), random.Random(seed), target
        self._pace: float | None = None
        self._paced = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: set[socket.socket] = {self._listener}
        self._threads = [threading.Thread(target=self._accept, name="proxy", daemon=True)]
        self._threads[0].start()

    def url(self, login: str = "") -> str:
        return f"rtsp://{login}{'@' if login else ''}127.0.0.1:{self.port}/live"

    def slow(self, pace: float | None) -> None:
        """From now on so many bytes a second pass on the way back, on each connection; None: all that come."""
        with self._paced:
            self._pace = pace
            self._paced.notify_all()

    def sever(self) -> None:
        """Cuts every connection that there is."""
        for one in list(self._sockets - {self._listener}):
            _shut(one)

    def close(self) -> None:
        self.slow(None)
        _shut(self._listener)
        self.sever()
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _shut(client)
                continue
            self._sockets |= {client, server}
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            for pump in (lambda c=client, s=server: self._pass_on(c, s), lambda c=client, s=server: self._spoil(s, c)):
                thread = threading.Thread(target=pump, name="proxy", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        self._part(source, target)

    def _spoil(self, source: socket.socket, target: socket.socket) -> None:
        held = b""
        with suppress(OSError):
            while data := source.recv(65536):
                held += data
                pieces, held = _split(held)
                self._send(target, b"".join(self._spoiled(piece) for piece in pieces))
        self._part(source, target)

    def _send(self, target: socket.socket, data: bytes) -> None:
        while data and (pace := self._pace) is not None:
            with self._paced:
                self._paced.wait(CHUNK / pace if pace else 0.1)
            if target.fileno() < 0:
                return
            if pace:
                target.sendall(data[:CHUNK])
                data = data[CHUNK:]
        target.sendall(data)

    def _part(self, *ends: socket.socket) -> None:
        for one in ends:
            _shut(one)
        self._sockets -= set(ends)

    def _spoiled(self, piece: bytes) -> bytes:
        self.denied += piece.startswith(b"RTSP/1.0 401")
        if not self.active or piece[:1] != b"$" or piece[1] % 2 or len(piece) < MINIMUM:
            return piece  # RTSP's own words, RTCP, and packets too small to hold a picture
        drop, flip, cut, tear = self._shares
        luck = self._random.random()
        self.spoiled += luck < drop + flip + cut + tear
        if luck < drop:
            return b""
        if luck < drop + flip:
            damaged = bytearray(piece)
            for _ in range(16):
                damaged[self._random.randrange(20, len(piece))] ^= self._random.randrange(1, 256)
            return bytes(damaged)
        if luck < drop + flip + cut:
            kept = piece[4 : len(piece) // 2]
            return piece[:2] + len(kept).to_bytes(2, "big") + kept
        return piece[: len(piece) // 2] if luck < drop + flip + cut + tear else piece


def _shut(one: socket.socket) -> None:
    """Closes it so that whoever waits at it wakes up."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Interleaved RTP packets and RTSP answers (RFC 2326, section 10.12), and what is not complete yet."""
    pieces = []
    while data:
        if data[:1] == b"$":
            if len(data) < 4 or len(data) < 4 + int.from_bytes(data[2:4], "big"):
                break
            end = 4 + int.from_bytes(data[2:4], "big")
        else:
            found = data.find(b"$")
            end = len(data) if found < 0 else found
        pieces.append(data[:end])
        data = data[end:]
    return pieces, data
