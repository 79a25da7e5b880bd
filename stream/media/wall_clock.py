"""The wall-clock time at which a frame was taken: by the camera's clock if it tells it, else by this machine's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from ...engine.types import Frame, WallTime
from ..telemetry.log import say

CREDIBLE = 946_684_800.0
"""2000-01-01 in seconds since 1970: a camera's clock with an earlier time has never been set."""
STEP = 1.0
"""Maximum seconds by which a clock may deviate from one frame to the next; beyond that it was set."""
FOLLOW = 0.002
"""Share of the difference that is made up with every frame, to follow a camera's clock that drifts against its pts."""


class CameraClock:
    """The camera's own clock, known from its reports on one connection. Pure.

    Between two gaps it never jumps: if the camera sets its clock, the new time is used after the next gap.
    """

    def __init__(self) -> None:
        self._ahead: float | None = None
        """seconds that the camera's clock is ahead of the stream's time"""

    def at(self, seconds: float, sent: float | None, gap: bool) -> WallTime | None:
        """When a frame was taken; None if the camera has not told its time since the last gap.

        seconds: the frame's time in the stream. sent: seconds since 1970, as the camera says, or None.
        """
        if gap:
            self._ahead = None
        if sent is not None and sent >= CREDIBLE:
            ahead = sent - seconds
            if self._ahead is None:
                self._ahead = ahead
            elif abs(ahead - self._ahead) <= STEP:
                self._ahead += FOLLOW * (ahead - self._ahead)
        return None if self._ahead is None else WallTime(seconds + self._ahead, "camera")


class LocalClock:
    """This machine's clock, for frames whose camera tells no time.

    The clock is read at the start and after every gap, and goes on evenly from there. If somebody, or NTP, sets it by
    more than a second, that is logged once, and the new time is used after the next gap. So no window ends before it
    begins.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time, name: str = ""
    ) -> None:
        """clock: seconds, monotonic. wall: seconds since 1970. name: of the stream, for the log."""
        self._clock, self._wall, self._name = clock, wall, name
        self._ahead: float | None = None
        """seconds that the wall clock is ahead of the monotonic one"""
        self._told = False

    def stamped(self, frame: Frame) -> Frame:
        """The frame, which has just arrived, with its time."""
        now = self._clock()
        ahead = self._wall() - now
        if self._ahead is None or frame.gap:
            self._ahead, self._told = ahead, False
        elif not self._told and abs(ahead - self._ahead) > STEP:
            self._told = True
            what = f"the clock of this machine was set by {ahead - self._ahead:+.0f} s"
            then = "the times in events go on as before until frames are missing or the camera is connected to again"
            say("note", f"{what}: {then}", stream=self._name, level=logging.WARNING)
        if frame.wall is not None:
            return frame
        return replace(frame, wall=WallTime(now + self._ahead, "local"))
