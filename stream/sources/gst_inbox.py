"""The end of a GStreamer pipeline: decoded frames that wait to be fetched, and a count of those that were dropped."""

from __future__ import annotations

from collections import deque
from typing import Any

CAPACITY = 4
"""Maximum number of frames that wait, here and again in the appsink; then the oldest is dropped for a new one."""


class Inbox:
    """Fetches samples from an appsink that drops old ones (`drop=true`), and counts every one it dropped.

    appsink itself does not tell how many it dropped, but its base class counts the frames that came (`stats`, since
    GStreamer 1.18). When the appsink is empty, every frame that came was either fetched or dropped. So it is emptied
    with every fetch, into a queue as short as its own. Counting with a probe at its pad would need Python's lock in the
    decoder's thread.
    """

    def __init__(self, gst: Any, sink: Any) -> None:
        """gst: the module Gst. sink: the appsink of a pipeline that is never flushed while it plays."""
        self.dropped = 0
        """number of frames lost because nobody fetched them in time, as known at the last fetch"""
        self._gst, self._sink = gst, sink
        self._waiting: deque[Any] = deque()
        self._fetched = self._lost_here = 0

    def take(self, seconds: float) -> Any:
        """The oldest sample that waits; None if none comes within `seconds` seconds."""
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
        # A sample is counted only once it is in the appsink: for a moment the count may be too low, never too high.
        self.dropped = max(self.dropped, came - self._fetched + self._lost_here)
