"""The clips that benchmarks run on: the one shipped, scaled ones, and long small ones."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from saliency_tubes.stream.app.demo import DEMO_CLIP

CLIP = DEMO_CLIP
"""1280x720, 25 fps, 132 frames"""
RATE = Fraction(25)


def scaled(path: Path, width: int, height: int, frames: int) -> Path:
    """The shipped clip in another size, from the start again as often as it takes."""
    with av.open(str(path), "w") as output:
        encoder: Any = output.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "21"})
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        encoder.codec_context.time_base = 1 / RATE
        for index, frame in enumerate(islice(_again_and_again(), frames)):
            made = frame.reformat(width, height, interpolation="BICUBIC")
            made.pts, made.time_base, made.pict_type = index, 1 / RATE, 0
            output.mux(encoder.encode(made))
        output.mux(encoder.encode(None))
    return path


def _again_and_again() -> Iterator[av.VideoFrame]:
    while True:
        with av.open(str(CLIP)) as source:
            yield from source.decode(video=0)


def moving(path: Path, frames: int, width: int = 320, height: int = 240) -> Path:
    """A long clip, quick to make: a fixed texture that wanders."""
    noise = np.random.default_rng(1).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    texture = np.kron(noise, np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as output:
        encoder: Any = output.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            picture = np.roll(texture, (index // 2 % height, index % width), (0, 1))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = index, 1 / RATE
            output.mux(encoder.encode(frame))
        output.mux(encoder.encode(None))
    return path
