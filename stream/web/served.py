"""The streams of one server: those that are open, and those that are to be served. In any thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ..telemetry.health import Told
from .feed import WebFeed
from .status import status


class ServedStreams:
    """Looks at what the server has at the moment."""

    def __init__(self, feeds: Mapping[str, WebFeed], expected: Mapping[str, Callable[[], Told]]) -> None:
        """feeds: the streams that are open, by name. expected: tells how those are that are to be served, open or not.
        Both may change."""
        self._feeds, self._expected, self._begun = feeds, expected, time.monotonic()

    def feed(self, name: str) -> WebFeed | None:
        """A stream that is open."""
        return self._feeds.get(name)

    def status(self, name: str) -> dict[str, Any] | None:
        """As `status.status`; None if there is no such stream."""
        feed, told = self._feeds.get(name), self._expected.get(name)
        if feed is not None:
            return feed.status()
        return status(name, told(), 0, time.monotonic() - self._begun) if told is not None else None

    def all_status(self) -> list[dict[str, Any]]:
        """That of every stream, by name."""
        found = map(self.status, sorted({*self._feeds, *self._expected}))
        return [told for told in found if told is not None]
