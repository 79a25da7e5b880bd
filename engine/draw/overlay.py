"""The overlay: draws evidence on a picture in its own planes, in place. Defined by overlay_ref, in 16-bit fixed point.

One of several paths computes it, chosen once: the best of the compiled ones in kernels/ that this processor can run, or
NumPy and OpenCV if the package was installed without a C++ compiler. All compiled paths give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ..errors import UsageError
from ..geometry import blend_cells, faded_ends, slice_weights
from ..picture import F32, F64, U8, Color, Layout, Picture
from ..types import Crop, Explanation
from .fixed import U16, Record, axis_places, cubic_cells, table
from .focus import focused
from .overlay_numpy import NumPyOverlay
from .overlay_ref import CHANNELS
from .style import Style

try:
    from .. import _overlay as _compiled
except ImportError:
    _compiled = None  # type: ignore[assignment]


TITLES = {
    "avx512": "C++, AVX-512 VBMI",
    "avx2": "C++, AVX2",
    "neon": "C++, NEON",
    "generic": "C++, no SIMD",
    "numpy": "NumPy and OpenCV",
}
"""Names of the paths, with what they compute by, for people."""

Run = Callable[[Callable[[int], int], Iterable[int]], Iterable[int]]


def paths() -> tuple[str, ...]:
    """The paths on the CPU that work here, the fastest first; TITLES has all of them."""
    return (*(_compiled.paths() if _compiled else ()), "numpy")


def check_path(path: str) -> None:
    """Raises UsageError for what is neither auto nor one of `paths()`."""
    known = paths()
    if path not in ("auto", *known):
        missing = ", which is not to be had here" if path in TITLES else ""
        raise UsageError(f"overlay must be one of auto, {', '.join(known)}, got {path!r}{missing}")


class Overlay:
    """Draws in one style. Keeps tables between calls; not for several threads at once.

    path: auto or one of `paths()`. bands: the number of bands of rows that a frame is drawn in, each by one call. run:
    makes these calls, such as the `map` of a pool of threads; several bands help from 1080p on, without AVX-512. Raises
    UsageError for a path that does not work here.
    """

    def __init__(self, style: Style, path: str = "auto", *, bands: int = 1, run: Run = map) -> None:
        check_path(path)
        known = paths()
        self.style, self.path = style, known[0] if path == "auto" else path
        self.not_finite = 0
        """number of cells so far whose evidence was not a finite number; they are drawn as no evidence"""
        self._number = known.index(self.path) if self.path in known else -1
        self._bands, self._run = bands, run
        self._numpy = NumPyOverlay(style.geometry) if self.path == "numpy" else None

    @property
    def description(self) -> str:
        """What the overlay computes by, as printed at start-up."""
        compiled = "" if _compiled else " (installed without a C++ compiler: several times slower)"
        return TITLES[self.path] + compiled

    def blend(self, parts: Sequence[tuple[Explanation, float]], frame: float, opacity: float = 1.0) -> F32 | F64:
        """`geometry.blend_cells`, the evidence [h, w] at one frame, times `opacity`."""
        if self._numpy or not _compiled or self.style.geometry != "linear":
            cells, odd = weighed_cells(self.style, parts, frame, opacity)
            self.not_finite += odd
            return cells
        blended = np.empty(parts[0][0].tube.evidence.shape[1:], np.float32)
        self.not_finite += _compiled.blend([_part(*part, frame, opacity) for part in parts], blended)
        return blended

    def draw(self, picture: Picture, cells: F32 | F64, crop: Crop) -> None:
        """Draws evidence [h, w], 0..1, over the crop, in place. Cells that are not finite numbers draw nothing.

        Raises ValueError for cells that are not [h, w] and for planes that cannot be written.
        """
        if cells.ndim != 2 or not cells.size:
            raise ValueError(f"cells must be [h, w], got {cells.shape}")
        if not all(plane.flags.writeable for plane in picture.planes):
            raise ValueError("the planes of the picture must be writable: draw on picture.copy()")
        style = self.style
        made = _table(style, picture.layout, picture.color)
        if self._numpy or style.geometry != "linear":
            finite = np.isfinite(cells)
            self.not_finite += int(cells.size - np.count_nonzero(finite))
            cells = np.where(finite, cells, 0)
        if self._numpy:
            self._numpy.draw(picture, cells.astype(np.float64), crop, made)
            return
        size = (picture.height, picture.width)
        ring, places = _places(style.geometry, cells.shape, crop, size, picture.layout)
        values: Any = _ringed(cells, ring) if style.geometry == "linear" else cubic_cells(cells)
        if self._bands == 1:
            odd = _compiled.draw(self._number, picture.planes, places, values, made, 0, 1)
        else:
            band = partial(self._band, picture.planes, places, values, made)
            odd, *_ = self._run(band, range(self._bands))
        self.not_finite += odd

    def _band(self, planes: tuple[U8, ...], places: tuple[_Place, ...], cells: Any, made: Record, band: int) -> int:
        return _compiled.draw(self._number, planes, places, cells, made, band, self._bands)


def weighed_cells(
    style: Style, parts: Sequence[tuple[Explanation, float]], frame: float, opacity: float = 1.0
) -> tuple[F64, int]:
    """`geometry.blend_cells`, the evidence [h, w] at one frame, times `opacity`; and the number of cells whose evidence
    was not a finite number. For all but the compiled path of linear geometry."""
    odd = sum(_count_odd(part, frame, style.geometry) for part, _ in parts)
    cells = blend_cells(parts, frame, style.geometry)
    return (focused(cells, opacity) if style.focus else opacity * cells), odd


_Place = tuple[int, int, U16, U16, int]
"""Where a plane's samples lie between cells: top, left, rows, columns, and the index of the plane's first channel."""
_Ring = tuple[tuple[int, int], tuple[int, int]]
"""Numbers of rows of zeros above and below the cells, and of columns of zeros at the left and at the right."""


@lru_cache(maxsize=64)
def _places(
    geometry: str, cells: tuple[int, int], crop: Crop, size: tuple[int, int], layout: Layout
) -> tuple[_Ring, tuple[_Place, ...]]:
    down, across = (crop.top, crop.bottom, size[0]), (crop.left, crop.right, size[1])
    made = []
    for plane, channels in enumerate(CHANNELS[layout]):
        subsampled = layout is not Layout.RGB and plane > 0
        top, rows = axis_places(geometry, True, cells[0], *down, subsampled)
        left, columns = axis_places(geometry, False, cells[1], *across, subsampled)
        made.append((top, left, rows, columns, channels[0]))
    return (faded_ends(geometry, *down), faded_ends(geometry, *across)), tuple(made)


def _ringed(cells: F32 | F64, ring: _Ring) -> F32:
    """The cells, surrounded by a ring of zeros."""
    if ring == ((0, 0), (0, 0)):
        return np.ascontiguousarray(cells, np.float32)
    (above, below), (before, after) = ring
    height, width = cells.shape
    made = np.zeros((above + height + below, before + width + after), np.float32)
    made[above : above + height, before : before + width] = cells
    return made


@lru_cache(maxsize=16)
def _table(style: Style, layout: Layout, color: Color) -> Record:
    return table(style, layout, color)


def _count_odd(explanation: Explanation, frame: float, geometry: str) -> int:
    """The number of cells that are not finite numbers in the slices that count at a frame."""
    evidence = explanation.tube.evidence
    used = slice_weights(explanation.tube.span, len(evidence), frame, geometry) != 0
    return int((~np.isfinite(evidence[used])).any(axis=0).sum())


def _part(explanation: Explanation, share: float, frame: float, opacity: float) -> tuple[Any, ...]:
    """An explanation's part of a frame, as `_overlay.blend` takes it."""
    tube, scale = explanation.tube, explanation.scale
    slices = len(tube.evidence)
    position = min(max(tube.span.slice_at(frame, slices), 0.0), slices - 1.0)
    none = min(max(0.0, scale.low), scale.high)
    evidence = np.ascontiguousarray(tube.evidence, np.float32)
    return evidence, int(position), position % 1, scale.low, 1 / (scale.high - scale.low), none, opacity * share
