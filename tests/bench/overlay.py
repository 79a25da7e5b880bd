"""The overlay alone, against copying the same planes and against the usual OpenCV recipe on RGB."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median

import cv2
import numpy as np
from harness import Row, Setup, interleave, ratio
from saliency_tubes.engine.overlay import Overlay
from saliency_tubes.engine.picture import F64, U8, Layout, Picture
from saliency_tubes.engine.style import COLORMAPS, Style
from saliency_tubes.engine.types import Crop

SIZES = {"480p": (640, 480), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
"""width, height"""
CELLS = 7
STYLE = Style()


def rows(setup: Setup) -> list[Row]:
    """For every size and layout: milliseconds of a frame, and how many times what the two rivals take."""
    found: list[Row] = []
    for name, (width, height) in SIZES.items():
        cells, random = blob(CELLS), np.random.default_rng(1)
        recipe = _Recipe(random.integers(0, 256, (height, width, 3), np.uint8), cells)
        work: dict[str, Callable[[], object]] = {"recipe": recipe}
        for layout in Layout:
            planes = [random.integers(0, 256, shape, np.uint8) for shape in plane_shapes(layout, width, height)]
            work[f"draw {layout.value}"] = partial(Overlay(STYLE).draw, Picture(layout, tuple(planes)), cells, Crop())
            copies = [np.empty_like(plane) for plane in planes]
            work[f"copy {layout.value}"] = partial(_copy, copies, planes)
        times = interleave(work, setup.pick(40, 3), warmup=setup.pick(3))
        found.append(Row(f"overlay: OpenCV recipe, {name} rgb", 1e3 * median(times["recipe"]), "ms"))
        for layout in Layout:
            drawn, what = times[f"draw {layout.value}"], f"{name} {layout.value}"
            found.append(Row(f"overlay: draw, {what}", 1e3 * median(drawn), "ms"))
            found.append(Row(f"overlay: draw / memcpy, {what}", ratio(drawn, times[f"copy {layout.value}"]), "x"))
            found.append(Row(f"overlay: draw / OpenCV recipe, {what}", ratio(drawn, times["recipe"]), "x"))
    return found


def plane_shapes(layout: Layout, width: int, height: int) -> list[tuple[int, ...]]:
    """Of pictures with even sides."""
    half = (height // 2, width // 2)
    shapes: dict[Layout, list[tuple[int, ...]]] = {
        Layout.I420: [(height, width), half, half],
        Layout.NV12: [(height, width), (*half, 2)],
        Layout.RGB: [(height, width, 3)],
    }
    return shapes[layout]


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
