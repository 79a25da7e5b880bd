"""How long a source waits for what, and how soon it connects again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .feed import FeedError, FeedRefused


@dataclass(frozen=True)
class Patience:
    """How long to wait for what; seconds."""

    stall: float = 2.0
    """without a frame: the connection is taken for dead, even where no error says so"""
    first: float = 10.0
    """for the first frame of all"""
    wait: bool = False
    """wait for the first frame for ever, wrong passwords included"""
    retries: int | None = None
    """attempts to connect again, in a row, after which to give up; 0: end with the first connection, None: never"""

    def __post_init__(self) -> None:
        if self.stall <= 0 or self.first <= 0:
            raise ValueError(f"stall and first must be positive seconds, got {self.stall}, {self.first}")
        if self.retries is not None and self.retries < 0:
            raise ValueError(f"retries must be 0 or more, or None, got {self.retries}")


class Backoff:
    """How long to wait before the next attempt: doubling, and up to a quarter less, so that many do not come at once.

    A server that is away: 0.2 s to 1 s. One that refuses the credentials: 1 s to 30 s, for some lock the account, and
    whatever else goes wrong between two refusals.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.failures = 0
        """in a row"""
        self._random = random.Random(seed)
        self._refusals = 0

    def next(self, error: FeedError) -> float:
        """Seconds to wait after this failure."""
        self.failures += 1
        if isinstance(error, FeedRefused) and error.credentials:
            self._refusals += 1
            # After two refusals 1.6 s at most, so that a password corrected at once is in use within 2 s. Of days of
            # refusals a float has no power of two.
            longest = min(30.0, 0.8 * 2.0 ** min(self._refusals - 1, 10))
            return max(1.0, longest * self._random.uniform(0.75, 1.0))
        return min(1.0, 0.2 * 2.0 ** min(self.failures - 1, 10)) * self._random.uniform(0.75, 1.0)

    def admitted(self) -> None:
        """A frame came: the credentials are right."""
        self._refusals = 0

    def reset(self) -> None:
        """The connection is a good one."""
        self.failures = self._refusals = 0
