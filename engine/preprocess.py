"""From a frame to the model's input, and back: which part of the frame the model looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np

from .manifest import InputSpec
from .picture import F32
from .resize import resize
from .types import Clip, Crop, Frame, HostSample, Span


@dataclass(frozen=True)
class Placement:
    """How the frame lies on the model's input."""

    size: tuple[int, int]
    """width, height the frame is resized to"""
    left: int
    """column at which the model's input begins in the resized frame; negative where black bars are added"""
    top: int

    def crop(self, spec: InputSpec) -> Crop:
        (width, height), (rows, columns) = self.size, spec.size
        right, bottom = self.left + columns, self.top + rows
        return Crop(self.left / width, self.top / height, right / width, bottom / height)


def place(width: int, height: int, pixel_aspect: Fraction, spec: InputSpec) -> Placement:
    """Places a frame of width x height pixels by the rule of the spec. Pixels that are not square are made square
    first, as a viewer sees them."""
    rows, columns = spec.size
    shown = (width * float(pixel_aspect), float(height))
    if spec.resize == "letterbox":
        scale = min(columns / shown[0], rows / shown[1])
        size = (max(1, round(shown[0] * scale)), max(1, round(shown[1] * scale)))
        return Placement(size, -((columns - size[0]) // 2), -((rows - size[1]) // 2))
    if spec.resize == "stretch":
        scaled_height, scaled_width = spec.stretch_to or spec.size
    else:
        scale = spec.short_side / min(shown)
        scaled_width, scaled_height = max(round(shown[0] * scale), columns), max(round(shown[1] * scale), rows)
    return Placement((scaled_width, scaled_height), (scaled_width - columns) // 2, (scaled_height - rows) // 2)


def default_stride(spec: InputSpec, rate: Fraction | None) -> int:
    """So many frames apart that samples come at about the rate of the video the model was trained on.

    rate: frames a second of the video at hand; None where it is not known.
    """
    ratio = float(rate) / spec.rate if rate else 1.0
    return max(1, round(spec.stride * ratio))


def sample(frame: Frame, spec: InputSpec) -> HostSample:
    """The part of the frame that the model looks at, of spec.size, and where it lies."""
    height, width = spec.size
    placed = place(frame.picture.width, frame.picture.height, frame.pixel_aspect, spec)
    if spec.resize == "letterbox":
        picture = np.zeros((3, height, width), np.uint8).transpose(1, 2, 0)
        inner_width, inner_height = placed.size
        area = np.s_[-placed.top : inner_height - placed.top, -placed.left : inner_width - placed.left]
        picture[area] = resize(frame.picture, placed.size, (0, 0, *placed.size))
    else:
        picture = resize(frame.picture, placed.size, (placed.left, placed.top, width, height))
    return HostSample(picture, placed.crop(spec))


class HostSampler:
    """Takes samples of frames in the host's memory."""

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec

    def put(self, frame: Frame) -> HostSample:
        """The network's view of one more frame, in memory of its own."""
        return sample(frame, self._spec)


def tensor(clips: Sequence[Clip], spec: InputSpec, out: F32 | None = None) -> F32:
    """The clips as the model's input [N, 3, T, H, W] float32: (value / 255 - mean) / std for each channel.

    out: memory of that shape to be filled; None: new memory, which the system takes as long to give as it is to fill.
    """
    shape = (len(clips), 3, len(clips[0].samples), *spec.size)
    made = np.empty(shape, np.float32) if out is None else out
    if made.shape != shape:
        raise ValueError(f"out must be of shape {shape}, got {made.shape}")
    tables = _tables(spec)
    for clip, part in zip(clips, made, strict=True):
        for t, one in enumerate(clip.samples):
            pixels = one.pixels
            for channel, table in enumerate(tables):
                cv2.LUT(pixels[..., channel], table, dst=part[channel, t])
    return made


def black_clip(spec: InputSpec, clip_length: int) -> Clip:
    """A clip of `clip_length` black samples, for runs whose outputs nobody needs."""
    black = HostSample(np.zeros((*spec.size, 3), np.uint8))
    return Clip((black,) * clip_length, Span(0, clip_length), black.crop, (0, clip_length - 1), Fraction(1))


@lru_cache(maxsize=8)
def _tables(spec: InputSpec) -> list[F32]:
    """For each channel a table [256]: the number that each byte becomes."""
    values = np.arange(256) / 255
    return [((values - mean) / std).astype(np.float32) for mean, std in zip(spec.mean, spec.std, strict=True)]
