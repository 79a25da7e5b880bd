"""How long a live source waits for a frame, and how soon it connects again."""

from __future__ import annotations

from dataclasses import dataclass

from ..net.backoff import Backoff, Delays

REFUSED = Delays(0.8, 30.0, least=1.0)
"""Where the credentials are refused. After two refusals it is 1.6 s at most: a password that is corrected at once is in
use within 2 s."""


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


def backoff(seed: int | None = None) -> Backoff:
    """The delays between two attempts to reach a camera. A server that is away is asked after 0.2 s to 1 s."""
    return Backoff(Delays(0.2, 1.0), REFUSED, spread=(0.75, 1.0), seed=seed)
