"""Finds damaged frames: those of which the decoder guessed parts, and those predicted from them. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from ...engine.types import Frame

HEALED = 10.0
"""Seconds after which damage is over in a stream without key frames, which renews its picture part by part."""


class Damage:
    """Follows damage through one connection or file.

    A decoder marks only the frame that it had to guess. But each later frame is predicted from the one before, so all
    frames up to the next key frame are damaged. Times are seconds of the stream; None if it has none.
    """

    def __init__(self) -> None:
        self._damaged = False
        self._first: float | None = None
        """time at which the damage began"""
        self._last: float | None = None
        """time of the newest loss; only a key frame after it ends the damage"""

    def lost(self, time: float | None) -> None:
        """The frame at this time could not be decoded."""
        if not self._damaged:
            self._damaged, self._first, self._last = True, time, time
        elif time is not None:
            self._last = time if self._last is None else max(self._last, time)

    def shown_in(self, time: float | None, key: bool, guessed: bool) -> bool:
        """Whether the next frame, in presentation order, is damaged. guessed: the decoder had to guess parts of it."""
        if guessed:
            self.lost(time)
        elif self._damaged and self._over(time, key):
            self._damaged = False
        # Frames that were decoded before the damage may be shown only after it was noticed.
        return self._damaged and (time is None or self._first is None or time >= self._first)

    def _over(self, time: float | None, key: bool) -> bool:
        if time is None or self._last is None:
            return key
        return (key and time > self._last) or time > self._last + HEALED


FEW, AMONG = 4, 16
"""Up to FEW damaged frames among AMONG frames are replaced in a window by the frame before; more make a gap."""


class Breaks:
    """Marks a gap where many frames are damaged, as if they were missing: no window reaches across a gap."""

    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=AMONG)
        self._many = False

    def mark(self, frame: Frame) -> Frame:
        """The frame, with `gap` set if it is one of many damaged frames or the first undamaged one after them."""
        if frame.gap:
            self._recent.clear()
        self._recent.append(frame.damaged)
        if frame.damaged:
            self._many = sum(self._recent) > FEW
            return replace(frame, gap=True) if self._many else frame
        if not self._many:
            return frame
        self._recent.clear()
        self._many = False
        return replace(frame, gap=True)
