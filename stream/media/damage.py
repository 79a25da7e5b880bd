"""Which decoded frames show what is not in the stream: what a decoder guessed, and what was predicted from it. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from ...engine.types import Frame

HEALED = 10.0
"""seconds after which a stream without key frames, which renews its picture bit by bit, has replaced all of it"""


class Damage:
    """Follows damage through one connection or file.

    A decoder marks the frame that it had to guess, and no later one, though each is predicted from the one before: all
    are damaged up to the next key frame. Times are seconds of the stream; None where it has none.
    """

    def __init__(self) -> None:
        self._damaged = False
        self._first: float | None = None
        """since when"""
        self._last: float | None = None
        """when something was lost again; a key frame has to come after that"""

    def lost(self, time: float | None) -> None:
        """What belongs at this time could not be decoded."""
        if not self._damaged:
            self._damaged, self._first, self._last = True, time, time
        elif time is not None:
            self._last = time if self._last is None else max(self._last, time)

    def shown_in(self, time: float | None, key: bool, guessed: bool) -> bool:
        """Whether the next frame, in the order of showing, is damaged. guessed: the decoder says so of this one."""
        if guessed:
            self.lost(time)
        elif self._damaged and self._over(time, key):
            self._damaged = False
        # Frames that were decoded before the damage may be shown after it was noticed.
        return self._damaged and (time is None or self._first is None or time >= self._first)

    def _over(self, time: float | None, key: bool) -> bool:
        if time is None or self._last is None:
            return key
        return (key and time > self._last) or time > self._last + HEALED


FEW, AMONG = 4, 16
"""so many damaged frames among so many may be left out of a window, which shows the frame before instead"""


class Breaks:
    """Makes a gap of many damaged frames, as if they had not come: no window reaches across it."""

    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=AMONG)
        self._many = False

    def mark(self, frame: Frame) -> Frame:
        """The frame, with `gap` where it is one of many damaged ones, or the first sound one after them."""
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
