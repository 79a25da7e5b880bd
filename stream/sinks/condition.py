"""The condition of an output: its state, how long it has been trying to work, and both at one moment."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

STATES = ("new", "connecting", "running", "retrying", "refused", "lost", "disk full", "failed", "closed")
SETTLED = ("new", "running", "closed")
"""States in which an output works, or need not work."""
STEADY = 10.0
"""Minimum seconds that an output must have worked for its next trouble to count as a new one: some servers accept a
connection and drop it at once."""


@dataclass(frozen=True)
class SinkHealth:
    """An output at one moment. The defaults are those of one that was never opened."""

    name: str
    """safe to print"""
    state: str = "new"
    """one of STATES"""
    frames_written: int = 0
    """frames taken so far"""
    events: int = 0
    """events taken so far"""
    drops: Mapping[str, int] = field(default_factory=dict)
    """frames and events lost so far because the output could not follow or did not work, by reason"""
    note: str = ""
    """the newest remark about it, in one line"""
    description: str = ""
    """how it encodes and where it can be found, when that is known"""
    queued: int = 0
    """frames and events that wait for it"""
    trying: float = 0.0
    """seconds for which it has been trying, without success, to work again"""
    viewers: int | None = None
    """number of viewers; None if the output can have none"""
    failed_logins: int | None = None
    """number of logins refused so far; None if nobody can log in there"""

    def __post_init__(self) -> None:
        counts = (self.frames_written, self.events, self.queued, *self.drops.values())
        if min(counts) < 0 or self.trying < 0:
            raise ValueError(f"counts and seconds must be 0 or more, got {self}")

    @property
    def dropped(self) -> int:
        """Frames and events lost so far, for all reasons."""
        return sum(self.drops.values())


class Condition:
    """The state of an output, for telemetry."""

    _state = "new"
    _settled_since = -math.inf
    _tried_since = 0.0

    @property
    def state(self) -> str:
        """One of STATES."""
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        now = time.monotonic()
        if state in SETTLED:
            self._settled_since = now if self._state not in SETTLED else self._settled_since
        elif self._state in SETTLED and now - self._settled_since > STEADY:
            self._tried_since = now
        self._state = state

    @property
    def trying(self) -> float:
        """Seconds since it was last in one of the states SETTLED for longer than STEADY; 0 while it is in one."""
        return 0.0 if self._state in SETTLED else time.monotonic() - self._tried_since


def works_again(wrong: str) -> str:
    """The note for a trouble that is over: "tried again until it works" would seem to describe the present."""
    return f"it works again; what was wrong last: {wrong}"
