"""Small pictures of windows, without their tubes, for the page's timeline."""

from __future__ import annotations

import math

import cv2

from ...engine.picture import Picture
from ...engine.types import Shown

WIDTH = 160
"""Pixels."""
EVERY = 1.0
"""Minimum seconds from one to the next."""
QUALITY = 70


class Thumbnails:
    """Makes one of a window now and then. For one thread."""

    def __init__(self) -> None:
        self._last = -math.inf

    def make(self, shown: Shown, plain: Picture) -> tuple[int, bytes] | None:
        """The leading window's number and a picture as JPEG, from a frame that shows it; None if it is too early for
        the next one. plain: the frame's picture, not drawn on."""
        leading = shown.explanation
        if leading is None or abs(shown.frame.time - self._last) < EVERY:
            return None
        self._last = shown.frame.time
        across = plain.width * float(shown.frame.pixel_aspect)
        rgb = plain.rgb((WIDTH, max(1, round(WIDTH * plain.height / across))))
        _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return leading.window, data.tobytes()
