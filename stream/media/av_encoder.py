"""H.264 through PyAV: finds an encoder that works here, and encodes frames for a container."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from glob import glob

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ...engine.picture import HOST, Layout
from ...engine.processor import processor_features
from ...engine.types import Frame
from .av_nvenc import ENCODER as NVENC
from .av_nvenc import SURFACES, NvencFrames, why_not_there
from .av_planes import borrowed, fill, reason, rgb_to_i420, samples
from .cuda_planes import gpu_of
from .encoders import ABSENT, Chosen, choose, default_bitrate
from .info import UNSPECIFIED, VideoInfo

FALLBACK_RATE = Fraction(25)
"""Frames a second that rate control assumes if the input does not tell its rate."""
ENCODERS = (NVENC, "h264_v4l2m2m", "h264_vaapi", "libx264")

_DEVICES = {NVENC: "/dev/nvidia[0-9]*", "h264_v4l2m2m": "/dev/video1[0-9]", "h264_vaapi": "/dev/dri/renderD*"}
"""Encoder -> the devices that it needs. FFmpeg lists these encoders on every machine: that one of them does not work is
worth a message only if its device exists."""
_PIX_FMT = {Layout.I420: "yuv420p", Layout.NV12: "nv12", Layout.RGB: "rgb24"}
_BASELINE = {"libx264": "baseline", NVENC: "baseline", "h264_vaapi": "constrained_baseline"}
"""Encoder -> its name for the constrained baseline profile."""
_BT709, _LIMITED, _FULL = 1, 1, 2
_PROBE_FRAMES = 3
_NO_AVX512 = "asm=MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI1,BMI2,AVX2"
"""For libx264: every instruction set of x86-64 but AVX-512. With it the look-ahead (mbtree) is not deterministic: of
ten encodings of the same 320x240 pictures four differed, of 960x544 one or two, by one thread as by four. Up to AVX2
all give the same bytes, those of processors without AVX-512."""


@dataclass(frozen=True)
class H264:
    """How to encode. With the defaults no loss is visible, and encoding is faster than decoding."""

    crf: int = 19
    """0..51: constant quality, smaller is better; 18 is hard to tell from the original"""
    preset: str = "veryfast"
    """preset of libx264"""
    threads: int = 4
    """fixed, because the encoded bytes depend on it, and must not depend on the machine"""
    keyframe_seconds: float = 2.0
    """maximum seconds from one key frame to the next: players seek in such steps, and a killed run may lose as much"""
    encoder: str = "libx264"
    bitrate: int | None = None
    """bits a second, in place of `crf`; None for an encoder without constant quality: a rate by the picture's size"""
    low_latency: bool = False
    """every frame leaves the encoder at once: no look-ahead, no B-frames"""
    global_header: bool = False
    """SPS and PPS are kept apart from the frames, for a muxer that needs it and that PyAV does not ask"""
    where: str = HOST
    """the place that the encoder takes pictures from; see `near`"""
    baseline: bool = False
    """constrained baseline profile, if the encoder can choose; only with `low_latency`, since it has no B-frames"""

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf must be 0 to 51, got {self.crf}")
        if self.threads < 1 or self.keyframe_seconds <= 0:
            raise ValueError(f"threads and keyframe_seconds must be positive, got {self}")
        if self.baseline and not self.low_latency:
            raise ValueError(f"the baseline profile has no B-frames: it takes low_latency, got {self}")

    def options(self) -> dict[str, str]:
        """The options of FFmpeg's encoder for these settings."""
        if self.baseline and self.encoder in _BASELINE:
            return replace(self, baseline=False).options() | {"profile": _BASELINE[self.encoder]}
        if self.encoder == "libx264":
            options = {"preset": self.preset, "flags": "+bitexact"}
            if self.bitrate is None:
                options["crf"] = str(self.crf)
            if self.low_latency:  # it looks at no frame ahead
                return options | {"tune": "zerolatency"}
            return options | ({"x264-params": _NO_AVX512} if "avx512f" in processor_features() else {})
        if self.encoder == NVENC:
            options = {"preset": "p4", "tune": "ull" if self.low_latency else "hq", "rc": "vbr", "forced-idr": "1"}
            if self.bitrate is None:
                options |= {"cq": str(self.crf), "b": "0"}
            if self.where != HOST:
                options["surfaces"] = str(SURFACES[self.low_latency])
            return options | ({"zerolatency": "1", "delay": "0"} if self.low_latency else {})
        return {}


def near(settings: H264, info: VideoInfo) -> tuple[H264, str]:
    """The settings with which pictures are encoded in the place that they lie in, if that can be; and in words how,
    empty where they lie on the host. Encodes a few of that size, so that it is known before the first one."""
    settings = replace(settings, where=HOST)
    if info.where == HOST:
        return settings, ""
    there, why = replace(settings, where=info.where), f"{settings.encoder} takes no others"
    if settings.encoder == NVENC:
        found = why_not_there(info, there.options(), settings.low_latency)
        if found is None:
            return there, f"on {info.where}"
        why = found
    return settings, f"pictures are copied to the host, because {why}"


@cache
def choose_encoder(wanted: str) -> Chosen:
    """The encoder to use, tried once. `passed_over` names the failed ones whose device exists. Raises UsageError."""
    chosen = choose(wanted, ENCODERS, probe)
    here = [(name, why) for name, why in chosen.passed_over if any(glob(_DEVICES.get(name, "")))]
    return replace(chosen, passed_over=tuple(here))


def probe(name: str) -> str | None:
    """None if this encoder encodes a few frames here, else what failed: an encoder that FFmpeg lists may lack its
    device or driver."""
    try:
        encoder = av.CodecContext.create(name, "w")
    except (av.FFmpegError, ValueError, av.codec.codec.UnknownCodecError):
        return ABSENT
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 640, 368, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.options = H264(encoder=name, low_latency=True).options()
    packets: list[Packet[VideoStream]] = []
    try:
        for index in range(_PROBE_FRAMES):
            frame = VideoFrame(640, 368, "yuv420p")
            for plane in frame.planes:
                samples(plane, 1)[:] = np.uint8(128)
            frame.pts = index
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
    except (av.FFmpegError, OSError, ValueError) as error:
        return reason(error)
    return None if packets else "it gives nothing"


class WrongSizeError(ValueError):
    """A frame has another size than the video. It was not given to the encoder, which can go on."""


class EncoderInput:
    """Makes an encoder's frames of the pipeline's."""

    def __init__(self, info: VideoInfo) -> None:
        self.notes: tuple[str, ...] = ()
        self.size = (info.width, info.height)
        # H.264 can crop 4:2:0 pictures only in steps of two pixels: odd sizes are coded as even ones.
        self.coded = (info.width + info.width % 2, info.height + info.height % 2)
        if self.coded != self.size:
            self.notes = (f"H.264 needs an even size: {_times(self.size)} is padded to {_times(self.coded)}",)
        self.frame_seconds = 1 / (info.rate or FALLBACK_RATE)
        self._reformatter = VideoReformatter()

    def configure(self, encoder: VideoCodecContext, info: VideoInfo, settings: H264) -> None:
        """Sets everything but the encoder's options, before its first frame."""
        rate = info.rate or FALLBACK_RATE
        encoder.width, encoder.height = self.coded
        encoder.pix_fmt = "nv12" if info.layout is Layout.NV12 else "yuv420p"
        encoder.time_base = info.time_base
        encoder.sample_aspect_ratio = info.pixel_aspect
        encoder.thread_count = settings.threads
        encoder.gop_size = max(1, round(settings.keyframe_seconds * rate))
        if settings.global_header:
            encoder.flags |= int(av.codec.context.Flags.global_header)
        if settings.low_latency:
            encoder.max_b_frames = 0
            encoder.thread_type = "SLICE"
        by_size = settings.encoder not in ("libx264", NVENC)
        if settings.bitrate or by_size:
            encoder.bit_rate = settings.bitrate or default_bitrate(*self.coded, float(rate))
        encoder.color_primaries, encoder.color_trc = info.primaries, info.transfer
        rgb = info.layout is Layout.RGB
        # Grey pictures may be marked with the matrix of RGB (0), which YUV cannot have.
        encoder.colorspace = _BT709 if rgb else info.matrix or UNSPECIFIED
        encoder.color_range = _FULL if info.color.full_range and not rgb else _LIMITED

    def frame(self, frame: Frame) -> VideoFrame:
        """Of a picture on the host. Raises WrongSizeError."""
        picture = frame.picture
        self.check(frame)
        format = _PIX_FMT[picture.layout]
        made = borrowed(picture, format)
        if made is None:
            made = VideoFrame(*self.coded, format)
            fill(made, picture)
        if picture.layout is Layout.RGB:
            made = rgb_to_i420(made, self._reformatter)
        _check_size(f"frame {frame.index} would be coded as", (made.width, made.height), self.coded)
        return self.timed(made, frame)

    def check(self, frame: Frame) -> None:
        """Raises WrongSizeError for a frame of another size than the video's."""
        _check_size(f"frame {frame.index} is", (frame.image.width, frame.image.height), self.size)

    def timed(self, made: VideoFrame, frame: Frame) -> VideoFrame:
        """The encoder's frame with the times of ours."""
        made.pts, made.time_base = frame.pts, frame.time_base
        made.duration = max(1, round(self.frame_seconds / frame.time_base))
        return made


class VideoTrack:
    """The video of an output container: takes the pipeline's frames and gives packets."""

    def __init__(self, output: OutputContainer, info: VideoInfo, settings: H264) -> None:
        """Adds the stream to a container whose header is not yet written. Raises av.FFmpegError, ValueError."""
        self.description = f"H.264 by {settings.encoder}"
        self._input = EncoderInput(info)
        self.notes, self.frame_seconds = self._input.notes, self._input.frame_seconds
        self._there: NvencFrames | None = None
        self._frames = 0
        """given to the encoder so far"""
        if settings.where != HOST:
            self._there = NvencFrames(gpu_of(settings.where), self._input.size, info.color, settings.low_latency)
        self._output = output
        self._stream = self._add(output, info, settings)

    def start(self) -> None:
        """Opens the encoder and writes the container's header. For pictures on a GPU the first frame does, since PyAV
        learns from it in whose memory they lie. Raises av.FFmpegError."""
        if self._there is None:
            self._output.start_encoding()

    def encode(self, frame: Frame | None) -> list[Packet[VideoStream]]:
        """The packets that are ready; for None, the last ones. Raises av.FFmpegError and WrongSizeError."""
        if frame is None:
            return self._stream.encode(None) if self._frames or self._there is None else []
        made = self._input.frame(frame) if self._there is None else self._frame_there(self._there, frame)
        self._frames += 1
        return self._stream.encode(made)

    def close(self) -> None:
        """Frees what it has on a GPU. The container must be closed, and gone."""
        there, self._there = self._there, None
        if there is not None:
            del self._stream, self._output
            there.close()

    def _add(self, output: OutputContainer, info: VideoInfo, settings: H264) -> VideoStream:
        stream = output.add_stream(settings.encoder, rate=info.rate or FALLBACK_RATE, options=settings.options())
        assert isinstance(stream, VideoStream)
        encoder = stream.codec_context
        self._input.configure(encoder, info, settings)
        stream.time_base, stream.sample_aspect_ratio = info.time_base, info.pixel_aspect
        if self._there is not None:
            encoder.pix_fmt = "cuda"
            if not settings.low_latency:
                encoder.max_b_frames = 2  # with more, FFmpeg would hold more pictures than SURFACES says
        return stream

    def _frame_there(self, there: NvencFrames, frame: Frame) -> VideoFrame:
        self._input.check(frame)
        return self._input.timed(there.make(frame.image), frame)


class LooseEncoder:
    """An encoder without a container, for who makes his own: each frame is one packet, at once, in Annex B's form."""

    def __init__(self, info: VideoInfo, settings: H264) -> None:
        """settings: with `low_latency` and `global_header`. Raises av.FFmpegError, ValueError."""
        encoder = av.CodecContext.create(settings.encoder, "w")
        assert isinstance(encoder, VideoCodecContext)
        self._input, self._encoder = EncoderInput(info), encoder
        encoder.framerate = info.rate or FALLBACK_RATE
        encoder.options = settings.options()
        self._input.configure(encoder, info, settings)
        encoder.open()
        self.description = f"H.264 by {settings.encoder}"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures, in pixels; odd ones are coded one larger."""
        return self._input.size

    @property
    def coded(self) -> tuple[int, int]:
        """Width and height as coded."""
        return self._input.coded

    @property
    def header(self) -> bytes:
        """The sequence and picture parameter sets, in Annex B's form."""
        return bytes(self._encoder.extradata or b"")

    def encode(self, frame: Frame, key: bool) -> list[tuple[int, bool, bytes]]:
        """Of each packet: its pts, whether it is a key frame, its bytes. key: makes a key frame of this one. Raises
        av.FFmpegError and WrongSizeError."""
        made = self._input.frame(frame)
        made.pict_type = PictureType.I if key else PictureType.NONE
        packets = self._encoder.encode(made)
        return [(packet.pts or 0, packet.is_keyframe, bytes(packet)) for packet in packets]


def _check_size(what: str, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    """Raises WrongSizeError if the sizes differ: PyAV would scale the frame without a word."""
    if size != wanted:
        raise WrongSizeError(f"{what} {_times(size)}, the video is {_times(wanted)}")


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
