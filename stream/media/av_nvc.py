"""Packets of PyAV's demuxer, decoded by NVIDIA's decoder where it can; else by FFmpeg's own, and why is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...engine.errors import ModelError
from ...engine.picture import HOST, Color
from ...engine.place import Place
from .av_planes import Orientation, PictureReader
from .nvc_decoder import NvcDecoder, NvcFrame, why_no_nvdec

if TYPE_CHECKING:
    from ...engine.cuda.pictures import DevicePicture
    from ...engine.cuda.place import CudaPlace

_ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
_HELD = 64
"""Maximum number of packets until FFmpeg has decoded the first picture; beyond that NVIDIA's decoder gets none."""


@dataclass(frozen=True, eq=False)
class DeviceFrame:
    """A picture that NVIDIA's decoder made, with what the packet and the first picture tell of it."""

    picture: DevicePicture
    pts: int | None
    dts: int | None
    """that of the packet at which the decoder gave it out; None: after the last one"""
    key_frame: bool
    like: VideoFrame
    """the stream's first picture, decoded by FFmpeg: it tells what NVIDIA's decoder does not"""


class Decoding:
    """Decodes the packets of one stream.

    FFmpeg decodes the first picture, which tells the colours, the depth and the orientation. Then NVIDIA's decoder gets
    all packets from the first on, if it can decode such a stream into the memory of the GPU.
    """

    def __init__(self, stream: VideoStream, place: Place | None) -> None:
        """place: the one that pictures are wanted in. For the host's, or None, FFmpeg decodes everything, and nothing
        is told."""
        self._stream = stream
        self._place: CudaPlace | None = None if place is None or place.name == HOST else _on_gpu(place)
        self.words = ""
        """as `VideoInfo.decoder`, once the first frame has come"""
        self._held: deque[Packet[VideoStream] | None] = deque()
        """packets that NVIDIA's decoder has not got yet; None: the end"""
        self._undecided = self._place is not None
        self._nvc: NvcDecoder | None = None
        self._first: VideoFrame | None = None
        self._sent: dict[int, tuple[int | None, bool]] = {}
        """number of each packet inside the decoder -> its pts, and whether it is a key frame"""
        self._count = 0

    def decode(self, packet: Packet[VideoStream] | None) -> Iterator[VideoFrame | DeviceFrame]:
        """The frames that are ready; None: the last ones. Raises av.FFmpegError and ModelError, after which it can go
        on with the next packet."""
        if packet is not None and not packet.size:  # PyAV's demuxer ends with an empty one
            packet = None
        if self._nvc is not None:
            self._held.append(packet)
            yield from self._given()
            return
        frames = packet.decode() if packet is not None else self._stream.decode(None)
        if self._undecided:
            if packet is None or self._held or packet.is_keyframe:
                self._held.append(packet)
            if frames and self._starts(frames[0]):
                yield from self._given(frames)
                return
            if len(self._held) > _HELD:
                self._stay("no picture came of its first packets")
        yield from frames

    def close(self) -> None:
        nvc, self._nvc = self._nvc, None
        if nvc is not None:
            nvc.close()

    def _given(self, instead: list[VideoFrame] | None = None) -> Iterator[VideoFrame | DeviceFrame]:
        """The pictures of the packets that are held. instead: FFmpeg's, if the decoder fails before it gave any: not
        before the first packet does it take the hardware's decoder."""
        while self._held:
            try:
                for frame in self._on_gpu(self._held.popleft()):
                    instead = None
                    yield frame
            except ModelError as error:
                if instead is None:
                    raise
                self.close()
                self._stay(str(error))
                yield from instead

    def _starts(self, first: VideoFrame) -> bool:
        """Whether NVIDIA's decoder decodes this stream, of which FFmpeg has decoded the first picture."""
        assert self._place is not None
        codec = self._stream.codec_context.name
        bits = max(component.bits for component in first.format.components)
        why = why_no_nvdec(self._place.gpu.device.index, codec, bits)
        if first.format.name.replace("yuvj", "yuv") not in ("yuv420p", "nv12", "yuv420p10le"):
            why = f"its pixels are {first.format.name}"
        elif Orientation.of(first) != Orientation():
            why = "it is turned"
        if why is None:
            try:
                self._start(first, codec)
            except ModelError as error:
                why = str(error)
        if why is not None:
            self._stay(why)
        self._undecided = False
        return why is None

    def _start(self, first: VideoFrame, codec: str) -> None:
        assert self._place is not None
        color = PictureReader(first).color
        self._first = first
        self._nvc = NvcDecoder(
            self._place, codec, Color(color.matrix, color.full_range), self._stream.codec_context.has_b_frames
        )
        self._filter = BitStreamFilterContext(_ANNEX_B[codec], self._stream) if codec in _ANNEX_B else None
        self.words = f"decoded by NVDEC (PyNvVideoCodec) on {self._place.name}, pictures stay there"

    def _stay(self, why: str) -> None:
        assert self._place is not None
        self._undecided = False
        self._held.clear()
        codec = self._stream.codec_context.name
        self.words = f"decoded by FFmpeg's {codec}; each picture is copied to {self._place.name}, because {why}"

    def _on_gpu(self, packet: Packet[VideoStream] | None) -> Iterator[DeviceFrame]:
        assert self._nvc is not None
        if packet is None:
            yield from self._told(self._nvc.decode(b"", 0), None)
            return
        dts, told = packet.dts, (packet.pts, packet.is_keyframe)  # the filter leaves an empty packet behind
        pieces: list[Any] = [packet] if self._filter is None else self._filter.filter(packet)
        for piece in pieces:
            self._count += 1
            self._sent[self._count] = told
            yield from self._told(self._nvc.decode(bytes(piece), self._count), dts)

    def _told(self, decoded: Iterable[NvcFrame], dts: int | None) -> Iterator[DeviceFrame]:
        for item in decoded:
            pts, key = self._sent.pop(item.pts, (None, False))
            for earlier in [number for number in self._sent if number < item.pts - _HELD]:
                del self._sent[earlier]  # of packets that gave no picture
            assert self._first is not None
            frame = DeviceFrame(item.picture, pts, dts, key, self._first)
            del item  # nothing here holds a picture that somebody else has let go
            yield frame
            del frame


def _on_gpu(place: Place) -> CudaPlace:
    from ...engine.cuda.place import CudaPlace

    assert isinstance(place, CudaPlace), place
    return place
