"""How long a live source waits for a frame, and how soon it connects again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .feed import FeedError, FeedRefused


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, before a connection or the whole stream is given up."""

    stall: float = 2.0
    """maximum seconds without a frame; then the connection counts as dead, even without an error"""
    first: float = 10.0
    """maximum seconds until the stream's first frame"""
    wait: bool = False
    """wait for the first frame for ever, even if the password is wrong"""
    retries: int | None = None
    """number of failed attempts in a row to connect again before giving up; 0: end with the first connection; None:
    never give up"""

    def __post_init__(self) -> None:
        if self.stall <= 0 or self.first <= 0:
            raise ValueError(f"stall and first must be positive seconds, got {self.stall}, {self.first}")
        if self.retries is not None and self.retries < 0:
            raise ValueError(f"retries must be 0 or more, or None, got {self.retries}")


class Backoff:
    """Seconds to wait before the next attempt. They double, less a random part of up to a quarter, so that many streams
    do not connect at the same moment.

    For a server that does not answer: 0.2 s to 1 s. For one that refuses the credentials: 1 s to 30 s, because some
    cameras lock the account; other errors between two refusals do not shorten that.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.failures = 0
        """number of failures in a row"""
        self._random = random.Random(seed)
        self._refusals = 0

    def next(self, error: FeedError) -> float:
        """Seconds to wait after this failure."""
        self.failures += 1
        if isinstance(error, FeedRefused) and error.credentials:
            self._refusals += 1
            # After two refusals 1.6 s at most, so that a password that is corrected at once is used within 2 s. The
            # exponent is limited because after days of refusals 2.0 ** n would overflow.
            longest = min(30.0, 0.8 * 2.0 ** min(self._refusals - 1, 10))
            return max(1.0, longest * self._random.uniform(0.75, 1.0))
        return min(1.0, 0.2 * 2.0 ** min(self.failures - 1, 10)) * self._random.uniform(0.75, 1.0)

    def admitted(self) -> None:
        """To be called when a frame came: the credentials are right."""
        self._refusals = 0

    def reset(self) -> None:
        """To be called when a connection has lasted: the next failure counts as the first one."""
        self.failures = self._refusals = 0
