"""Where cells lie: in time, between the slices of a tube; in space, between the pixels of a plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .picture import F64, Layout
from .spline import spline_weights
from .types import Crop, Explanation, Span


def slice_weights(span: Span, slices: int, frame: float, geometry: str = "linear") -> F64:
    """[slices]: the weight of each time slice at a frame.

    linear: interpolates between the centres of the two nearest slices; outside of all centres, the end slice counts
    alone. paper: a cubic spline with the first slice on the window's first frame and the last slice on its last frame.
    """
    if geometry == "paper":
        position = (frame - span.start) / (span.stride * max(span.clip_length - 1, 1)) * (slices - 1)
        return np.asarray(spline_weights(slices, np.clip([position], 0, slices - 1))[0])
    return np.asarray(linear_weights(slices, np.array([span.slice_at(frame, slices)]))[0])


def linear_weights(cells: int, positions: F64) -> F64:
    """[N, cells]: linear interpolation at positions in cells; outside 0..cells - 1 the end cell counts alone."""
    limited = np.clip(positions, 0, cells - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(limited[:, None] - np.arange(cells))))


def blend_cells(parts: Sequence[tuple[Explanation, float]], frame: float, geometry: str = "linear") -> F64:
    """The evidence at one frame, [h, w], scaled for drawing: the sum of each window's slice there times its share.

    linear: limited to 0..1, so that evidence against the class counts as none and does not reduce its neighbours'.
    Evidence that is not a finite number counts as none.
    """
    total = np.zeros(parts[0][0].tube.evidence.shape[1:])
    for explanation, share in parts:
        tube, scale = explanation.tube, explanation.scale
        cells = tube.evidence.astype(np.float64)
        cells = np.where(np.isfinite(cells), cells, min(max(0.0, scale.low), scale.high))
        weights = slice_weights(tube.span, len(cells), frame, geometry)
        cells = (np.tensordot(weights, cells, 1) - scale.low) / (scale.high - scale.low)
        total += share * (cells if geometry == "paper" else np.clip(cells, 0, 1))
    return total


def sample_centers(pixels: int, subsampled: bool) -> F64:
    """Centres of a plane's samples along one axis, in pixels of the frame. A chroma sample covers two pixels, or the
    last one alone where the number is odd."""
    if not subsampled:
        return np.arange(pixels, dtype=np.float64) + 0.5
    first = np.arange(0, pixels, 2)
    return (first + np.minimum(first + 2, pixels)) / 2


def faded_ends(geometry: str, low: float, high: float, pixels: int) -> tuple[int, int]:
    """Whether the first and the last end of a crop [low, high) of `pixels` pixels fade: 1 or 0 cells of zeros to add.

    linear: an end fades if the centre of some pixel lies beyond it, for there the crop cuts the picture. An end at the
    picture's own border, or beyond it, does not fade. paper: no end fades.
    """
    if geometry == "paper":
        return 0, 0
    return int(low * pixels > 0.5), int(high * pixels <= pixels - 0.5)


def axis_positions(
    geometry: str, cells: int, low: float, high: float, pixels: int, subsampled: bool
) -> tuple[int, F64]:
    """Along one axis: the first sample within the crop [low, high) of `pixels` pixels, and where each lies, in cells.

    Cells are counted with the zeros of `faded_ends`. linear: a cell is an area of the crop, and its value is that of
    its centre. A cell of zeros lies on the crop's edge, so that evidence falls to nothing over the outer half of an
    outer cell; at an end that does not fade, the outer half has the cell's own value. paper: the centres of the corner
    cells are the crop's corner pixels.
    """
    centers = sample_centers(pixels, subsampled)
    left, right = low * pixels, high * pixels
    inside = np.flatnonzero((centers >= left) & (centers < right))
    if not len(inside):
        return 0, np.zeros(0)
    centers = centers[inside]
    if geometry == "paper":
        luma = sample_centers(pixels, False)
        luma = luma[(luma >= left) & (luma < right)]
        # A very small crop may hold the centre of a chroma sample and of no pixel.
        corners = luma if len(luma) else centers
        positions = (centers - corners[0]) / max(corners[-1] - corners[0], 1.0) * (cells - 1)
        return int(inside[0]), np.clip(positions, 0, cells - 1)
    across = (centers - left) / (right - left) * cells
    before, after = faded_ends(geometry, low, high, pixels)
    positions = np.clip(across - 0.5, 0, cells - 1)
    positions += before * np.clip(2 * across, 0, 1) + after * np.clip(2 * (across - cells) + 1, 0, 1)
    return int(inside[0]), positions


def axis_weights(geometry: str, cells: int, low: float, high: float, pixels: int, subsampled: bool) -> tuple[int, F64]:
    """`axis_positions` as weights [samples, cells]: linear between cells, or a cubic spline for paper.

    At an end that fades, the weights of a sample add up to less than 1: the rest belongs to the cell of zeros.
    """
    first, positions = axis_positions(geometry, cells, low, high, pixels, subsampled)
    if geometry == "paper":
        return first, spline_weights(cells, positions)
    before, after = faded_ends(geometry, low, high, pixels)
    return first, linear_weights(before + cells + after, positions)[:, before : before + cells]


def plane_weights(
    geometry: str, cells: tuple[int, ...], crop: Crop, size: tuple[int, int], layout: Layout, plane: int
) -> tuple[tuple[int, F64], tuple[int, F64]]:
    """`axis_weights` of the rows and of the columns of one plane of a picture of `size` = (height, width)."""
    subsampled = layout is not Layout.RGB and plane > 0
    rows = axis_weights(geometry, cells[0], crop.top, crop.bottom, size[0], subsampled)
    columns = axis_weights(geometry, cells[1], crop.left, crop.right, size[1], subsampled)
    return rows, columns
