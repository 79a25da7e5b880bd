"""From a frame to the model's input, and back: which part of the frame the model looks at."""

from __future__ import annotations

import numpy as np

from .manifest import InputSpec
from .picture import F32, U8
from .types import Clip, Crop, Frame


def sample(frame: Frame, spec: InputSpec) -> tuple[U8, Crop]:
    """The frame as the model wants it, RGB [H, W, 3] uint8 with H, W = spec.size, and where in the frame that is.

    Pixels that are not square are made so first: the model sees the picture as a viewer does.
    """
    height, width = spec.size
    shown = (frame.picture.width * float(frame.pixel_aspect), float(frame.picture.height))
    if spec.resize == "letterbox":
        return _letterbox(frame, shown, width, height)
    if spec.resize == "stretch":
        scaled_height, scaled_width = spec.stretch_to or spec.size
    else:
        scale = spec.short_side / min(shown)
        scaled_width, scaled_height = max(round(shown[0] * scale), width), max(round(shown[1] * scale), height)
    left, top = (scaled_width - width) // 2, (scaled_height - height) // 2
    picture = frame.picture.rgb((scaled_width, scaled_height))[top : top + height, left : left + width]
    crop = Crop(left / scaled_width, top / scaled_height, (left + width) / scaled_width, (top + height) / scaled_height)
    return np.ascontiguousarray(picture), crop


def _letterbox(frame: Frame, shown: tuple[float, float], width: int, height: int) -> tuple[U8, Crop]:
    scale = min(width / shown[0], height / shown[1])
    inner = (max(1, round(shown[0] * scale)), max(1, round(shown[1] * scale)))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    picture = np.zeros((height, width, 3), np.uint8)
    picture[top : top + inner[1], left : left + inner[0]] = frame.picture.rgb(inner)
    crop = Crop(-left / inner[0], -top / inner[1], (width - left) / inner[0], (height - top) / inner[1])
    return picture, crop


def tensor(clip: Clip, spec: InputSpec) -> F32:
    """The clip as the model's input [1, 3, T, H, W] float32: (value / 255 - mean) / std for each channel."""
    pictures = np.stack(clip.samples)
    out = np.empty((1, 3, *pictures.shape[:3]), np.float32)
    for channel, (mean, std) in enumerate(zip(spec.mean, spec.std, strict=True)):
        np.multiply(pictures[..., channel], np.float32(1 / (255 * std)), out=out[0, channel])
        out[0, channel] -= np.float32(mean / std)
    return out
