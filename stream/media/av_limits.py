"""Limits the memory that FFmpeg takes for what a camera or server sends, and tells why it refused a picture."""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import av
import av.buffer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from .limits import Size

BLOCK = 64 << 20
"""Maximum bytes of one block of memory while an input is opened, unless its pictures need more."""
BYTES = 8
"""Maximum bytes of one pixel: four channels of 16 bits."""
_ALIGNED = 64
"""FFmpeg rounds width and height up to multiples of at most this before it counts pixels."""
_REFUSED = re.compile(r"(\d+)x(\d+) exceeds")
"""The message that FFmpeg and dav1d log for a picture with more pixels than `max_pixels`."""
_limits: list[int] = []
_changing, _logging = threading.Lock(), threading.Lock()


def decoder_options(most: Size) -> dict[str, str]:
    """Options of FFmpeg by which a decoder refuses pictures of clearly more pixels before it takes memory for them.

    Coded pictures are a little larger than shown ones, such as 1088 lines for 1080, so the decoder's limit is a little
    higher than `most`: also check a decoded frame's size by `limits.exceeds`.
    """
    return {"max_pixels": str((most[0] + _ALIGNED) * (most[1] + _ALIGNED))}


def limit_decoder(stream: VideoStream, most: Size) -> None:
    """Sets the limit for a stream's decoder; call it before the first packet is decoded. While FFmpeg probes an input
    it uses another decoder, which `decoder_options` limit."""
    stream.codec_context.options = {**stream.codec_context.options, **decoder_options(most)}


def refused_size(stream: VideoStream, packet: Packet[Any] | None, most: Size) -> Size | None:
    """The size of the picture in a packet, where that is why it could not be decoded; None where it is not.

    FFmpeg's error does not tell the reason, but its log does. So a second decoder is given the packet while the log is
    read. Call this only after decoding failed at a key frame.
    """
    if packet is None or not packet.size:
        return None
    try:
        context: Any = VideoCodecContext.create(stream.codec_context.codec, "r")
        context.extradata = stream.codec_context.extradata
        context.thread_count = 1  # a decoder's own thread could not log: this one holds Python's lock
        context.options = decoder_options(most)
    except (av.FFmpegError, ValueError):
        return None
    with _listening() as said:
        try:
            context.decode(Packet(bytes(packet)))
            context.decode(None)
        except (av.FFmpegError, OSError) as error:
            log = getattr(error, "log", None)  # the captured log lacks a line that was logged before
            said += [log] if log else []
        matches = [_REFUSED.search(line) for _, _, line in said]
    return next(((int(match[1]), int(match[2])) for match in matches if match), None)


@contextmanager
def small_blocks(most: Size, least: int = BLOCK) -> Iterator[None]:
    """While the block lasts FFmpeg takes no single piece of memory above what the largest picture allowed needs.

    FFmpeg itself has no limit for an SDP, a part of MJPEG or a picture that never ends. The limit holds for the whole
    process: the smallest limit of all open blocks counts, and after the last block there is none.
    """
    limit = max(least, BYTES * (most[0] + _ALIGNED) * (most[1] + _ALIGNED))
    with _changing:
        _limits.append(limit)
        _apply()
    try:
        yield
    finally:
        with _changing:
            _limits.remove(limit)
            _apply()


def _apply() -> None:
    if (set_most := _max_alloc()) is not None:
        set_most(min(_limits, default=2**31 - 1))  # FFmpeg's own default


@cache
def _max_alloc() -> Any:
    """FFmpeg's av_max_alloc, found in the libraries that PyAV is linked with."""
    try:
        set_most = ctypes.CDLL(av.buffer.__file__).av_max_alloc
    except (OSError, AttributeError):
        return None
    set_most.argtypes, set_most.restype = [ctypes.c_size_t], None
    return set_most


@contextmanager
def _listening() -> Iterator[list[tuple[int, str, str]]]:
    """The errors that FFmpeg logs while the block lasts; they are not printed."""
    with _logging:
        before = av.logging.get_level()
        av.logging.set_level(av.logging.ERROR)
        try:
            with av.logging.Capture() as said:
                yield said
        finally:
            av.logging.set_level(before)
