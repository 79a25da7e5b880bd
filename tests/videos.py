"""Videos made for tests: every pixel format, timestamp and flaw on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from saliency_tubes.engine.picture import Color, Layout, Picture
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.media.av_planes import samples
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.sources.open import open_source

SWS_601, SWS_709 = 5, 1
_MATRIX = {5: SWS_601, 6: SWS_601, 1: SWS_709}
# Turned as a player turns it, clockwise, in 16.16 fixed point: a b u c d v x y w.
_TURNS = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0), "mirror": (-1, 0, 0, 1)}

Rgb = np.ndarray[Any, np.dtype[np.uint8]]


def gradient(index: int, size: tuple[int, int]) -> Rgb:
    """A picture [H, W, 3] without symmetry that moves with `index`."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    red, green = x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1)
    return np.stack([red, green, (red // 2 + 7 * index) % 256], axis=-1).astype(np.uint8)


def patch(*color: int) -> Callable[[int, tuple[int, int]], Rgb]:
    """Draws one colour everywhere."""
    return lambda index, size: np.full((size[1], size[0], 3), color, np.uint8)


def make_video(
    path: Path,
    *,
    size: tuple[int, int] = (64, 48),
    frames: int = 10,
    rate: Fraction | int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    turn: int | str = 0,
    pixel_aspect: Fraction | None = None,
    full_range: bool | None = None,
    matrix: int = 2,
    coded_as: int | None = None,
    draw: Callable[[int, tuple[int, int]], Rgb] = gradient,
    audio: str | None = None,
    options: dict[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """Writes a video and returns its path.

    pts: in `time_base`, by default 1 / rate; the number of them replaces `frames`. turn: 90, 180, 270 degrees clockwise
    or "mirror", MP4 only. matrix: the tag, ITU-T H.273; coded_as: the matrix in truth, where it differs from the tag.
    audio: a codec, as long as the video.
    """
    time_base = time_base or 1 / Fraction(rate)
    pts = list(pts) if pts is not None else [round(i / (rate * time_base)) for i in range(frames)]
    muxer = {}
    if path.suffix == ".mp4":
        muxer = {key: str(time_base.denominator) for key in ("video_track_timescale", "movie_timescale")}
    with av.open(str(path), "w", container, container_options=muxer) as output:
        stream: Any = output.add_stream(codec, rate=Fraction(rate), options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = stream.time_base = time_base
        stream.codec_context.colorspace = matrix
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = stream.sample_aspect_ratio = pixel_aspect
        if full_range is not None:
            stream.codec_context.color_range = 2 if full_range else 1
        sound: Any = output.add_stream(audio, rate=48_000) if audio else None
        reformatter = VideoReformatter()
        for index, stamp in enumerate(pts):
            frame = _frame(draw(index, size))
            frame = reformatter.reformat(
                frame,
                format=pix_fmt,
                dst_colorspace=_MATRIX.get(coded_as or matrix, SWS_601),
                dst_color_range=2 if full_range or "yuvj" in pix_fmt else 1,
                interpolation="BICUBIC",
            )
            frame.pts, frame.time_base, frame.color_range = stamp, time_base, stream.codec_context.color_range
            frame.colorspace = matrix
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            _add_tone(output, sound, float((pts[-1] + 1 / (rate * time_base)) * time_base))
    if turn:
        _set_turn(path, _TURNS[turn])
    return path


def make_audio(path: Path, codec: str = "aac", seconds: float = 0.5) -> Path:
    with av.open(str(path), "w") as output:
        _add_tone(output, output.add_stream(codec, rate=48_000), seconds)
    return path


def all_pts(path: Path) -> list[Fraction]:
    """The presentation time of every frame, in seconds, as the source gives it."""
    source = open_source(str(path))
    times = [frame.pts * frame.time_base for frame in source]
    source.close()
    return times


def packets(path: Path, kind: str = "audio") -> list[tuple[Fraction, bytes]]:
    """Time in seconds and bytes of every packet."""
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        found = [(packet.pts, packet.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]
    return [(pts * time_base, data) for pts, time_base, data in found]


def make_shown(index: int, pts: int, info: VideoInfo, draw: Callable[[int, tuple[int, int]], Rgb] = gradient) -> Shown:
    """A frame as the pipeline would hand it to a sink, without a file in between."""
    rgb = draw(index, (info.width, info.height))
    if info.layout is Layout.RGB:
        planes: tuple[Rgb, ...] = (rgb,)
    else:
        matrix, offset = info.color.rgb_to_yuv()
        yuv = np.rint(rgb @ matrix.T + offset).clip(0, 255).astype(np.uint8)
        chroma = yuv[::2, ::2, 1:]
        planes = (yuv[..., 0].copy(),)
        if info.layout is Layout.NV12:
            planes += (chroma.copy(),)
        else:
            planes += (chroma[..., 0].copy(), chroma[..., 1].copy())
    return Shown(Frame(index, pts, info.time_base, Picture(info.layout, planes, info.color), info.pixel_aspect), ())


def make_info(**changes: Any) -> VideoInfo:
    """A small video's info, with anything changed."""
    plain: dict[str, Any] = {"width": 64, "height": 48, "time_base": Fraction(1, 12_800), "rate": Fraction(25)}
    return VideoInfo(**{**plain, "color": Color("bt601"), **changes})


def _frame(rgb: Rgb) -> av.VideoFrame:
    frame = av.VideoFrame(rgb.shape[1], rgb.shape[0], "rgb24")
    samples(frame.planes[0], 3)[:] = rgb
    return frame


def _add_tone(output: Any, stream: Any, seconds: float) -> None:
    time = np.arange(int(seconds * 48_000)) / 48_000
    tone = np.float32(0.2) * np.sin(2 * np.pi * 440 * time).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
    frame.sample_rate, frame.pts = 48_000, 0
    fifo = av.AudioFifo()
    fifo.write(frame)
    resampler = av.AudioResampler(stream.codec_context.format.name, "stereo", 48_000)
    while True:
        piece = fifo.read(1024, partial=True)
        for part in resampler.resample(piece) if piece is not None else []:
            output.mux(stream.encode(part))
        if piece is None:
            break
    output.mux(stream.encode(None))


def _set_turn(path: Path, turn: tuple[int, int, int, int]) -> None:
    """Rewrites the display matrix in the track header (ISO/IEC 14496-12, section 8.3.2; version 0)."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in turn)
    matrix = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    data[start : start + 36] = matrix
    path.write_bytes(data)
