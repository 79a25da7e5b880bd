"""When a frame of a live stream is to be shown, by our clock: evenly, as its source's clock says. Pure."""

from __future__ import annotations

TOLERANCE = 0.5
"""seconds that a stream may lag behind its own pace before its clock is taken to have jumped"""
RELAX = 0.002
"""share of the lag given up with every frame: follows a source whose clock runs slower than ours"""


class LiveClock:
    """Turns pts into seconds of our clock. They keep the distance the pts have, never lie ahead of now, and increase.

    Arrival times would do as well but for their jitter, which every player would show. The offset between the two
    clocks is that of the fastest frames; a jump, a reset or a gap in the pts sets it anew.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._last: float | None = None

    def stamp(self, pts: float, now: float) -> float:
        """When the frame that arrives `now` with `pts`, both in seconds, is to be shown: `now` or a little earlier."""
        if self._offset is None or not 0 <= now - (pts + self._offset) <= TOLERANCE:
            self._offset = now - pts
        self._offset += RELAX * (now - (pts + self._offset))
        value = pts + self._offset
        if self._last is not None and value <= self._last:
            value = self._last + 1e-6
        self._last = value
        return value
