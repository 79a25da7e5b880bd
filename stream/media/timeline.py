"""Makes timestamps that an encoder accepts from those that a decoder gives. Pure."""

from __future__ import annotations

from fractions import Fraction


class Timeline:
    """Passes pts on if they increase, makes missing ones, and repairs those that do not increase.

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
        # Counted from the last known pts, so that rounding errors do not add up.
        value = self._anchor + round(count * self._step)
        return value if self._last is None else max(value, self._last + 1)

    def _repaired(self, pts: int) -> int:
        if self._last is None or pts > self._last:
            return pts
        self.repaired += 1
        if self._last - pts < self._second:
            return self._last + 1
        # The clock starts anew, as where recordings were joined: all later frames are moved by the same offset.
        value = self._last + max(round(self._step), 1)
        self._offset += value - pts
        return value


LIVE_TIME_BASE = Fraction(1, 90_000)
"""Seconds: the unit in which RTP and MPEG count the time of video."""
REPAIR = 1.0
"""Maximum seconds that a pts may go back as a small error; if it goes back further, the clock was set."""
LEAP = 5.0
"""Maximum seconds that a pts may run ahead of the wall clock; beyond that, the clock was set."""
PAUSE = 60.0
"""Maximum seconds for which a recording may plausibly show one picture."""
DRIFT = 2e-4
"""Seconds for each second: no quartz clock is off by more."""
HOLES = 4
"""Number of holes in a row after which they count as the camera's new rate: many cameras send fewer frames at night."""


def leap(rate: Fraction | None) -> float:
    """Minimum seconds between two frames of a file that mean that its clock was set, as where recordings were joined.

    A replay in real time does not wait that long. rate: frames a second; a slow recording may have long pauses.
    """
    return max(PAUSE, float(HOLES / rate)) if rate else PAUSE


class Lag:
    """How much later a frame comes than the promptest frame of its connection, by the stream's own clock."""

    def __init__(self) -> None:
        self._prompt: float | None = None
        """wall clock minus the stream's clock at the promptest frame, in seconds"""
        self._last = 0.0

    def of(self, time: float, arrived: float) -> float:
        """Seconds that a frame comes late. time: of the frame, by the stream's clock. arrived: by the wall clock."""
        delay, moved = arrived - time, time - self._last
        if self._prompt is None or abs(moved) > LEAP:
            self._prompt = delay
        else:
            # Cameras' clocks run a little slow: without this allowance, days of drift would look like a queue.
            self._prompt = min(delay, self._prompt + DRIFT * max(0.0, moved))
        self._last = time
        return delay - self._prompt


class LiveTimeline:
    """One clock for a live stream that goes on over reconnects, and if a camera's clock is set, restarts or is missing.

    Within a connection times advance as the stream's own. Across connections, and where the stream's clock jumps, they
    advance as the wall clock did. Frames without a time are placed by their arrival.
    """

    def __init__(self, rate: Fraction | None = None) -> None:
        self.jumps = 0
        """how often the stream's clock was set within a connection"""
        self.repaired = 0
        """how many pts went back a little and were moved"""
        self.lag = 0.0
        """seconds that the last frame came later than the promptest one of its connection, by the stream's own clock"""
        self._behind = Lag()
        self._step = float(1 / rate) if rate else None
        """seconds from one frame to the next, smoothed"""
        self._last: tuple[int, float] | None = None
        """pts and wall-clock time of the last frame"""
        self._stream: Fraction | None = None
        """seconds of the stream's clock at the last frame that had a time"""
        self._stream_ticks = 0
        self._reconnected = False
        self._holes = 0
        """number of holes in a row"""

    def reconnect(self) -> None:
        """The next frame is the first of another connection."""
        self._reconnected = self._last is not None
        self._stream = None

    def forget_lag(self) -> None:
        """Starts to count the lag anew with the next frame."""
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
            self._behind = Lag()  # the promptest frame by the old clock tells nothing about the new one
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
            self._stream, self._stream_ticks = time, placed  # unrepaired: a repair moves no later frame
