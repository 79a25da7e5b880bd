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
    """[N, cells]: row i interpolates at coordinates[i], where 0 is the first sample and cells - 1 the last."""
    index, weights = spline_taps(cells, coordinates)
    taps = np.zeros((len(coordinates), cells))
    np.add.at(taps, (np.arange(len(coordinates)), index), weights)
    return np.asarray(taps @ spline_coefficients(cells))


def spline_taps(cells: int, coordinates: F64) -> tuple[npt.NDArray[np.int_], F64]:
    """The indices of the four coefficients that make the spline's value at each coordinate, and their weights: two
    arrays [4, N]."""
    base = np.floor(coordinates).astype(int)
    steps = np.arange(-1, 3)[:, None]
    return _mirror(base + steps, cells), _bspline(coordinates - base - steps)


@lru_cache(maxsize=64)
def zoom_weights(cells: int, count: int) -> F64:
    """[count, cells]: zoom from `cells` samples to `count`; the first and the last sample stay at the ends."""
    return spline_weights(cells, np.linspace(0, cells - 1, count) if count > 1 else np.zeros(1))


@lru_cache(maxsize=64)
def spline_coefficients(cells: int) -> F64:
    """[cells, cells]: from samples to the coefficients of the B-spline that passes through them."""
    samples = np.zeros((cells, cells))
    rows = np.arange(cells)
    for step, value in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
        np.add.at(samples, (rows, _mirror(rows + step, cells)), value)
    return np.asarray(np.linalg.inv(samples), np.float64)


def _mirror(index: npt.NDArray[np.int_], cells: int) -> npt.NDArray[np.int_]:
    """Indices outside 0..cells - 1 reflected at the centres of the end samples."""
    period = max(2 * (cells - 1), 1)
    folded = np.abs(index) % period
    return np.asarray(np.minimum(folded, period - folded), np.int_)


def _bspline(distance: F64) -> F64:
    """The cubic B-spline at a distance from its centre."""
    d = np.abs(distance)
    return np.where(d < 1, 2 / 3 - d**2 + d**3 / 2, np.where(d < 2, (2 - d) ** 3 / 6, 0.0))
