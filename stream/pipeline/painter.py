"""Draws a frame's tube, its caption, and the outline of what the network sees. Used by one thread; the style may
change."""

from __future__ import annotations

from fractions import Fraction

from ...engine.draw.caption import Caption
from ...engine.draw.style import Style
from ...engine.picture import Picture
from ...engine.place import ImagePainter, Place
from ...engine.types import Crop, Shown
from .sync import Placed


class Painter:
    """Draws in place, where the frames live."""

    def __init__(self, place: Place, style: Style) -> None:
        """Raises UsageError for a style that cannot be drawn there."""
        self.painter: ImagePainter = place.painter(style)
        """what draws at the moment"""
        self._place = place
        self._not_finite = 0
        self._seen: tuple[tuple[int, int, Fraction], Crop] | None = None
        """width, height and pixel aspect of the newest frame that was explained, and where the network looked in it"""

    @property
    def not_finite(self) -> int:
        """Number of cells whose evidence was not a finite number; they were drawn as no evidence."""
        return self._not_finite + self.painter.not_finite

    def paint(self, placed: Placed, style: Style, plain: Picture | None = None) -> Shown:
        """Draws on the frame's own planes, and returns the drawn frame. plain: a copy of its picture as it is now, for
        `Shown.plain`."""
        if style is not self.painter.style:
            self._not_finite += self.painter.not_finite
            self.painter.close()
            self.painter = self._place.painter(style)
        frame = placed.frame
        shown = Shown(
            frame,
            placed.parts,
            placed.age,
            at=placed.at,
            opacity=placed.opacity,
            awaited=placed.awaited,
            plain=plain,
        )
        explanation = shown.explanation
        shape = (frame.image.width, frame.image.height, frame.pixel_aspect)
        if explanation is not None:
            self._seen = shape, explanation.tube.crop
        # The network still looks there when its evidence is too old to draw. In frames of another shape it looks
        # elsewhere.
        outlined = style.frame and self._seen is not None and self._seen[0] == shape
        self.painter.paint(
            frame.image,
            placed.parts,
            at=placed.at,
            opacity=placed.opacity,
            outline=self._seen[1] if outlined and self._seen is not None else None,
            caption=_caption(placed, shown, style),
            pixel_aspect=float(frame.pixel_aspect),
        )
        return shown

    def close(self) -> None:
        self.painter.close()


def _caption(placed: Placed, shown: Shown, style: Style) -> Caption | None:
    if placed.awaited:
        return Caption.of_waiting(placed.awaited)
    if placed.is_too_old:  # the class of old evidence need not be what is there now
        return Caption.of_age(placed.age)
    return Caption.of(shown.explanation, style) if shown.explanation is not None else None
