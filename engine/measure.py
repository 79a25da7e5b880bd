"""Numbers about a tube, in frame coordinates: where it peaks, where its weight lies, what stands out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .geometry import linear_weights
from .picture import F64
from .saliency import finite
from .types import Crop, Scale, Tube

FINENESS = 9
"""Boxes are measured on a grid that is this many times finer than the cells, interpolated as evidence is drawn. The
number is odd, so that the cells' centres are points of the grid."""

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels of the frame; right and bottom exclusive"""


@dataclass(frozen=True)
class Peak:
    """The strongest cell of some slices."""

    slice: int
    """counted from the tube's first slice, 0"""
    frame: float
    """the frame number at the slice's centre"""
    x: float
    """the cell's centre, in pixels of the frame"""
    y: float
    evidence: float
    """logits"""


def peak(tube: Tube, size: tuple[int, int], *, all_slices: bool = False) -> Peak:
    """The strongest cell of the slices that can be trusted, in a frame of `size` = (width, height).

    all_slices: search the whole tube instead. In the slices that cannot be trusted, padding often makes a corner cell
    the strongest one.
    """
    first = 0 if all_slices else tube.trusted[0]
    cells = finite(tube.evidence if all_slices else tube.trusted_evidence)
    t, y, x = (int(i) for i in np.unravel_index(int(np.argmax(cells)), cells.shape))
    slices, height, width = tube.evidence.shape
    px, py = _pixel(tube.crop, size, (x + 0.5) / width, (y + 0.5) / height)
    return Peak(first + t, tube.span.slice_center(first + t, slices), px, py, float(cells[t, y, x]))


def centroids(tube: Tube, size: tuple[int, int]) -> list[tuple[float, float] | None]:
    """For each slice the centre of mass of its positive evidence, in pixels; None where there is none."""
    cells = np.maximum(finite(tube.evidence), 0)
    _, height, width = cells.shape
    out: list[tuple[float, float] | None] = []
    for slice_ in cells:
        total = slice_.sum()
        if total > 0:
            x = float(slice_.sum(axis=0) @ (np.arange(width) + 0.5)) / total / width
            y = float(slice_.sum(axis=1) @ (np.arange(height) + 0.5)) / total / height
            out.append(_pixel(tube.crop, size, x, y))
        else:
            out.append(None)
    return out


def shares(tube: Tube) -> list[float]:
    """For each slice its share of the tube's positive evidence, weighted as the head pools it. The shares sum to 1; all
    are 0 if there is no positive evidence."""
    positive = (np.maximum(finite(tube.evidence), 0) * tube.pool).sum(axis=(1, 2))
    total = positive.sum()
    return [float(value) for value in positive / total] if total > 0 else [0.0] * len(positive)


def boxes(tube: Tube, scale: Scale, threshold: float, size: tuple[int, int]) -> list[list[Box]]:
    """For each slice the boxes around connected evidence of `threshold` or more after scaling, largest first."""
    cells = np.clip((finite(tube.evidence) - scale.low) / (scale.high - scale.low), 0, 1)
    rows, columns = (_finer(count) for count in cells.shape[1:])
    return [_boxes(rows @ slice_ @ columns.T >= threshold, tube.crop, size) for slice_ in cells]


def _boxes(strong: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], crop: Crop, size: tuple[int, int]) -> list[Box]:
    height, width = strong.shape
    count, _, stats, _ = cv2.connectedComponentsWithStats(strong.astype(np.uint8), connectivity=8)
    boxes: list[Box] = []
    for left, top, across, down, _ in stats[1:count].tolist():
        x0, y0 = _pixel(crop, size, left / width, top / height)
        x1, y1 = _pixel(crop, size, (left + across) / width, (top + down) / height)
        box = (max(0, round(x0)), max(0, round(y0)), min(size[0], round(x1)), min(size[1], round(y1)))
        if box[0] < box[2] and box[1] < box[3]:  # a box within the letterbox bars is not in the frame
            boxes.append(box)
    return sorted(boxes, key=lambda box: (-(box[2] - box[0]) * (box[3] - box[1]), box))


def _finer(cells: int) -> F64:
    fine = (np.arange(cells * FINENESS) + 0.5) / FINENESS - 0.5
    return linear_weights(cells, fine)


def _pixel(crop: Crop, size: tuple[int, int], x: float, y: float) -> tuple[float, float]:
    """From 0..1 across the crop to pixels of the frame."""
    return (
        (crop.left + x * (crop.right - crop.left)) * size[0],
        (crop.top + y * (crop.bottom - crop.top)) * size[1],
    )
