"""The time of each decoded frame, in AVI too, which stores none: it only holds pictures in the order of decoding."""

from __future__ import annotations

from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

_WITHOUT_PTS = {"avi"}
"""FFmpeg's names of demuxers that know a dts and no pts: the pts of their packets are guesses"""


class FrameTimes:
    """Gives the pts of decoded frames. `sent` is called with each packet before it is decoded, `of` with each frame.

    The nth chunk of an AVI has the time of the nth frame that is shown. FFmpeg guesses from that which pts a packet
    has, and is wrong where B-frames are packed two to a chunk, as DivX and Xvid do, or refer to each other, as in
    H.264: such pts go back and forth. The dts of a frame is that of the packet at which the decoder gave it out.
    It is even, and later than the frame by the decoder's delay, which the first frame shows.
    """

    def __init__(self, container: InputContainer) -> None:
        self._known = not _WITHOUT_PTS & set(container.format.name.split(","))
        self._first: int | None = None
        """dts of the first packet that can be decoded: the first keyframe, where the container names one"""
        self._found_key = False
        self._delay: int | None = None
        self._last: int | None = None

    def sent(self, packet: Packet[VideoStream]) -> None:
        if self._first is None or (packet.is_keyframe and not self._found_key):
            self._first, self._found_key = packet.dts, packet.is_keyframe

    def of(self, frame: VideoFrame) -> int | None:
        """In units of the stream's time base; None where it is not known."""
        if self._known or self._first is None:
            return frame.pts
        if frame.dts is None:
            # The decoder gives out its last frames when no packet comes any more. AVI counts in frames.
            self._last = self._first if self._last is None else self._last + 1
            return self._last
        if self._delay is None:
            self._delay = frame.dts - self._first
        self._last = frame.dts - self._delay
        return self._last
