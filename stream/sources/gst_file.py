"""Files, through GStreamer."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path

from ...engine.errors import SourceError
from ...engine.fit import fit
from ...engine.picture import HOST
from ...engine.place import Fit, Place
from ...engine.types import Frame
from ..media.gst_ways import choose_memory
from ..media.info import FALLBACK_RATE, VideoInfo
from ..media.timeline import Timeline
from ..net.address import Address
from .base import SourceHealth, SourceOptions
from .feed import FeedEnded, FeedError, FeedFrame, FeedTooLarge
from .gst_description import describe
from .gst_feed import GstFeed, modules


class GstFile:
    """A file, decoded by GStreamer, frame by frame. It behaves like AvSource, but reports damage in fewer cases."""

    live = False

    def __init__(self, feed: GstFeed, name: str, fit: Fit = fit) -> None:
        """fit: the `fit` of the place where the feed's images lie. Raises SourceError if no frame comes."""
        self.name, self._fit = name, fit
        self._feed, self._closed = feed, False
        try:
            first = self._next()
        except FeedError as error:
            raise SourceError(f"{name}: {error}") from None
        if first is None:
            raise SourceError(f"{name}: no frame of its video can be decoded")
        self._first: FeedFrame | None = first
        image = first.image
        self._color, self._lost = image.color, ""
        self.info = VideoInfo(
            image.width,
            image.height,
            Fraction(1, 90_000),
            first.rate,
            pixel_aspect=first.pixel_aspect,
            layout=image.layout,
            color=image.color,
            matrix=first.matrix,
            decoder=first.decoder,
            stored=image.stored,
        )
        self._frames = self._read()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    @property
    def errors(self) -> int:
        return self._feed.errors

    @property
    def remarks(self) -> tuple[str, ...]:
        said = (
            [f"decoder errors: {self.errors}; the file is damaged or cut off; the rest is shown"] if self.errors else []
        )
        return (*said, *([f"it ends early: {self._lost}"] if self._lost else []))

    def health(self) -> SourceHealth:
        return SourceHealth(errors=self.errors)

    def stop(self) -> None:
        self._closed = True

    def close(self) -> None:
        self._closed = True
        self._first = None
        self._frames.close()  # it holds the last frame, which may be memory of a GPU
        self._feed.close()

    def _next(self) -> FeedFrame | None:
        while not self._closed:
            try:
                frame = self._feed.read(1.0)
            except FeedEnded:
                return None
            if frame is not None:
                return frame
        return None

    def _read(self) -> Generator[Frame, None, None]:
        info, index = self.info, 0
        timeline = Timeline(1 / ((info.rate or FALLBACK_RATE) * info.time_base), 1 / info.time_base)
        while not self._closed:
            try:
                got, self._first = self._first or self._next(), None
            except FeedTooLarge as error:
                raise SourceError(f"{self.name}: {error}") from None
            except FeedError as error:
                self._lost = str(error)
                return
            if got is None:
                return
            pts = timeline.next(None if got.pts is None else round(got.pts * got.time_base / info.time_base))
            image = self._fit(got.image, (info.width, info.height), info.layout, self._color)
            yield Frame(index, pts, info.time_base, image, info.pixel_aspect, damaged=got.damaged)
            index += 1


def open_file(address: Address, path: Path, options: SourceOptions, place: Place | None = None) -> GstFile:
    """Opens a file. path: the one that the address means. place: as for `open_source`.

    Raises SourceError if it is not a video, UsageError if GStreamer is not installed.
    """
    modules()
    name = address.shown
    try:
        if not path.is_file():
            raise SourceError(f"{name}: {'is a folder, not a video file' if path.is_dir() else 'no such file'}")
    except OSError as error:  # the name is too long, or a folder may not be entered
        raise SourceError(f"{name}: {error.strerror}") from error
    description, settings = describe(address, options)
    try:
        memory = choose_memory(place.name if place else HOST)
        feed = GstFeed(description, address, settings, 10.0, drop=False, max_size=options.max_size, memory=memory)
    except FeedError as error:
        raise SourceError(f"{name}: {error}") from None
    return GstFile(feed, name, place.fit if place else fit)
