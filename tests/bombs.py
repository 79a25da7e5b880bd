"""Small files that ask for a lot of memory, made without taking it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
from videos import patch

SIDE = 16_000
"""pixels of each picture's width and height: 384 MB a decoded frame"""
_GREY = np.full((64, 64, 3), 128, np.uint8)


def h264(side: int = SIDE, frames: int = 60) -> bytes:
    """A stream of small frames whose headers say that they are large."""
    memory = io.BytesIO()
    options = {"profile": "baseline", "preset": "ultrafast"}
    with av.open(memory, "w", "h264") as output:
        stream = output.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(patch(40 + index, 90, 90)(index, (64, 64)), "rgb24")
            output.mux(stream.encode(frame.reformat(format="yuv420p")))
        output.mux(stream.encode(None))
    units = memory.getvalue().split(b"\0\0\1")
    return b"\0\0\1".join(_resized(unit, side) if unit[:1] and unit[0] & 31 == 7 else unit for unit in units)


def jpeg(side: int = SIDE) -> bytes:
    """A whole grey picture: the 32 bits of one block of 16 pixels by 16, which change nothing, again and again."""
    data = bytearray(cv2.imencode(".jpg", _GREY)[1].tobytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    scan = data.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    return bytes(data[:start]) + b"\x28\xa2\x8a\x00" * (side // 16) ** 2 + b"\xff\xd9"


def png(side: int = SIDE) -> bytes:
    """The head of a large picture before the body of a small one."""
    data = bytearray(cv2.imencode(".png", _GREY)[1].tobytes())
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def contained(name: str) -> Callable[[], bytes]:
    """`h264` in a container by this name; "lie": in an MP4 that says 64x64."""

    def make() -> bytes:
        memory, plain = io.BytesIO(), io.BytesIO(h264())
        with av.open(plain) as source, av.open(memory, "w", "mp4" if name == "lie" else name) as output:
            stream = output.add_stream_from_template(source.streams.video[0])
            for index, packet in enumerate(source.demux(video=0)):
                if packet.size:
                    packet.pts = packet.dts = round(index / 25 / packet.time_base)
                    packet.stream = stream
                    output.mux(packet)
        data = memory.getvalue()
        return data.replace(struct.pack(">HH", SIDE, SIDE), struct.pack(">HH", 64, 64)) if name == "lie" else data

    return make


BOMBS: dict[str, Callable[[], bytes]] = {
    "bomb.h264": h264,
    "bomb.mp4": contained("mp4"),
    "lie.mp4": contained("lie"),
    "bomb.ts": contained("mpegts"),
    "bomb.mkv": contained("matroska"),
    "bomb.mjpeg": lambda: jpeg() * 2,
    "bomb.jpg": jpeg,
    "bomb.png": png,
}


def make_bomb(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(BOMBS[name]())
    return path


def _resized(unit: bytes, side: int) -> bytes:
    """A sequence parameter set of the baseline profile with another size (ITU-T H.264, section 7.3.2.1.1)."""
    body = unit.rstrip(b"\0")
    bits = "".join(f"{byte:08b}" for byte in body.replace(b"\0\0\3", b"\0\0")[1:])
    assert bits[:8] == f"{66:08b}", "not of the baseline profile"
    at = 24
    for _ in range(2):  # its number, and the length of frame numbers
        _, at = _number(bits, at)
    kind, at = _number(bits, at)
    if kind == 0:
        _, at = _number(bits, at)
    _, at = _number(bits, at)
    at += 1
    after = _number(bits, _number(bits, at)[1])[1]
    size = _coded(side // 16 - 1)
    level = f"{62:08b}"
    written = (bits[:16] + level + bits[24:at] + size + size + bits[after:]).rstrip("0")
    written += "0" * (-len(written) % 8)
    raw = bytes(int(written[start : start + 8], 2) for start in range(0, len(written), 8))
    escaped = bytearray()
    for byte in raw:
        if escaped[-2:] == b"\0\0" and byte <= 3:
            escaped.append(3)
        escaped.append(byte)
    return body[:1] + bytes(escaped) + unit[len(body) :]


def _number(bits: str, at: int) -> tuple[int, int]:
    """An Exp-Golomb number, and where it ends."""
    zeros = bits.index("1", at) - at
    end = at + 2 * zeros + 1
    return int(bits[at + zeros : end], 2) - 1, end


def _coded(number: int) -> str:
    word = f"{number + 1:b}"
    return "0" * (len(word) - 1) + word
