"""The overlay alone, on one thread, by every path there is: against copying the same planes, and against the usual
OpenCV recipe on RGB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from statistics import median

import cv2
import numpy as np
from harness import Row, Setup, Target, interleave, ratio
from saliency_tubes.engine.draw.overlay import Overlay, paths
from saliency_tubes.engine.draw.style import COLORMAPS, Style
from saliency_tubes.engine.picture import F64, U8, Layout, Picture
from saliency_tubes.engine.types import Crop

SIZES = {"480p": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
"""width, height"""
CELLS = 7
STYLE = Style(alpha=0.5)
COVERAGES = {"full": Style(alpha=0.5, threshold=0.0), "46 %": STYLE}
"""what is drawn on: everything; what is above a threshold of 0.2"""
TARGETS = {
    ("avx512", "1080p rgb full", "memcpy"): 1.15,
    ("avx512", "1080p rgb 46 %", "memcpy"): 0.9,
    ("avx512", "1080p nv12 full", "memcpy"): 1.6,
    ("avx512", "1080p rgb full", "OpenCV recipe"): 1 / 10,
    ("avx512", "4K rgb full", "memcpy"): 1.15,
    ("avx2", "1080p rgb full", "memcpy"): 4.5,
    ("avx2", "1080p rgb full", "OpenCV recipe"): 1 / 2.5,
    ("avx2", "4K rgb full", "memcpy"): 4.5,
}
FAST = ("avx512", "480p rgb full", 60.0)
"""path, what, and microseconds it may take"""
CALL = 10.0
"""microseconds of a call beyond its pixels"""


def rows(setup: Setup) -> list[Row]:
    """For every path, size and layout: microseconds of a frame, and how many times what the two rivals take."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        cases = product(SIZES, Layout, COVERAGES)
        found = [row for case in cases for row in _case_rows(setup, *case)]
    finally:
        cv2.setNumThreads(threads)
    return found + _call_rows(setup)


def _case_rows(setup: Setup, size: str, layout: Layout, coverage: str) -> Iterator[Row]:
    """The paths draw on one picture, so that it and the rivals' buffers stay in the cache where a frame would."""
    width, height = SIZES[size]
    random = np.random.default_rng(1)
    cells = 0.1 + 0.9 * blob(CELLS) if coverage == "full" else blob(CELLS)
    planes = tuple(random.integers(0, 256, shape, np.uint8) for shape in layout.shapes((width, height)))
    picture, copies = Picture(layout, planes), tuple(np.empty_like(plane) for plane in planes)
    work: dict[str, Callable[[], object]] = {"memcpy": partial(_copy, copies, planes)}
    for path in _measured():
        work[path] = partial(Overlay(COVERAGES[coverage], path).draw, picture, cells, Crop())
    if layout is Layout.RGB:
        work["OpenCV recipe"] = _Recipe(planes[0], cells)
    times = interleave(work, setup.pick(60, 3), warmup=setup.pick(3))
    what = f"{size} {layout.value} {coverage}"
    for path in _measured():
        limit = FAST[2] if (path, what) == FAST[:2] and not setup.quick else None
        yield Row(f"overlay {path}: {what}", 1e6 * median(times[path]), "us", limit and Target(limit))
        for rival in sorted(set(work) - set(_measured())):
            limit = None if setup.quick else TARGETS.get((path, what, rival))
            taken = ratio(times[path], times[rival])
            yield Row(f"overlay {path}: {what} / {rival}", taken, "x", limit and Target(limit))


def _call_rows(setup: Setup) -> list[Row]:
    """A picture of four pixels: what is left is the call."""
    planes = tuple(np.zeros(shape, np.uint8) for shape in Layout.I420.shapes((2, 2)))
    cells, work = blob(CELLS).astype(np.float32), {}
    for path in _measured():
        work[path] = partial(Overlay(STYLE, path).draw, Picture(Layout.I420, planes), cells, Crop())
    times = interleave(work, setup.pick(2000, 20), warmup=setup.pick(20))
    limits = {path: Target(CALL) for path in work if path != "numpy" and not setup.quick}
    return [Row(f"overlay {path}: a call", 1e6 * median(times[path]), "us", limits.get(path)) for path in work]


def _measured() -> tuple[str, ...]:
    """All but the plain C++, which is for comparison of bytes, not of times."""
    return tuple(path for path in paths() if path != "generic" or len(paths()) == 2)


def blob(cells: int) -> F64:
    """Evidence [cells, cells] as real tubes have it: one soft peak, nothing around; about half the frame is drawn."""
    y, x = np.mgrid[:cells, :cells] - (cells - 1) / 2
    return np.asarray(np.exp(-(x**2 + y**2) / (0.32 * cells) ** 2 * 1.4), np.float64)


class _Recipe:
    """What users write: resize the map, look colours up, add the two pictures; every buffer allocated before."""

    def __init__(self, picture: U8, cells: F64) -> None:
        height, width = picture.shape[:2]
        self._picture, self._size = picture, (width, height)
        self._map = np.clip(255 * cells, 0, 255).astype(np.uint8)
        self._large = np.empty((height, width), np.uint8)
        self._heat, self._out = np.empty_like(picture), np.empty_like(picture)

    def __call__(self) -> None:
        cv2.resize(self._map, self._size, dst=self._large, interpolation=cv2.INTER_LINEAR)
        cv2.applyColorMap(self._large, COLORMAPS[STYLE.colormap], dst=self._heat)
        cv2.addWeighted(self._picture, 1 - STYLE.alpha, self._heat, STYLE.alpha, 0, dst=self._out)


def _copy(targets: list[U8], sources: list[U8]) -> None:
    for target, source in zip(targets, sources, strict=True):
        np.copyto(target, source)
