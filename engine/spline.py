"""Cubic spline interpolation as scipy.ndimage.zoom does it, as matrices: the authors' geometry, without scipy.

A spline through n samples is linear in them, so interpolation at given coordinates is one matrix [coordinates, n], and
a 3D zoom is three of them. Definition: M. Unser, "Splines: a perfect fit for signal and image processing", IEEE Signal
Processing Magazine 16(6), 1999; samples are mirrored at both ends.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .picture import F64


def spline_weights(cells: int, coordinates: F64) -> F64:
    """[N, cells]: row i interpolates at coordinates[i], in cells, 0 the first sample and cells - 1 the last."""
    if cells == 1:
        return np.ones((len(coordinates), 1))
    base = np.floor(coordinates).astype(int)
    offset = coordinates - base
    taps = np.zeros((len(coordinates), cells))
    rows = np.arange(len(coordinates))
    for step in range(-1, 3):
        np.add.at(taps, (rows, _mirror(base + step, cells)), _bspline(offset - step))
    return np.asarray(taps @ _coefficients(cells))


@lru_cache(maxsize=64)
def zoom_weights(cells: int, count: int) -> F64:
    """[count, cells]: zoom from `cells` samples to `count`, first on first and last on last."""
    return spline_weights(cells, np.linspace(0, cells - 1, count) if count > 1 else np.zeros(1))


@lru_cache(maxsize=64)
def _coefficients(cells: int) -> F64:
    """[cells, cells]: from samples to the B-spline coefficients that pass through them."""
    samples = np.zeros((cells, cells))
    rows = np.arange(cells)
    for step, value in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
        np.add.at(samples, (rows, _mirror(rows + step, cells)), value)
    return np.asarray(np.linalg.inv(samples), np.float64)


def _mirror(index: npt.NDArray[np.int_], cells: int) -> npt.NDArray[np.int_]:
    """Indices outside 0..cells - 1 reflected at the centres of the end samples."""
    period = 2 * (cells - 1)
    folded = np.abs(index) % period
    return np.asarray(np.minimum(folded, period - folded), np.int_)


def _bspline(distance: F64) -> F64:
    """The cubic B-spline."""
    d = np.abs(distance)
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.where(d < 2, (2 - d) ** 3 / 6, 0.0))
