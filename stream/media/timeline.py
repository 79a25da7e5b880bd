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


LIVE_TIME_BASE = Fraction(1, 90_000)
"""seconds; what RTP and MPEG count video in"""
REPAIR = 1.0
"""seconds: a pts that goes back by less is a hiccup; by more, a clock that was set"""
LEAP = 5.0
"""seconds: a pts that runs ahead of the wall clock by more is a clock that was set"""
PAUSE = 60.0
"""seconds that a recording may show the same picture"""
DRIFT = 2e-4
"""seconds a second: more than any quartz is off"""
HOLES = 4
"""in a row are none: the camera sends fewer frames than it said, as many do at night"""


def leap(rate: Fraction | None) -> float:
    """Seconds from one frame of a file to the next that nobody waits for: its clock was set, as where two were joined.

    rate: frames a second, of which a file of few may have few.
    """
    return max(PAUSE, float(HOLES / rate)) if rate else PAUSE


class Lag:
    """How much later than the promptest of its connection something comes, by the stream's own clock."""

    def __init__(self) -> None:
        self._prompt: float | None = None
        """wall clock less the stream's clock of the promptest one"""
        self._last = 0.0

    def of(self, time: float, arrived: float) -> float:
        """Seconds. time: of the stream's clock. arrived: of the wall clock."""
        delay, moved = arrived - time, time - self._last
        if self._prompt is None or abs(moved) > LEAP:
            self._prompt = delay
        else:
            # Clocks of cameras run a little slow: without the drift, days of it would look like a queue.
            self._prompt = min(delay, self._prompt + DRIFT * max(0.0, moved))
        self._last = time
        return delay - self._prompt


class LiveTimeline:
    """One clock over reconnects, and over the clocks of cameras, which get set, start anew, or are missing.

    Within a connection times advance as the stream's own. Across connections, and where the stream's clock jumps, they
    advance as the wall clock did. Frames without a time are placed by their arrival.
    """

    def __init__(self, rate: Fraction | None = None) -> None:
        self.jumps = 0
        """how often the stream's clock was set within a connection"""
        self.repaired = 0
        """how many times went back a little, and were moved"""
        self.lag = 0.0
        """seconds that the last frame came later than the promptest of its connection, by the stream's own clock"""
        self._behind = Lag()
        self._step = float(1 / rate) if rate else None
        """seconds from frame to frame, smoothed"""
        self._last: tuple[int, float] | None = None
        """ticks given, and wall clock, of the last frame"""
        self._stream: Fraction | None = None
        """seconds of the stream's clock at the last frame that had a time"""
        self._stream_ticks = 0
        self._reconnected = False
        self._holes = 0
        """in a row"""

    def reconnect(self) -> None:
        """The next frame is the first of another connection."""
        self._reconnected = self._last is not None
        self._stream = None

    def forget_lag(self) -> None:
        """Lag is counted anew, from the next frame."""
        self._behind, self.lag = Lag(), 0.0

    def next(self, time: Fraction | None, arrived: float) -> tuple[int, bool]:
        """The pts of the next frame in `LIVE_TIME_BASE`, and whether frames are missing before it.

        time: seconds of the stream's clock. arrived: seconds of the wall clock.
        """
        if self._last is None:
            self._note(0, arrived, time, 0)
            return 0, False
        last, seen = self._last
        placed, jumped = self._place(time, last, arrived - seen)
        ticks = max(placed, last + 1)
        seconds = float((ticks - last) * LIVE_TIME_BASE)
        other = self._reconnected or jumped
        self._holes = self._holes + 1 if self._is_hole(seconds) and not other else 0
        if self._holes >= HOLES:
            self._step, self._holes = seconds, 0
        missing = other or self._holes > 0
        if not missing and seconds > 0.001:
            self._step = seconds if self._step is None else self._step + (seconds - self._step) / 16
        self._note(ticks, arrived, time, placed)
        self._reconnected = False
        return ticks, missing

    def _place(self, time: Fraction | None, last: int, elapsed: float) -> tuple[int, bool]:
        by_wall_clock = last + round(Fraction(max(elapsed, 0.0)) / LIVE_TIME_BASE)
        if time is None or self._stream is None:
            return by_wall_clock, False
        moved = float(time - self._stream)
        if moved < -REPAIR or moved > elapsed + LEAP:
            self.jumps += 1
            self._behind = Lag()  # what was prompt by the clock before says nothing of this one
            return by_wall_clock, True
        ticks = self._stream_ticks + round((time - self._stream) / LIVE_TIME_BASE)
        if ticks <= last:
            self.repaired += 1
        return ticks, False

    def _is_hole(self, seconds: float) -> bool:
        return self._step is not None and seconds > max(0.5, 4 * self._step)

    def _note(self, ticks: int, arrived: float, time: Fraction | None, placed: int) -> None:
        self._last = (ticks, arrived)
        if time is not None:
            if self._stream is None:
                self._behind = Lag()
            self.lag = self._behind.of(float(time), arrived)
            self._stream, self._stream_ticks = time, placed  # as placed: one repaired moves none that follow
