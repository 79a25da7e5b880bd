"""The overlay's definition, in float64. Slow, plain, and what every other path is measured against."""

from __future__ import annotations

import numpy as np

from ..geometry import plane_weights
from ..picture import F64, Layout, Picture
from ..types import Crop
from .style import Style, palette

CHANNELS = {Layout.RGB: ((0, 1, 2),), Layout.I420: ((0,), (1,), (2,)), Layout.NV12: ((0,), (1, 2))}
"""For each plane, the columns of the palette (R, G, B or Y, U, V) that it holds."""


def overlay_ref(picture: Picture, cells: F64, crop: Crop, style: Style) -> None:
    """Draws evidence on a picture, in place.

    cells: [h, w] over the crop, 0..1; cells that are not numbers draw nothing. The evidence at the centre of each
    sample of each plane gives one of 256 levels, and the palette says what that level does to the sample.
    """
    table = palette(style, picture.layout, picture.color)
    for index, plane in enumerate(picture.planes):
        size = (picture.height, picture.width)
        (top, down), (left, across) = plane_weights(style.geometry, cells.shape, crop, size, picture.layout, index)
        evidence = np.nan_to_num(down @ cells @ across.T, nan=0.0, posinf=0.0, neginf=0.0)
        level = np.floor(255 * np.clip(evidence, 0, 1) + table.level_bias).astype(int)
        part = plane[top : top + level.shape[0], left : left + level.shape[1]]
        columns = CHANNELS[picture.layout][index]
        samples = part.reshape(*level.shape, len(columns))
        for channel, column in enumerate(columns):
            drawn = np.floor(table.keep[level] * samples[..., channel] + table.add[level, column])
            samples[..., channel] = np.where(level < table.first, samples[..., channel], np.clip(drawn, 0, 255))
