"""All outputs of one stream as one."""

from __future__ import annotations

from collections.abc import Sequence

from ...engine.types import Shown
from ..media.fit import fitted
from ..media.info import VideoInfo
from ..telemetry.events import Event
from .base import Sink


class Sinks:
    """Hands everything to every output, in their order. Errors of `open` and `write` pass through."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._newest = -1
        """index of the last frame written"""

    @property
    def wants_stop(self) -> bool:
        """Whether the user asked, at one of them, that the run ends."""
        return any(sink.wants_stop for sink in self._sinks)

    def open(self, info: VideoInfo) -> None:
        """Opens them all; where one fails, all are closed again, and its error is raised."""
        self._info = info
        try:
            for sink in self._sinks:
                sink.open(info)
        except BaseException:
            self.close()  # the first error is the one to tell
            raise

    def write(self, drawn: Shown | None, event: Event | None) -> Shown | None:
        """A frame, or the event of a window. Returns the frame in the size that the video began with."""
        shown = fitted(drawn, self._info) if drawn is not None else None
        if shown is not None:
            self._newest = shown.frame.index
        for sink in self._sinks:
            if drawn is not None and shown is not None:
                sink.write(drawn if sink.follows_size else shown)
            if event is not None:
                sink.event(event)
        return shown

    def show_outage(self, shown: Shown) -> bool:
        """A frame of an outage, to those whose viewers would miss it. False: the camera is back already."""
        if shown.frame.index != self._newest:
            return False
        for sink in self._sinks:
            if sink.shows_outages:
                sink.write(shown)
        return True

    def signal(self, since: float | None) -> None:
        """Tells them that the camera has been away since then, in seconds since 1970; None: it is back. Any thread."""
        for sink in self._sinks:
            sink.signal(since)

    def close(self) -> Exception | None:
        """Closes them all, and returns the first error."""
        failed: Exception | None = None
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:  # the others must be finished all the same
                failed = failed or error
        return failed
