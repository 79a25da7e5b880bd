"""The time of each decoded frame, also in AVI, which stores no times: it only holds pictures in decoding order."""

from __future__ import annotations

from typing import Protocol

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream


class Timed(Protocol):
    """A decoded frame, as far as its times."""

    @property
    def pts(self) -> int | None: ...

    @property
    def dts(self) -> int | None: ...


_WITHOUT_PTS = {"avi"}
"""FFmpeg's names of demuxers that know a dts but no pts: the pts of their packets are guesses."""


class FrameTimes:
    """Gives the pts of decoded frames. `sent` is called with each packet before it is decoded, `of` with each frame.

    The nth chunk of an AVI has the time of the nth frame shown. FFmpeg guesses the pts of packets from that, and is
    wrong if two B-frames are packed into one chunk, as DivX and Xvid do, or if B-frames refer to each other, as in
    H.264: such pts jump back and forth. The dts that FFmpeg gives a frame is that of the packet at which the decoder
    output it. These are evenly spaced, and later than the frame's time by the decoder's delay, which the first frame
    shows.
    """

    def __init__(self, container: InputContainer) -> None:
        self._known = not _WITHOUT_PTS & set(container.format.name.split(","))
        self._first: int | None = None
        """dts of the first packet that can be decoded: the first key frame, if the container marks one"""
        self._found_key = False
        self._delay: int | None = None
        self._last: int | None = None

    def sent(self, packet: Packet[VideoStream]) -> None:
        if self._first is None or (packet.is_keyframe and not self._found_key):
            self._first, self._found_key = packet.dts, packet.is_keyframe

    def of(self, frame: Timed) -> int | None:
        """The frame's pts in units of the stream's time base; None if it is not known."""
        if self._known or self._first is None:
            return frame.pts
        if frame.dts is None:
            # The decoder outputs its last frames after the last packet. AVI counts time in frames.
            self._last = self._first if self._last is None else self._last + 1
            return self._last
        if self._delay is None:
            self._delay = frame.dts - self._first
        self._last = frame.dts - self._delay
        return self._last
