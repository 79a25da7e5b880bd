"""When a frame of a live stream is to be shown, by this machine's clock, evenly spaced as by the source's. Pure."""

from __future__ import annotations

TOLERANCE = 0.5
"""Maximum seconds that a frame may come late by its pts; beyond that the source's clock has jumped."""
RELAX = 0.002
"""Share of the lag that is forgotten with every frame, to follow a source whose clock is slower than this machine's."""


class LiveClock:
    """Turns pts into seconds of this machine's clock. They have the distances of the pts, increase, and are never later
    than now.

    Arrival times would serve as well but for their jitter, which a player would show. The offset between the two clocks
    is taken from the frames that came fastest; a jump, a reset or a gap in the pts sets it anew.
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
