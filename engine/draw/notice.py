"""The picture that is shown while a camera is away: its last one without colour, and a line that says so. Pure."""

from __future__ import annotations

import cv2
import numpy as np

from ..picture import F32, U8, Layout, Picture
from .lettering import lettering, width_of

DIMMED = 0.45
"""Factor for the brightness of the last picture: it can still be recognised, and is not taken for the present."""
LINES_PER_FRAME = 18
"""Height of the frame divided by the height of capitals, which are at least SMALLEST pixels high."""
SMALLEST = 9
WIDEST = 0.9
"""Maximum part of the frame's width that the line takes."""
BAND = 0.2
"""Factor for the brightness of the picture behind the line."""


def notice(picture: Picture, text: str, pixel_aspect: float = 1.0) -> Picture:
    """A new picture of the same size, layout and colour: `picture` in dark grey, and `text` across its middle.

    pixel_aspect: width / height of one pixel as it is to be shown.
    """
    low, high = (0, 255) if picture.layout is Layout.RGB or picture.color.full_range else (16, 235)
    source = picture.planes[0]
    luma = cv2.cvtColor(source, cv2.COLOR_RGB2GRAY) if picture.layout is Layout.RGB else source
    grey = low + (np.asarray(luma, np.float32) - low) * DIMMED
    _write(grey, text, pixel_aspect, low, high)
    return _picture(picture, np.clip(grey + 0.5, 0, 255).astype(np.uint8))


def _write(grey: F32, text: str, pixel_aspect: float, low: int, high: int) -> None:
    """Draws the line on a band that reaches from edge to edge, in place."""
    height, width = grey.shape
    size = float(max(SMALLEST, height / LINES_PER_FRAME))
    room, needed = WIDEST * width * pixel_aspect, width_of(text, size)
    letters = lettering(text, size if needed <= room else max(2.0, size * room / needed))
    shown = max(1, min(width, round(letters.shape[1] / pixel_aspect)))
    resized = cv2.resize(letters, (shown, letters.shape[0]), interpolation=cv2.INTER_AREA)
    letters = np.asarray(resized, np.float32)[:height]
    pad = max(2, letters.shape[0] // 2)
    top, left = (height - letters.shape[0]) // 2, (width - shown) // 2
    band = grey[max(0, top - pad) : top + letters.shape[0] + pad]
    band[:] = low + (band - low) * BAND / DIMMED
    part = grey[top : top + letters.shape[0], left : left + shown]
    part[:] = part * (1 - letters) + high * letters


def _picture(like: Picture, luma: U8) -> Picture:
    if like.layout is Layout.RGB:
        return Picture(like.layout, (np.repeat(luma[..., None], 3, axis=2),), like.color)
    chroma = tuple(np.full_like(plane, 128, order="C") for plane in like.planes[1:])
    return Picture(like.layout, (luma, *chroma), like.color)
