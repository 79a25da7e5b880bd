"""All outputs of one stream as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...engine.picture import Image, Picture
from ...engine.place import Place
from ...engine.types import Shown
from ..media.downloads import Downloads
from ..media.fit import fitted
from ..media.info import VideoInfo
from ..telemetry.events import Event
from .base import Sink


class Sinks:
    """Hands everything to every output, in their order. Errors of `open` and `write` pass through."""

    def __init__(self, sinks: Sequence[Sink], place: Place) -> None:
        """place: of the frames."""
        self._sinks, self._place = sinks, place
        self.downloads = Downloads(place)
        """frames in the host's memory, for outputs that take them there and for whoever else needs them"""
        self._notice: tuple[Image, Image] | None = None
        """the newest picture of an outage, and the same in the place of the frames"""
        self._newest = -1
        """index of the last frame written"""

    @property
    def wants_stop(self) -> bool:
        """Whether the user asked, at one of the outputs, to end the run."""
        return any(sink.wants_stop for sink in self._sinks)

    def open(self, info: VideoInfo) -> None:
        """Opens all outputs; if one fails, all are closed again and its error is raised."""
        info = self._info = replace(info, where=self._place.name)
        try:
            for sink in self._sinks:
                sink.open(info)
        except BaseException:
            self.close()  # errors of closing are less important
            raise

    def write(self, drawn: Shown | None, event: Event | None) -> Shown | None:
        """A frame, or the event of a window. Returns the frame in the size that the video began with."""
        shown = fitted(drawn, self._info, self._place.fit) if drawn is not None else None
        if shown is not None:
            self._newest = shown.frame.index
        for sink in self._sinks:
            if drawn is not None and shown is not None:
                sink.write(self._reachable(sink, drawn if sink.follows_size else shown))
            if event is not None:
                sink.event(event)
        return None if shown is None else _without_plain(shown)

    @property
    def classes(self) -> int:
        """For how many of the most probable classes an output wants evidence at the moment."""
        return max((sink.wants_classes for sink in self._sinks), default=0)

    def plain(self, image: Image) -> Picture | None:
        """A copy of an image that is about to be drawn on, on the host; None if no output wants it at the moment."""
        return self.downloads.copy(image) if any(sink.wants_plain for sink in self._sinks) else None

    def _reachable(self, sink: Sink, shown: Shown) -> Shown:
        """The frame where the output can take it from, with its plain picture if the output wants that."""
        if not sink.wants_plain:
            shown = _without_plain(shown)
        if shown.frame.image.where in sink.takes or not sink.takes_pictures:
            return shown
        return self.downloads.shown(shown)

    def show_outage(self, shown: Shown) -> bool:
        """Writes a frame of an outage to the outputs that people watch. False: the camera is back already."""
        if shown.frame.index != self._newest:
            return False
        for sink in self._sinks:
            if sink.shows_outages:
                sink.write(shown if shown.frame.image.where in sink.takes else self._brought(shown))
        return True

    def _brought(self, shown: Shown) -> Shown:
        """A frame of an outage, made on the host, in the place of the frames: the same picture is brought once."""
        image = shown.frame.image
        if self._notice is None or self._notice[0] is not image:
            self._notice = image, self._place.bring(image)
        return replace(shown, frame=replace(shown.frame, image=self._notice[1]))

    def forget(self) -> None:
        """Lets go of the images that are kept for outputs."""
        self._notice = None

    def signal(self, since: float | None) -> None:
        """Tells all outputs since when the camera has been away, in seconds since 1970; None: it is back. From any
        thread."""
        for sink in self._sinks:
            sink.signal(since)

    def close(self) -> Exception | None:
        """Closes all outputs and returns the first error."""
        failed: Exception | None = None
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:  # the other outputs must be closed all the same
                failed = failed or error
        return failed


def _without_plain(shown: Shown) -> Shown:
    """The frame without its plain picture, which would lie in queues where nobody looks at it."""
    return shown if shown.plain is None else replace(shown, plain=None)
