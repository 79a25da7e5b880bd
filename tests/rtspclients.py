"""Clients of an RTSP server, each kind in a process of its own: one that watches well, and some that behave badly."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

FAST = {"rtsp_transport": "tcp", "probesize": "32768", "analyzeduration": "0"}
DESCRIBE, SETUP, PLAY = range(1, 4)
STRANGER = "127.0.0.2"
"""where those who behave badly come from: an address has no more than its share of the places"""


@contextmanager
def clients(kind: str, port: int, *words: object) -> Iterator[subprocess.Popen[str]]:
    """One of the programs below against 127.0.0.1:`port`/live, until the block ends."""
    command = [sys.executable, __file__, kind, str(port), *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def watch(port: str, seconds: str) -> None:
    """A good client: prints, as one JSON list, each frame's number, its pts, and the moment it was decoded."""
    import av
    from barcodes import read_barcode

    seen: list[tuple[int | None, int | None, float]] = []
    with av.open(f"rtsp://127.0.0.1:{port}/live", options=FAST, timeout=(8, 8)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        end = time.monotonic() + float(seconds)
        for frame in container.decode(stream):
            seen.append((read_barcode(frame.to_ndarray(format="gray")), frame.pts, time.monotonic()))
            if seen[-1][2] > end:
                break
    print(json.dumps(seen), flush=True)


def storm(port: str, rate: str) -> None:
    """So many clients a second, who ask for more each than the one before, and vanish without a word."""
    asyncio.run(_storm(int(port), float(rate)))


async def _storm(port: int, rate: float) -> None:
    start, number, running = time.monotonic(), 0, set()
    while True:
        number += 1
        task = asyncio.create_task(_visit(port, number % 4))
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))


async def _visit(port: int, steps: int) -> None:
    with suppress(OSError, asyncio.IncompleteReadError):
        async with _connection(port) as (reader, writer):
            await _ask(reader, writer, port, steps)
            if steps == PLAY:
                await asyncio.sleep(0.2)  # and watches for a moment
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stuck(port: str, count: str) -> None:
    """So many of each kind that stays: one that never reads, half a request, no request, a DESCRIBE, a SETUP."""
    asyncio.run(_all([_stay(int(port), steps) for steps in (PLAY, -1, 0, DESCRIBE, SETUP) for _ in range(int(count))]))


def slow(port: str, rate: str) -> None:
    """One that plays and reads so many bytes a second."""
    asyncio.run(_slow(int(port), int(rate)))


async def _all(tasks: list[Coroutine[None, None, None]]) -> None:
    await asyncio.gather(*tasks)


async def _stay(port: int, steps: int) -> None:
    async with _connection(port, 4096) as (reader, writer):
        if steps < 0:
            writer.write(f"DESCRIBE rtsp://127.0.0.1:{port}/live RTSP/1.0\r\nCSe".encode())
        await _ask(reader, writer, port, max(0, steps))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()


async def _slow(port: int, rate: int) -> None:
    async with _connection(port, 4096) as (reader, writer):
        await _ask(reader, writer, port, PLAY)
        while await reader.read(rate // 10):
            await asyncio.sleep(0.1)


@asynccontextmanager
async def _connection(port: int, buffer: int = 0) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    one = socket.socket()
    one.bind((STRANGER, 0))
    if buffer:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    one.setblocking(False)
    await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=one, limit=buffer or 1 << 16)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, steps: int) -> None:
    """The first `steps` of DESCRIBE, SETUP and PLAY, over TCP (RFC 2326)."""
    session, base = "", f"rtsp://127.0.0.1:{port}/live"
    asked = [
        ("DESCRIBE", base, "Accept: application/sdp"),
        ("SETUP", f"{base}/stream=0", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"),
        ("PLAY", base, "Range: npt=0.000-"),
    ]
    for number, (method, url, header) in enumerate(asked[:steps], 1):
        writer.write(f"{method} {url} RTSP/1.0\r\nCSeq: {number}\r\n{header}\r\n{session}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        await reader.readexactly(int(fields.get("Content-Length", 0)))
        if method == "SETUP":
            session = f"Session: {fields['Session'].split(';')[0]}\r\n"


if __name__ == "__main__":
    {"watch": watch, "storm": storm, "stuck": stuck, "slow": slow}[sys.argv[1]](*sys.argv[2:])
