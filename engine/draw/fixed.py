"""The overlay's tables in fixed point, as kernels/arithmetic.h takes them: what each level does to a sample, and where
samples lie between cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..geometry import axis_positions, faded_ends
from ..picture import F32, F64, Color, Layout
from ..spline import spline_coefficients, spline_taps
from .style import Style, palette

U16 = npt.NDArray[np.uint16]
Record = npt.NDArray[np.void]

ONE = 255 * 256
"""The fixed-point number for evidence 1.0."""
COEFFICIENT_LIMIT = 1 << 22
"""Maximum absolute value of a spline's coefficients in fixed point."""
TABLE = np.dtype(
    [
        ("keep", "i4", 256),
        ("offset", "i4", (3, 256)),
        ("keep8", "u1", 256),
        ("add8", "u1", (3, 256)),
        ("first", "i4"),
        ("bias", "i4"),
        ("top", "i4"),
        ("bytes", "i4"),
        ("unused", "u1", 64),
    ]
)
"""struct Table of kernels/arithmetic.h"""


def table(style: Style, layout: Layout, color: Color, bits: int = 8) -> Record:
    """A style as one record of `TABLE`: sample -> (keep * sample + offset) >> 8 for each level that draws.

    bits: 8 or 10 for each sample. If samples are bytes and nothing is added to the whole picture (`Style.add`), the
    result equals `add8 + ((keep8 * (sample - 128)) >> 8)`; these two tables of bytes are what SIMD looks up. A level so
    faint that it would leave the sample as it is is not drawn.
    """
    exact = palette(style, layout, color)
    made = np.zeros((), TABLE)
    keep = np.rint(256 * exact.keep).astype(int)
    # The palette rounds by half a sample of 8 bits, which would be two samples of ten bits.
    half = 0.0 if layout is Layout.RGB and not style.soft else 0.5
    add = ((exact.add - half) * (1 << bits - 8) + half).T
    made["first"], made["bias"], made["top"] = exact.first, round(256 * exact.level_bias), (1 << bits) - 1
    if style.add:
        offset = 256 * np.floor(add).astype(int)
    elif bits > 8 or style.focus:  # bytes would be one off, also where all of the picture is to be kept
        offset = np.rint(256 * add).astype(int)
    else:
        drawn = np.flatnonzero(keep[exact.first :] < 256)
        made["first"] = exact.first + drawn[0] if len(drawn) else 256
        keep = np.minimum(keep, 255)
        # The results for samples 0 and 255 must be bytes too.
        least, most = -(-128 * keep // 256), 255 - 127 * keep // 256
        add8 = np.clip(np.rint(add + keep / 2).astype(int), least, most)
        offset = 256 * add8 - 128 * keep
        made["keep8"], made["add8"], made["bytes"] = keep, add8, 1
    made["keep"], made["offset"] = keep, offset
    return made


def axis_places(
    geometry: str, is_rows: bool, cells: int, low: float, high: float, pixels: int, subsampled: bool
) -> tuple[int, U16]:
    """Along one axis of a plane: its first sample in the crop, and where each sample lies between cells.

    The cells of zeros around the crop are counted. As `geometry.axis_positions`, in the form of `linear_rows`,
    `linear_columns` or `cubic_taps`.
    """
    first, positions = axis_positions(geometry, cells, low, high, pixels, subsampled)
    if geometry != "linear":
        return first, cubic_taps(positions, cells)
    counted = cells + sum(faded_ends(geometry, low, high, pixels))
    return first, linear_rows(positions, counted) if is_rows else linear_columns(positions, counted)


def linear_columns(positions: F64, cells: int) -> U16:
    """[2, N] of positions in cells: the cell, and the fraction towards the next in 65536ths."""
    return _split(np.rint(positions * 65536).astype(int), 16, cells - 1)


def linear_rows(positions: F64, cells: int) -> U16:
    """[2, N] of positions in cells: the half step, and the fraction of it in 32768ths."""
    return _split(np.rint(positions * 2 * 32768).astype(int), 15, 2 * (cells - 1))


def cubic_taps(positions: F64, cells: int) -> U16:
    """[8, N] of positions in cells: four coefficients of a spline, and their weights in 32768ths, which add up."""
    index, exact = spline_taps(cells, positions)
    weights = np.rint(exact * 32768).astype(int)
    weights[exact.argmax(axis=0), np.arange(len(positions))] += 32768 - weights.sum(axis=0)
    return np.ascontiguousarray(np.concatenate([index, weights]), np.uint16)


def cubic_cells(cells: F32 | F64) -> npt.NDArray[np.int32]:
    """The coefficients of a spline through evidence [h, w], in units of 1 / ONE."""
    height, width = cells.shape
    exact = spline_coefficients(height) @ cells @ spline_coefficients(width).T
    return np.asarray(np.clip(np.rint(ONE * exact), -COEFFICIENT_LIMIT, COEFFICIENT_LIMIT), np.int32)


def _split(fixed: npt.NDArray[np.int_], bits: int, last: int) -> U16:
    """Whole part and fraction of each number; at `last`, after which there is no other, the fraction is 0."""
    fixed = np.clip(fixed, 0, last << bits)
    return np.ascontiguousarray([fixed >> bits, fixed & ((1 << bits) - 1)], np.uint16)
