"""A live source: it watches whether frames come, connects again, and makes one stream out of many connections.

It has no thread: the thread that iterates waits, and `stop`, from any thread, ends the wait. Tests replace the clock
and the function that waits, so that they take no time.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from fractions import Fraction

from ...engine.errors import SourceError
from ...engine.fit import fit
from ...engine.picture import Image
from ...engine.place import Fit
from ...engine.types import Frame
from ..media.info import VideoInfo
from ..media.pace import Pace
from ..media.timeline import LIVE_TIME_BASE, LiveTimeline
from ..media.wall_clock import CameraClock
from ..telemetry.log import say
from .base import OVERLOADED, SourceHealth
from .connections import Connections, GivenUp
from .feed import Connect, FeedEnded, FeedError, FeedFrame, FeedRefused
from .patience import Patience


class LiveSource:
    """Frames from one connection after the other, as one stream that ends only when stopped.

    Indexes have no gaps, pts increase in one time base, and all pictures have one layout and colour. The first frame
    after a reconnect or a hole, or with another size, has `gap` set. Opening waits for the first frame.
    """

    live = True

    def __init__(
        self,
        connect: Connect,
        name: str,
        patience: Patience | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
        seed: int | None = None,
        stream: str = "",
        given_up: Callable[[], bool] = lambda: False,
        fit: Fit = fit,
    ) -> None:
        """clock: seconds, monotonic. wait: waits so many seconds or until stopped, and returns whether it was stopped.
        stream: its name in the log, if there are several. given_up: asked between two attempts, until the first frame
        has come, whether to stop trying. fit: the `fit` of the place where the connection's images lie.
        Raises SourceError if no first frame comes, UsageError for a wrong address.
        """
        self.name, self._stream, self._given_up, self._fit = name, stream, given_up, fit
        self.reconnects = 0
        """number of connections after the first one that gave a frame"""
        self._patience, self._clock = patience or Patience(), clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._connections = Connections(connect, self._patience, clock, self._stop, self._wait, seed)
        self._resized = self._rated = ""
        """what was said of the first other size, and of the newest rate"""
        self._pace = Pace(forgives=True)
        self._frames = self._read()
        try:
            self._first: FeedFrame | None = self._first_frame()
            self.info = _describe(self._first)
        except BaseException:
            self.close()
            raise
        self._connections.waiting_for_first = False
        self._color, self._size = self._first.image.color, (self.info.width, self.info.height)
        """of the first picture; width and height of the newest one"""
        self._timeline = LiveTimeline(self.info.rate)
        self._camera = CameraClock()
        self._rate = self.info.rate
        """frames a second, as the current connection tells"""

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    @property
    def last_error(self) -> str:
        """Why the last connection was lost; empty if none was."""
        return self._connections.last_error

    @property
    def remarks(self) -> tuple[str, ...]:
        lines = []
        skips, errors = self._connections.skips, self._connections.errors
        if self.reconnects > skips:
            lines.append(f"reconnected: {self.reconnects} times; last: {self.last_error}")
        if skips:
            lines.append(f"fell behind the camera, and began at the present again: {skips} times; {OVERLOADED}")
        if errors:
            lines.append(f"decoder errors: {errors}; packets were lost or damaged; the rest is shown")
        if self._timeline.jumps:
            lines.append(f"the stream's clock was set: {self._timeline.jumps} times")
        return (*lines, *filter(None, (self._rated, self._resized)))

    def health(self) -> SourceHealth:
        connections = self._connections
        return SourceHealth(
            errors=connections.errors,
            dropped=connections.dropped,
            can_be_away=True,
            connected=connections.connected,
            state=connections.state,
            reconnects=self.reconnects,
            skips=connections.skips,
            # In bursts nearly all frames come later than the promptest one, and nothing is wrong.
            lag=math.nan if connections.bursts else self._timeline.lag,
            overloaded=connections.overloaded,
        )

    def stop(self) -> None:
        """Ends the stream, from any thread: a thread that waits in the iterator returns soon."""
        self._stop.set()

    def close(self) -> None:
        self._stop.set()
        self._first = None
        self._frames.close()  # it holds the last frame, which may be memory of a GPU
        self._connections.drop()

    def _first_frame(self) -> FeedFrame:
        deadline = self._clock() + self._patience.first
        while not self._stop.is_set():
            try:
                return self._connections.next_frame()
            except FeedError as error:
                refused = isinstance(error, FeedRefused | FeedEnded)
                if not self._patience.wait and (refused or self._clock() >= deadline):
                    raise SourceError(f"{self.name}: {error}") from None
                if self._given_up():
                    break
                if self._patience.wait and str(error) != self.last_error:  # no monitor reports it yet
                    say("source", f"{self.name} is waited for: {error}", stream=self._stream, level=logging.WARNING)
                self._lose(error)
        raise SourceError(f"{self.name}: stopped before its first frame came")

    def _lose(self, error: FeedError) -> None:
        """Waits before the next connection. Raises SourceError if there is to be none."""
        try:
            self._connections.lose(error)
        except GivenUp as reason:
            raise SourceError(f"{self.name}: {reason}") from None

    def _read(self) -> Generator[Frame, None, None]:
        index, again = 0, False
        while not self._stop.is_set():
            try:
                held, self._first = self._first, None
                got = held or self._connections.next_frame()
                pts, gap = self._place(got)
            except FeedEnded:
                break
            except FeedError as error:
                self._lose(error)
                self._timeline.reconnect()
                again = True
                continue
            self.reconnects += again
            again = False
            rate = self._new_rate(got.rate, index)
            gap = self._new_size(got.image, index) or gap or rate is not None
            if self._connections.bursts and self._hold(float(pts * LIVE_TIME_BASE), gap):
                break
            wall = self._camera.at(float(pts * LIVE_TIME_BASE), got.sent, gap)
            yield replace(self._make(got, index, pts, gap), rate=rate, wall=wall)
            index += 1
        self._connections.drop()

    def _place(self, got: FeedFrame) -> tuple[int, bool]:
        """The frame's pts, and whether frames are missing before it. Raises FeedBehind if it is far too late."""
        time_of = None if got.pts is None else got.pts * got.time_base
        placed = self._timeline.next(time_of, got.arrived)
        if time_of is not None and self._connections.note(self._timeline.lag, got.arrived):
            self._timeline.forget_lag()
        return placed

    def _make(self, got: FeedFrame, index: int, pts: int, gap: bool) -> Frame:
        image = self._fit(got.image, self._size, self.info.layout, self._color)
        as_first = self._size == (self.info.width, self.info.height)
        aspect = self.info.pixel_aspect if as_first else got.pixel_aspect
        return Frame(index, pts, self.info.time_base, image, aspect, gap, damaged=got.damaged)

    def _new_size(self, image: Image, index: int) -> bool:
        """Whether the picture has another size than the one before; logs the change."""
        before, self._size = self._size, (image.width, image.height)
        if self._size == before:
            return False
        came, first = "{}x{}".format(*self._size), f"{self.info.width}x{self.info.height}"
        other = f"; recordings go on in that size, all else is scaled to fit {first}" if came != first else ""
        said = f"the picture changes to {came} at frame {index}{other}"
        self._resized = self._resized or said
        say("source", said, stream=self._stream)
        return True

    def _new_rate(self, rate: Fraction | None, index: int) -> Fraction | None:
        """The rate if it differs from the last one by a tenth or more, else None. Smaller differences are not real: the
        same camera may tell 29.97 and 30."""
        before = self._rate
        if rate is None or (before is not None and abs(rate / before - 1) < 0.1):
            return None
        self._rate = rate
        if before is None:
            return rate
        self._rated = f"the rate changes from {float(before):.4g} to {float(rate):.4g} fps at frame {index}"
        return rate

    def _hold(self, seconds: float, gap: bool) -> bool:
        """Waits until the frame is due; returns whether it was stopped. A late frame delays all later frames."""
        delay = self._pace.delay(seconds, self._clock(), anew=gap)
        return self._wait(delay) if delay else False


def _describe(first: FeedFrame) -> VideoInfo:
    image = first.image
    return VideoInfo(
        width=image.width,
        height=image.height,
        time_base=LIVE_TIME_BASE,
        rate=first.rate,
        pixel_aspect=first.pixel_aspect,
        layout=image.layout,
        color=image.color,
        matrix=first.matrix,
        primaries=first.primaries,
        transfer=first.transfer,
        decoder=first.decoder,
        stored=image.stored,
        notes=first.notes,
    )
