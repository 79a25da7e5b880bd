"""Clips cut from video files, as a network is fed them: to calibrate a conversion on, and to check a file with.

They are read as a run reads its input: by the same decoder, with the same colours, window and samples. So a file is
calibrated on, and checked with, the same kind of clips that it will see in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..engine.errors import SourceError, UsageError
from ..engine.manifest import InputSpec
from ..engine.picture import F32
from ..engine.preprocess import HostSampler, default_stride, tensor
from ..engine.types import Clip
from ..stream.pipeline.window import Window
from ..stream.sources.av_file import AvSource

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm")


def read_clips(paths: Sequence[Path], spec: InputSpec, clip_length: int, per_clip: int = 1) -> list[F32]:
    """`per_clip` windows of each video, evenly spread over it, each [1, 3, T, H, W] float32, normalised.

    A folder stands for the videos in it, by name. Samples are as far apart as in a run that is told no stride; a video
    shorter than a window has its last frame repeated. Raises UsageError for a folder without videos, SourceError for a
    file that cannot be read.
    """
    if clip_length < 1 or per_clip < 1:
        raise UsageError(f"clip length and clips must be 1 or more, got {clip_length} and {per_clip}")
    return [clip for path in find_videos(paths) for clip in _windows(path, spec, clip_length, per_clip)]


def find_videos(paths: Sequence[Path]) -> list[Path]:
    """The files named, and for each folder the videos in it, by name. Raises UsageError if one has none."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        videos = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
        if not videos:
            raise UsageError(f"no video in {path}: looked for {', '.join(SUFFIXES)}")
        found.extend(videos)
    return found


def _windows(path: Path, spec: InputSpec, clip_length: int, count: int) -> Iterator[F32]:
    source = AvSource(path)
    try:
        stride = default_stride(spec, source.info.rate)
        extent = (clip_length - 1) * stride + 1
        starts = _starts(source.info.expected_frames or 0, extent, count)
        clips = list(_cut(source, [Window(HostSampler(spec), clip_length, stride, hop=extent) for _ in starts], starts))
    finally:
        source.close()
    if not clips:
        raise SourceError(
            f"{path}: it ends before frame {starts[0]}, where the first clip of {clip_length} frames begins"
        )
    for clip in clips:
        yield tensor([clip], spec)


def _starts(length: int, extent: int, count: int) -> list[int]:
    """The first frame of each window of `extent` frames, spread over a video of `length` frames.

    The length that a file tells may be wrong, or 0: where it is too short for the windows, they follow one another from
    the first frame on.
    """
    room = max(0, length - extent)
    return [round(room * (i + 0.5) / count) for i in range(count)] if room else [i * extent for i in range(count)]


def _cut(source: AvSource, windows: Sequence[Window], starts: Sequence[int]) -> Iterator[Clip]:
    """The first clip of each window, which gets the frames from its start on; a window past the end gives no clip."""
    waiting = list(zip(starts, windows, strict=True))
    for frame in source:
        for start, window in list(waiting):
            if frame.index >= start and (clip := window.push(frame)) is not None:
                waiting.remove((start, window))
                yield clip
        if not waiting:
            return
    for _, window in waiting:
        if (clip := window.flush()) is not None:
            yield clip
