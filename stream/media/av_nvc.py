"""Packets of PyAV's demuxer, decoded by NVIDIA's decoder where it can; else by FFmpeg's own, and why is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...engine.errors import ModelError
from ...engine.picture import HOST, Color
from .av_planes import Orientation, PictureReader
from .cuda_planes import gpu_of
from .nvc_decoder import NvcDecoder, why_no_nvdec

if TYPE_CHECKING:
    from ...engine.cuda.pictures import DevicePicture

_ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
_HELD = 64
"""Maximum number of packets until FFmpeg has decoded the first picture; beyond that NVIDIA's decoder gets none."""


@dataclass(frozen=True, eq=False)
class DeviceFrame:
    """A picture that NVIDIA's decoder made, with what the packet and the first picture tell of it."""

    picture: DevicePicture
    pts: int | None
    key_frame: bool
    like: VideoFrame
    """the stream's first picture, decoded by FFmpeg: it tells what NVIDIA's decoder does not"""


class Decoding:
    """Decodes the packets of one stream.

    FFmpeg decodes the first picture, which tells the colours, the depth and the orientation. Then NVIDIA's decoder gets
    all packets from the first on, if it can decode such a stream into the memory of the GPU.
    """

    def __init__(self, stream: VideoStream, where: str) -> None:
        """where: the place that pictures are wanted in. For the host's, FFmpeg decodes everything, and nothing is told.
        Raises UsageError if there is no such GPU."""
        gpu = None if where == HOST else gpu_of(where)
        self._stream, self._gpu = stream, gpu
        self.words = ""
        """as `VideoInfo.decoder`, once the first frame has come"""
        self._held: list[Packet[VideoStream] | None] | None = [] if gpu is not None else None
        """the packets so far, while it is not known yet who decodes them; None: the end"""
        self._nvc: NvcDecoder | None = None
        self._first: VideoFrame | None = None
        self._sent: dict[int, tuple[int | None, bool]] = {}
        """number of each packet inside the decoder -> its pts, and whether it is a key frame"""
        self._count = 0

    def decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame] | list[DeviceFrame]:
        """The frames that are ready; None: the last ones. Raises av.FFmpegError and ModelError."""
        if packet is not None and not packet.size:  # PyAV's demuxer ends with an empty one
            packet = None
        if self._nvc is not None:
            return self._on_gpu(packet)
        frames = packet.decode() if packet is not None else self._stream.decode(None)
        if self._held is None:
            return frames
        if packet is None or self._held or packet.is_keyframe:
            self._held.append(packet)
        if not frames:
            if len(self._held) > _HELD:
                self._stay("no picture came of its first packets")
            return []
        return self._choose(frames, self._held)

    def close(self) -> None:
        nvc, self._nvc = self._nvc, None
        if nvc is not None:
            nvc.close()

    def _choose(
        self, frames: list[VideoFrame], held: list[Packet[VideoStream] | None]
    ) -> list[VideoFrame] | list[DeviceFrame]:
        assert self._gpu is not None
        first, codec = frames[0], self._stream.codec_context.name
        bits = max(component.bits for component in first.format.components)
        why = why_no_nvdec(self._gpu.device.index, codec, bits)
        if first.format.name.replace("yuvj", "yuv") not in ("yuv420p", "nv12", "yuv420p10le"):
            why = f"its pixels are {first.format.name}"
        elif Orientation.of(first) != Orientation():
            why = "it is turned"
        if why is None:
            try:
                self._start(first, codec)
                decoded = [frame for packet in held for frame in self._on_gpu(packet)]
            except ModelError as error:  # not before the first packet does it take the hardware's decoder
                self.close()
                why = str(error)
        if why is not None:
            self._stay(why)
            return frames
        self._held = None
        return decoded

    def _start(self, first: VideoFrame, codec: str) -> None:
        assert self._gpu is not None
        color = PictureReader(first).color
        self._first = first
        self._nvc = NvcDecoder(
            self._gpu, codec, Color(color.matrix, color.full_range), self._stream.codec_context.has_b_frames
        )
        self._filter = BitStreamFilterContext(_ANNEX_B[codec], self._stream) if codec in _ANNEX_B else None
        self.words = f"decoded by NVDEC (PyNvVideoCodec) on {self._gpu.name}, pictures stay there"

    def _stay(self, why: str) -> None:
        assert self._gpu is not None
        self._held = None
        codec = self._stream.codec_context.name
        self.words = f"decoded by FFmpeg's {codec}; each picture is copied to {self._gpu.name}, because {why}"

    def _on_gpu(self, packet: Packet[VideoStream] | None) -> list[DeviceFrame]:
        assert self._nvc is not None
        if packet is None:
            return self._told(self._nvc.decode(b"", 0))
        told = (packet.pts, packet.is_keyframe)  # the filter leaves an empty packet behind
        pieces: list[Any] = [packet] if self._filter is None else self._filter.filter(packet)
        frames: list[DeviceFrame] = []
        for piece in pieces:
            self._count += 1
            self._sent[self._count] = told
            frames += self._told(self._nvc.decode(bytes(piece), self._count))
        return frames

    def _told(self, decoded: list[Any]) -> list[DeviceFrame]:
        frames = []
        for item in decoded:
            pts, key = self._sent.pop(item.pts, (None, False))
            for earlier in [number for number in self._sent if number < item.pts - _HELD]:
                del self._sent[earlier]  # of packets that gave no picture
            assert self._first is not None
            frames.append(DeviceFrame(item.picture, pts, key, self._first))
        return frames
