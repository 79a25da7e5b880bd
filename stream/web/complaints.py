"""Errors that nobody foresaw, in the log: each once, however often it happens."""

from __future__ import annotations

import logging

from ..telemetry.log import say

MOST = 64
"""Number of different errors that are logged; later ones are not."""


class Complaints:
    """For one thread."""

    def __init__(self, what: str) -> None:
        """what: failed, as in "the web server failed at a request"."""
        self._what = what
        self._told: set[str] = set()

    def say(self, error: str) -> None:
        """error: in one line."""
        if error not in self._told and len(self._told) < MOST:
            self._told.add(error)
            say("error", f"{self._what}: {error}", level=logging.ERROR)
