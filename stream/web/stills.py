"""Drawn pictures as JPEG and PNG, with square pixels."""

from __future__ import annotations

import cv2
import numpy as np

from ...engine.types import Shown

QUALITY = 85
"""Quality of JPEGs, 0 to 100."""
PNG_EFFORT = 1
"""0 to 9: what follows 1 takes many times as long, and makes video little smaller."""


def jpeg(shown: Shown) -> bytes:
    """A frame's picture, which lies on the host, as JPEG."""
    return _encoded(".jpg", shown, cv2.IMWRITE_JPEG_QUALITY, QUALITY)


def png(shown: Shown) -> bytes:
    """The same as PNG."""
    return _encoded(".png", shown, cv2.IMWRITE_PNG_COMPRESSION, PNG_EFFORT)


def _encoded(suffix: str, shown: Shown, parameter: int, value: int) -> bytes:
    picture = shown.frame.picture
    width = max(1, round(picture.width * shown.frame.pixel_aspect))
    rgb = picture.rgb(None if width == picture.width else (width, picture.height))
    _, data = cv2.imencode(suffix, np.ascontiguousarray(rgb[..., ::-1]), [parameter, value])
    return data.tobytes()
