"""MP4, MOV and Matroska files with H.264, through PyAV (FFmpeg, libx264)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from ..engine.errors import SinkError
from ..engine.picture import Layout
from ..engine.types import Frame, Shown
from .av_audio import AudioCopy
from .av_planes import fill, reason, rgb_to_i420
from .sink import Sink
from .source import VideoInfo

FALLBACK_RATE = Fraction(25)
"""frames a second, for the rate control only, where the input does not say"""

_PIX_FMT = {Layout.I420: "yuv420p", Layout.NV12: "nv12", Layout.RGB: "rgb24"}
_BT709, _LIMITED, _FULL = 1, 1, 2


@dataclass(frozen=True)
class H264:
    """How to encode. The defaults are visually lossless for what is drawn, and faster than the decoder feeding them."""

    crf: int = 19
    """0..51: constant quality, smaller is better; 18 is hard to tell from the original"""
    preset: str = "veryfast"
    """libx264's"""
    threads: int = 4
    """fixed: the bytes depend on it, and must not depend on the machine"""
    keyframe_seconds: float = 2.0
    """longest distance of keyframes: how finely players seek, and how much a killed run may lose"""

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf must be 0 to 51, got {self.crf}")
        if self.threads < 1 or self.keyframe_seconds <= 0:
            raise ValueError(f"threads and keyframe_seconds must be positive, got {self}")


class AvSink(Sink):
    """A video file of the input's size, rate and pts, with its audio copied through.

    Pts come back exactly in MP4 and MOV, whose clock is the input's; Matroska counts milliseconds and rounds to them.
    A killed run leaves a file that plays up to its last keyframe: fragments, which `close` turns into a plain MP4.
    The same frames give the same bytes.
    """

    def __init__(self, path: Path, container: str, settings: H264 | None = None) -> None:
        super().__init__(str(path))
        self._path = path
        self._format = container
        self._settings = settings or H264()
        self._failed = False
        self._output: OutputContainer | None = None
        self._audio: AudioCopy | None = None
        self._end = Fraction(0)
        self._reformatter = VideoReformatter()

    def open(self, info: VideoInfo) -> None:
        self._size = (info.width, info.height)
        # H.264 crops 4:2:0 pictures in steps of two pixels.
        self._coded = (info.width + info.width % 2, info.height + info.height % 2)
        if self._coded != self._size:
            self.notes += (f"H.264 needs an even size: {_times(self._size)} is padded to {_times(self._coded)}",)
        self._frame_seconds = 1 / (info.rate or FALLBACK_RATE)
        try:
            output = av.open(f"file:{self._path}", "w", self._format, container_options=self._muxer_options(info))
            self._output = output
            self._stream = self._add_video(output, info)
            if info.audio is not None:
                self._add_audio(output, info.audio)
            output.start_encoding()
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def write(self, shown: Shown) -> None:
        frame = shown.frame
        if self._output is None:
            raise RuntimeError(f"{self.name}: write() before open() or after close()")
        if (frame.picture.width, frame.picture.height) != self._size:
            size = _times((frame.picture.width, frame.picture.height))
            raise SinkError(f"{self.name}: frame {frame.index} is {size}, the video is {_times(self._size)}")
        start = frame.pts * frame.time_base
        try:
            self._output.mux(self._stream.encode(self._video_frame(frame)))
            if self._audio is not None:
                self._audio.pump(start)
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error
        self._end = start + self._frame_seconds
        self.frames += 1

    def close(self) -> None:
        output, self._output = self._output, None
        if output is None:
            return
        try:
            # After an error the trailer is still tried, for it can make the difference to a player; the frames that the
            # encoder holds are not.
            if not self._failed:
                output.mux(self._stream.encode(None))
                if self._audio is not None and self.frames:
                    self._audio.pump(self._end)
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error
        finally:
            self._finish(output)

    def _finish(self, output: OutputContainer) -> None:
        if self._audio is not None:
            self._audio.close()
            self.notes += tuple(self._audio.notes)
            self._audio = None
        try:
            output.close()
        except (av.FFmpegError, OSError) as error:
            if not self._failed:
                raise self._failure(error) from error

    def _failure(self, error: Exception) -> SinkError:
        self._failed = True
        return SinkError(f"{self.name}: {reason(error)}")

    def _muxer_options(self, info: VideoInfo) -> dict[str, str]:
        # bitexact leaves out dates, versions and random ids. flush_packets: what is muxed is in the file, should the
        # process be killed.
        options = {"fflags": "+bitexact", "flush_packets": "1"}
        if self._format != "matroska":
            ticks = str(info.time_base.denominator)
            # hybrid_fragmented: fragments while writing, a plain file in the end. delay_moov: without it fragments have
            # no edit list and the first pts is lost. movie_timescale: the edit list's unit, 1 ms by default.
            options |= {
                "movflags": "hybrid_fragmented+delay_moov",
                "video_track_timescale": ticks,
                "movie_timescale": ticks,
            }
        return options

    def _add_video(self, output: OutputContainer, info: VideoInfo) -> VideoStream:
        settings = self._settings
        rate = info.rate or FALLBACK_RATE
        stream = output.add_stream(
            "libx264",
            rate=rate,
            options={"crf": str(settings.crf), "preset": settings.preset, "flags": "+bitexact"},
        )
        encoder = stream.codec_context
        encoder.width, encoder.height = self._coded
        encoder.pix_fmt = "nv12" if info.layout is Layout.NV12 else "yuv420p"
        encoder.time_base = stream.time_base = info.time_base
        encoder.sample_aspect_ratio = stream.sample_aspect_ratio = info.pixel_aspect
        encoder.thread_count = settings.threads
        encoder.gop_size = max(1, round(settings.keyframe_seconds * rate))
        encoder.color_primaries, encoder.color_trc = info.primaries, info.transfer
        rgb = info.layout is Layout.RGB
        encoder.colorspace = _BT709 if rgb else info.matrix
        encoder.color_range = _FULL if info.color.full_range and not rgb else _LIMITED
        return stream

    def _add_audio(self, output: OutputContainer, path: Path) -> None:
        try:
            self._audio = AudioCopy(path, output)
        except (ValueError, av.FFmpegError) as error:
            self.notes += (f"the audio is left out: {reason(error)}",)

    def _video_frame(self, frame: Frame) -> VideoFrame:
        made = VideoFrame(*self._coded, _PIX_FMT[frame.picture.layout])
        fill(made, frame.picture)
        if frame.picture.layout is Layout.RGB:
            made = rgb_to_i420(made, self._reformatter)
        made.pts, made.time_base = frame.pts, frame.time_base
        made.duration = max(1, round(self._frame_seconds / frame.time_base))
        return made


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
