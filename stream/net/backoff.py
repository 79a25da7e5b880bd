"""How long to wait before the next attempt to connect. Pure: who calls does the waiting."""

from __future__ import annotations

import random
from dataclasses import dataclass

_DOUBLINGS = 10
"""Maximum number of doublings: a float cannot hold the power of two that days of failures would ask for."""


@dataclass(frozen=True)
class Delays:
    """Seconds between attempts: doubled from `first` to `longest`."""

    first: float
    longest: float
    least: float = 0.0
    """minimum, after the part that chance decides"""

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.longest or not 0 <= self.least <= self.longest:
            raise ValueError(f"delays must be 0 < first <= longest and 0 <= least <= longest, got {self}")

    def after(self, failures: int) -> float:
        """Seconds after so many failures in a row, 1 or more, before chance has its part."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, _DOUBLINGS))


class Backoff:
    """The delay after each failure, until things go well again.

    Refused credentials have delays of their own, for asking on looks like an attack and locks some accounts; whatever
    else goes wrong between two refusals does not start them anew.
    """

    def __init__(
        self,
        usual: Delays,
        refused: Delays | None = None,
        spread: tuple[float, float] = (1.0, 1.0),
        seed: int | None = None,
    ) -> None:
        """refused: after a refusal; None: as after any other failure. spread: factors of every delay between which
        chance decides, so that many who failed together do not come back together."""
        self.failures = 0
        """in a row"""
        self._usual, self._refused, self._spread = usual, refused or usual, spread
        self._random = random.Random(seed)
        self._refusals = 0

    def next(self, refused: bool = False) -> float:
        """Seconds to wait after this failure. refused: the credentials were."""
        self.failures += 1
        self._refusals += refused
        delays = self._refused if refused else self._usual
        delay = delays.after(self._refusals if refused else self.failures)
        return max(delays.least, delay * self._random.uniform(*self._spread))

    def admitted(self) -> None:
        """The credentials are right."""
        self._refusals = 0

    def reset(self) -> None:
        """The connection is a good one."""
        self.failures = self._refusals = 0
