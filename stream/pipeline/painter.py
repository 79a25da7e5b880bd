"""Draws a frame's tube, its caption, and the outline of what the network sees. Used by one thread; the style may
change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

from ...engine.draw.caption import Caption, draw_caption
from ...engine.draw.outline import draw_outline
from ...engine.draw.overlay import Overlay
from ...engine.draw.style import Style
from ...engine.types import Crop, Shown
from .sync import Placed


class Painter:
    """Draws in place, by one path of the overlay, with each frame divided into as many bands as there are threads."""

    def __init__(self, style: Style, path: str = "auto", threads: int = 1) -> None:
        """Raises UsageError for a style or a path that does not work here."""
        self._path, self._threads = path, threads
        self._pool = ThreadPoolExecutor(threads, "saliency-tubes overlay")
        self._not_finite = 0
        self._seen: tuple[tuple[int, int, Fraction], Crop] | None = None
        """width, height and pixel aspect of the newest frame that was explained, and where the network looked in it"""
        self.overlay = self._make(style)

    @property
    def not_finite(self) -> int:
        """Number of cells whose evidence was not a finite number; they were drawn as no evidence."""
        return self._not_finite + self.overlay.not_finite

    def paint(self, placed: Placed, style: Style) -> Shown:
        """Draws on the frame's own planes, and returns the drawn frame."""
        if style is not self.overlay.style:
            self._not_finite += self.overlay.not_finite
            self.overlay.close()
            self.overlay = self._make(style)
        frame, shown = placed.frame, Shown(placed.frame, placed.parts, placed.age)
        explanation, aspect = shown.explanation, float(frame.pixel_aspect)
        shape = (frame.picture.width, frame.picture.height, frame.pixel_aspect)
        if explanation is not None:
            self._seen = shape, explanation.tube.crop
            cells = self.overlay.blend(placed.parts, placed.at, placed.opacity)
            self.overlay.draw(frame.picture, cells, explanation.tube.crop)
        # The network still looks there when its evidence is too old to draw. In frames of another shape it looks
        # elsewhere.
        if style.frame and self._seen is not None and self._seen[0] == shape:
            draw_outline(frame.picture, self._seen[1])
        if placed.awaited:
            draw_caption(frame.picture, Caption.of_waiting(placed.awaited), style, aspect)
        elif placed.is_too_old:  # the class of old evidence need not be what is there now
            draw_caption(frame.picture, Caption.of_age(placed.age), style, aspect)
        elif explanation is not None:
            draw_caption(frame.picture, Caption.of(explanation, style), style, aspect)
        return shown

    def close(self) -> None:
        self._pool.shutdown()
        self.overlay.close()

    def _make(self, style: Style) -> Overlay:
        return Overlay(style, self._path, bands=self._threads, run=self._pool.map)
