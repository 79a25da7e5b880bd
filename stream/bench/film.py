"""The films that are measured on: the clip of the package at 30 frames a second, in two sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

from ...engine.fit import fit
from ...engine.types import Frame, Shown
from ..app.demo import DEMO_CLIP
from ..media.info import VideoInfo
from ..sinks.base import SinkOptions
from ..sinks.open import open_sink
from ..sources.open import open_source
from .results import Streams

SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
"""width, height; pixels"""
PRESET = "superfast"
"""of libx264, with which the films are made"""
HELD = 24
"""Number of frames of a film that are kept in memory, to be sampled, drawn on and encoded."""


@dataclass(frozen=True, eq=False)
class Film:
    """A film, and its first frames."""

    size: str
    path: Path
    info: VideoInfo
    length: int
    """number of frames"""
    frames: tuple[Frame, ...]


def make_film(folder: Path, size: str, length: int) -> Film:
    """Writes a film of `length` frames: the clip again and again, without a gap, so that a stream may run for long."""
    path, info, held = folder / f"{size}.mp4", None, list[Frame]()
    sink = open_sink(str(path), SinkOptions(preset=PRESET, overwrite=True))
    try:
        for index, (frame, info) in enumerate(islice(_again(), length)):
            picture = fit(frame.image, SIZES[size], info.layout, info.color)
            made = Frame(index, index, Fraction(1, Streams.RATE), picture)
            if index == 0:
                info = _info_of(info, SIZES[size])
                sink.open(info)
            sink.write(Shown(made))
            if len(held) < HELD:
                held.append(replace(made, image=picture.copy()))
    finally:
        sink.close()
    return Film(size, path, _info_of(info, SIZES[size]), length, tuple(held))  # type: ignore[arg-type]


def _info_of(info: VideoInfo, size: tuple[int, int]) -> VideoInfo:
    rate = Fraction(Streams.RATE)
    return replace(info, width=size[0], height=size[1], time_base=1 / rate, rate=rate, audio=None)


def _again() -> Iterator[tuple[Frame, VideoInfo]]:
    while True:
        source = open_source(str(DEMO_CLIP))
        try:
            yield from ((frame, source.info) for frame in source)
        finally:
            source.close()
