"""Checks of what a model file says of itself: each raises ModelError, in one line that says what is wrong."""

from __future__ import annotations

import math

from .errors import ModelError

LARGEST = 1 << 16
"""Maximum of any number of pixels or frames. The minimum rate is one frame in this many seconds."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise ModelError(message)


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST


def is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
