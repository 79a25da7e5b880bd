"""A thin frame around what the network sees of a picture, drawn in the picture's own planes, in place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..picture import U8, Color, Layout, Picture
from ..types import Crop
from .overlay_ref import CHANNELS

LINES_PER_FRAME = 300
"""Height of the picture divided by the thickness of the outline, about."""
DARK, LIGHT = 32, 224
"""Grey levels (RGB) of the outline's outer and inner half: with a dark and a light one it can be seen on anything."""


@dataclass(frozen=True, eq=False)
class Line:
    """A rectangle of one plane in one colour. Those of a picture do not overlap."""

    plane: int
    rows: slice
    columns: slice
    """within the plane"""
    value: U8
    """[channels]: what all of its samples become"""


def draw_outline(picture: Picture, crop: Crop) -> None:
    """Draws a line around the part of the crop that lies in the picture, in place. Where the crop reaches the picture's
    border or goes beyond it, the line runs along the border. A crop outside of the picture draws nothing."""
    for line in outline_lines(picture.layout, picture.color, (picture.height, picture.width), crop):
        picture.planes[line.plane][line.rows, line.columns] = line.value if len(line.value) > 1 else line.value[0]


@lru_cache(maxsize=16)
def outline_lines(layout: Layout, color: Color, size: tuple[int, int], crop: Crop) -> tuple[Line, ...]:
    """The outline of a crop in a picture of `size` = (height, width)."""
    (top, bottom), (left, right) = _extent(crop.top, crop.bottom, size[0]), _extent(crop.left, crop.right, size[1])
    if top >= bottom or left >= right:
        return ()
    half = max(1, round(size[0] / LINES_PER_FRAME / 2))
    outer, inner = (top, left, bottom, right), (top + half, left + half, bottom - half, right - half)
    matrix, offset = (np.eye(3), np.zeros(3)) if layout is Layout.RGB else color.rgb_to_yuv()
    made = list[Line]()
    shapes = layout.shapes(size[::-1])
    for plane, channels in enumerate(CHANNELS[layout]):
        lines = [(outer, half, DARK), (inner, half, LIGHT)]
        if layout is not Layout.RGB and plane:  # all greys have the same chroma
            lines = [((top // 2, left // 2, bottom // 2, right // 2), half, LIGHT)]
        for box, thickness, level in lines:
            value = np.rint(matrix @ np.full(3, float(level)) + offset).astype(np.uint8)[list(channels)]
            made += [Line(plane, *side, value) for side in _sides(box, thickness, shapes[plane])]
    return tuple(made)


def _extent(low: float, high: float, pixels: int) -> tuple[int, int]:
    """First and last + 1 pixel of the crop within the picture, along one axis, rounded to whole chroma samples: the end
    may be one pixel beyond the picture."""
    first, end = max(0, math.ceil(low * pixels - 0.5)), min(pixels, math.ceil(high * pixels - 0.5))
    return first // 2 * 2, (end + 1) // 2 * 2 if end > first else first // 2 * 2


def _sides(box: tuple[int, int, int, int], thickness: int, plane: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Rows and columns of the four sides of a box, as far as they lie in the plane."""
    top, left, bottom, right = box
    bottom, right = max(top, bottom), max(left, right)
    upper, lower = min(top + thickness, bottom), max(bottom - thickness, top)
    before, after = min(left + thickness, right), max(right - thickness, left)
    lower, after = max(lower, upper), max(after, before)  # a thin box: its sides meet
    sides = [(top, upper, left, right), (lower, bottom, left, right)]
    sides += [(upper, lower, left, before), (upper, lower, after, right)]
    cut = [(a, min(b, plane[0]), c, min(d, plane[1])) for a, b, c, d in sides]
    return [(slice(a, b), slice(c, d)) for a, b, c, d in cut if a < b and c < d]
