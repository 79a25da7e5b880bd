"""Clips cut from video files, as a network is fed them: to calibrate a conversion on, and to check a file with.

Live video is another room's; here a few windows of each file are enough, and OpenCV, which is always there, reads them.
It converts frames to RGB itself, by BT.601 whatever the file says: a shade off what a run sees, for HD video.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from ..engine.errors import SourceError, UsageError
from ..engine.manifest import InputSpec
from ..engine.picture import F32, Layout, Picture
from ..engine.preprocess import sample, tensor
from ..engine.types import Clip, Crop, Frame, Span

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm")
TIME_BASE = Fraction(1, 90000)
"""of no consequence here: a frame must have one"""


def read_clips(paths: Sequence[Path], spec: InputSpec, frames: int, per_clip: int = 1) -> list[F32]:
    """`per_clip` windows of each video, evenly spread over it, each [1, 3, T, H, W] float32, normalised.

    A folder stands for the videos in it, by name. Samples are as far apart as the network was trained on; a video
    shorter than a window has its last frame repeated. Raises UsageError for a folder without videos, SourceError for a
    file that cannot be read.
    """
    if frames < 1 or per_clip < 1:
        raise UsageError(f"frames and clips must be 1 or more, got {frames} and {per_clip}")
    return [clip for path in find_videos(paths) for clip in _windows(path, spec, frames, per_clip)]


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


def _windows(path: Path, spec: InputSpec, frames: int, count: int) -> Iterator[F32]:
    if not path.is_file():
        raise SourceError(f"cannot read {path}: there is no such file")
    video = cv2.VideoCapture(str(path))
    try:
        if not video.isOpened():
            raise SourceError(f"cannot read {path}: it is not a video that OpenCV knows")
        rate = video.get(cv2.CAP_PROP_FPS)
        stride = max(1, round(spec.stride * (rate / spec.rate if rate > 0 else 1)))
        # what a file says of its length may be wrong, and is 0 for some: then from the start on, side by side
        extent = (frames - 1) * stride + 1
        room = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)) - extent)
        starts = [round(room * (i + 0.5) / count) for i in range(count)] if room else [i * extent for i in range(count)]
        held = _read(video, {start + i * stride for start in starts for i in range(frames)}, spec)
    finally:
        video.release()
    if not held:
        raise SourceError(f"cannot read {path}: it has no frame that can be decoded")
    last = max(held)
    for start in starts:
        if start <= last:
            yield _clip(held, [min(start + i * stride, last) for i in range(frames)], spec, stride)


def _read(video: cv2.VideoCapture, wanted: set[int], spec: InputSpec) -> dict[int, Frame]:
    """The wanted frames that there are, by index, as the network sees them: small."""
    held: dict[int, Frame] = {}
    for index in range(max(wanted) + 1):
        if not video.grab():
            break
        if index in wanted:
            decoded, picture = video.retrieve()
            if decoded:
                rgb = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
                small, _ = sample(Frame(index, index, TIME_BASE, Picture(Layout.RGB, (rgb,))), spec)
                held[index] = Frame(index, index, TIME_BASE, Picture(Layout.RGB, (small,)))
    return held


def _clip(held: dict[int, Frame], indices: Sequence[int], spec: InputSpec, stride: int) -> F32:
    known = sorted(held)
    # a frame that could not be decoded is stood for by the one before it
    nearest = [max((index for index in known if index <= wanted), default=known[0]) for wanted in indices]
    pictures = tuple(held[index].picture.planes[0] for index in nearest)
    return tensor(Clip(pictures, Span(indices[0], len(indices), stride), Crop(), (0, 0), TIME_BASE), spec)
