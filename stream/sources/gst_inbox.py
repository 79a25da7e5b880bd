"""The end of a GStreamer pipeline: decoded frames that wait to be fetched, and a count of those that were not."""

from __future__ import annotations

from collections import deque
from typing import Any

CAPACITY = 4
"""frames that wait, here and in the appsink; the oldest is lost for a new one"""


class Inbox:
    """Fetches samples from an appsink that drops old ones (`drop=true`), and counts every one it dropped.

    appsink itself does not say how many, but its base class counts what came (`stats`, since GStreamer 1.18). Once the
    appsink is empty, what came and was not fetched is what it dropped. So it is emptied with every fetch, into a queue
    as short as its own. A counter of our own at its pad would need Python's lock in the decoder's thread.
    """

    def __init__(self, gst: Any, sink: Any) -> None:
        """gst: the module Gst. sink: the appsink, of a pipeline that is not flushed while it plays."""
        self.dropped = 0
        """frames lost because nobody fetched them in time, as far as known at the last fetch"""
        self._gst, self._sink = gst, sink
        self._waiting: deque[Any] = deque()
        self._fetched = self._lost_here = 0

    def take(self, seconds: float) -> Any:
        """The oldest sample that still waits; None where none comes within so many seconds."""
        self._empty()
        if not self._waiting:
            sample = self._sink.try_pull_sample(int(seconds * self._gst.SECOND))
            if sample is None:
                return None
            self._fetched += 1
            return sample
        return self._waiting.popleft()

    def _empty(self) -> None:
        while True:
            came = int(self._sink.get_property("stats").get_value("rendered"))
            sample = self._sink.try_pull_sample(0)
            if sample is None:
                break
            self._fetched += 1
            if len(self._waiting) == CAPACITY:
                self._waiting.popleft()
                self._lost_here += 1
            self._waiting.append(sample)
        # A sample counts as come once it is in the appsink: for a moment the count may be too low, never too high.
        self.dropped = max(self.dropped, came - self._fetched + self._lost_here)
