"""The state of an output, and for how long it has tried to work."""

from __future__ import annotations

import math
import time

STATES = ("new", "connecting", "running", "retrying", "refused", "lost", "disk full", "failed", "closed")
SETTLED = ("new", "running", "closed")
"""states in which an output works, or need not"""
STEADY = 10.0
"""seconds an output must have worked for its next trouble to be a new one: some servers take a connection to drop it"""


class Condition:
    """What an output says of itself, for telemetry."""

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
        """Seconds since it last was in one of the states SETTLED for longer than STEADY; 0 while it is in one."""
        return 0.0 if self._state in SETTLED else time.monotonic() - self._tried_since


def works_again(wrong: str) -> str:
    """What is noted once a trouble is over: "tried again until it works" would be taken for how things are."""
    return f"it works again; what was wrong last: {wrong}"
