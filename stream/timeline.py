"""Timestamps an encoder accepts, made from what a decoder gives. Pure."""

from __future__ import annotations

from fractions import Fraction


class Timeline:
    """Passes pts through where they increase; makes those that are missing and repairs those that do not increase.

    step: ticks from one frame to the next, on average. second: ticks in a second.
    """

    def __init__(self, step: Fraction, second: Fraction) -> None:
        if step <= 0 or second <= 0:
            raise ValueError(f"step and second must be positive, got {step}, {second}")
        self.repaired = 0
        """how many pts were changed"""
        self._step = step
        self._second = second
        self._last: int | None = None
        self._anchor = 0
        self._since_anchor = 0
        self._offset = 0

    def next(self, pts: int | None) -> int:
        """The pts of the next frame in presentation order: always larger than the one before."""
        if pts is None:
            self._since_anchor += self._last is not None
            value = self._made(self._since_anchor)
        else:
            value = self._repaired(pts + self._offset)
            self._anchor, self._since_anchor = value, 0
        self._last = value
        return value

    def _made(self, count: int) -> int:
        # Counted from the last known pts, so that rounding never adds up.
        value = self._anchor + round(count * self._step)
        return value if self._last is None else max(value, self._last + 1)

    def _repaired(self, pts: int) -> int:
        if self._last is None or pts > self._last:
            return pts
        self.repaired += 1
        if self._last - pts < self._second:
            return self._last + 1
        # A clock that starts anew, as where recordings were joined: all that follows is moved with this frame.
        value = self._last + max(round(self._step), 1)
        self._offset += value - pts
        return value
