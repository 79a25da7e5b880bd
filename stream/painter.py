"""Draws what was placed on a frame: its tube, and the class above it. One thread's; the look may change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ..engine.caption import Caption, draw_caption
from ..engine.overlay import Overlay
from ..engine.style import Style
from ..engine.types import Shown
from .sync import Placed


class Painter:
    """Draws in place, by one path of `engine.overlay`, the frame in as many bands as it has threads."""

    def __init__(self, style: Style, path: str = "auto", threads: int = 1) -> None:
        """Raises UsageError for a style or a path that nothing here can draw."""
        self._path, self._threads = path, threads
        self._pool = ThreadPoolExecutor(threads, "saliency-tubes overlay")
        self._not_finite = 0
        self.overlay = self._make(style)

    @property
    def not_finite(self) -> int:
        """values of evidence that were no finite numbers, and drawn as none"""
        return self._not_finite + self.overlay.not_finite

    def paint(self, placed: Placed, style: Style) -> Shown:
        """The frame, with what there is to draw drawn on its own planes."""
        if style is not self.overlay.style:
            self._not_finite += self.overlay.not_finite
            self.overlay.close()
            self.overlay = self._make(style)
        frame, shown = placed.frame, Shown(placed.frame, placed.parts, placed.age)
        explanation = shown.explanation
        if explanation is not None:
            cells = self.overlay.blend(placed.parts, placed.at, placed.opacity)
            self.overlay.draw(frame.picture, cells, explanation.tube.crop)
            draw_caption(frame.picture, Caption.of(explanation), style, float(frame.pixel_aspect), placed.opacity)
        return shown

    def close(self) -> None:
        self._pool.shutdown()
        self.overlay.close()

    def _make(self, style: Style) -> Overlay:
        return Overlay(style, self._path, bands=self._threads, run=self._pool.map)
