"""Servers that send too much, or never come to the point."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PIECE = 1 << 16
Attack = Callable[[socket.socket], None]


def _http(kind: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()


def _without_end(head: bytes, line: bytes) -> Attack:
    piece = line * (1 + PIECE // len(line))

    def send(client: socket.socket) -> None:
        client.sendall(head)
        while True:
            client.sendall(piece)

    return send


def _dribble(head: bytes) -> Attack:
    def send(client: socket.socket) -> None:
        client.sendall(head)
        while True:
            client.sendall(b"a")
            time.sleep(0.2)

    return send


def sdp(client: socket.socket) -> None:
    """Answers OPTIONS, and describes itself in 1.1 GB."""
    size = 1_100_000_000
    asked = client.recv(4096)
    while asked:
        number = asked.lower().split(b"cseq:")[1].split()[0]
        head = b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\n"
        if asked.startswith(b"OPTIONS"):
            client.sendall(head + b"Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n")
        else:
            client.sendall(head + b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % size)
            client.sendall(b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n")
            for _ in range(size // PIECE):
                client.sendall(b"a=x:" + b"y" * (PIECE - 6) + b"\r\n")
        asked = client.recv(4096)


RTSP: dict[str, Attack] = {
    "sdp": sdp,
    "headers": _without_end(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n", b"X-a: bbbbbbbbbbbbbbbb\r\n"),
    "dribble": _dribble(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nX: "),
}
HTTP: dict[str, Attack] = {
    "headers": _without_end(b"HTTP/1.1 200 OK\r\n", b"X-a: bbbbbbbbbbbbbbbb\r\n"),
    "dribble": _dribble(b"HTTP/1.1 200 OK\r\nX: "),
    "list.m3u8": _without_end(
        _http("application/vnd.apple.mpegurl") + b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n", b"#EXTINF:1,\na.ts\n"
    ),
    "mjpeg": _without_end(
        _http("multipart/x-mixed-replace; boundary=frame") + b"--frame\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8",
        b"z" * 4096,
    ),
    "snapshot.jpg": _without_end(
        _http("image/jpeg") + b"\xff\xd8\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0", b"z" * 4096
    ),
}


@contextmanager
def attacking(attack: Attack, asked_first: bool = True) -> Iterator[int]:
    """A port where every client is attacked. asked_first: once it has asked for something."""

    def talk(client: socket.socket) -> None:
        with suppress(OSError), client:
            if asked_first:
                client.recv(4096)
            attack(client)

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                clients.append(client)
                threads.append(threading.Thread(target=talk, args=(client,), daemon=True))
                threads[-1].start()

    clients: list[socket.socket] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            for one in (listener, *clients):
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in (server, *threads):
                thread.join(5)
