"""A live source: it watches whether frames come, connects again, and makes one stream out of many connections.

It has no thread: the thread that iterates waits, and `stop`, from any thread, ends the wait. Tests replace the clock
and the function that waits, so that they take no time.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from ...engine.errors import SourceError
from ...engine.fit import fit
from ...engine.picture import Picture
from ...engine.place import Fit
from ...engine.types import Frame
from ..media.info import VideoInfo
from ..media.pace import Pace
from ..media.timeline import LIVE_TIME_BASE, LiveTimeline
from ..media.wall_clock import CameraClock
from ..telemetry.log import say
from .base import OVERLOADED, SKIPPING, SourceHealth
from .feed import (
    KEY_FRAME,
    Backlog,
    Connect,
    Feed,
    FeedBehind,
    FeedEnded,
    FeedError,
    FeedFrame,
    FeedRefused,
)
from .patience import Patience, backoff

POLL = 0.25
"""Maximum seconds until a waiting reader notices `stop`, if FFmpeg or GStreamer returns in time."""
OVERLOADED_FOR = 60.0
"""Seconds after falling behind for which a stream counts as one that this machine is too slow for."""
STEADY = 5.0
"""Minimum seconds that a connection must have lasted for the next failure to count as the first one again."""


class _Connections(NamedTuple):
    """The connections so far. It is replaced as a whole, so that another thread that counts errors meanwhile counts
    every connection exactly once."""

    feed: Feed | None = None
    """the current connection"""
    errors: int = 0
    """errors of the connections before it"""
    dropped: int = 0


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
        self.last_error = ""
        self.skips = 0
        """how often the source fell behind the camera and started at the present again"""
        self._skipped_at = -math.inf
        self._backlog = Backlog()
        self._connect, self._patience, self._clock = connect, patience or Patience(), clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._backoff = backoff(seed)
        self._connections = _Connections()
        self._failures = 0
        self._since = clock()
        self._fresh = True
        """whether the current connection has given no frame yet"""
        self._started = False
        """whether the stream's first frame has come"""
        self._said = "connecting"
        self._resized: str | None = None
        self._size = (0, 0)
        """width and height of the newest picture"""
        self._rated: str | None = None
        self._rate: Fraction | None = None
        """frames a second, as the current connection tells"""
        self._bursts = False
        self._pace = Pace(forgives=True)
        try:
            self._first: FeedFrame | None = self._first_frame()
            self.info = _describe(self._first)
        except BaseException:
            self.close()
            raise
        self._started = True
        self._color, self._size = self._first.picture.color, (self.info.width, self.info.height)
        self._timeline = LiveTimeline(self.info.rate)
        self._camera = CameraClock()
        self._rate = self.info.rate
        self._frames = self._read()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    @property
    def connected(self) -> bool:
        """Whether frames come at the moment."""
        return self._connections.feed is not None and not self._fresh

    @property
    def state(self) -> str:
        """For people: "connecting", "live", "waiting 1.2 s: wrong user or password", then "connecting: wrong user or
        password", "stopped"; "skipping: ..." where the stream fell behind the camera.
        """
        if self._stop.is_set():
            return "stopped"
        return "live" if self.connected else self._said

    @property
    def errors(self) -> int:
        """Number of errors of decoders, and of frames that they had to guess, over all connections."""
        feed, past, _ = self._connections
        return past + (feed.errors if feed is not None else 0)

    @property
    def dropped(self) -> int:
        """Number of decoded frames that were lost because nobody fetched them in time, over all connections."""
        feed, _, past = self._connections
        return past + (feed.dropped if feed is not None else 0)

    @property
    def lag(self) -> float:
        """Seconds that frames come later than the promptest frame of this connection: how long they wait in some queue.

        nan if frames come in bursts: then nearly all come later than the promptest one, and nothing is wrong.
        """
        return math.nan if self._bursts else self._timeline.lag

    @property
    def overloaded(self) -> bool:
        """Whether this machine is too slow for the stream: it fell behind the camera within the last minute."""
        return self._clock() - self._skipped_at < OVERLOADED_FOR

    @property
    def remarks(self) -> tuple[str, ...]:
        lines = []
        if self.reconnects > self.skips:
            lines.append(f"reconnected: {self.reconnects} times; last: {self.last_error}")
        if self.skips:
            lines.append(f"fell behind the camera, and began at the present again: {self.skips} times; {OVERLOADED}")
        if self.errors:
            lines.append(f"decoder errors: {self.errors}; packets were lost or damaged; the rest is shown")
        if self._timeline.jumps:
            lines.append(f"the stream's clock was set: {self._timeline.jumps} times")
        if self._rated:
            lines.append(self._rated)
        if self._resized:
            lines.append(self._resized)
        return tuple(lines)

    def health(self) -> SourceHealth:
        return SourceHealth(
            errors=self.errors,
            dropped=self.dropped,
            can_be_away=True,
            connected=self.connected,
            state=self.state,
            reconnects=self.reconnects,
            skips=self.skips,
            lag=self.lag,
            overloaded=self.overloaded,
        )

    def stop(self) -> None:
        """Ends the stream, from any thread: a thread that waits in the iterator returns soon."""
        self._stop.set()

    def close(self) -> None:
        self._stop.set()
        self._first = None
        self._drop()

    # connections

    def _first_frame(self) -> FeedFrame:
        deadline = self._clock() + self._patience.first
        while not self._stop.is_set():
            try:
                return self._next_frame()
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

    def _next_frame(self) -> FeedFrame:
        """The next frame of the current connection; connects if there is none. Raises FeedError."""
        feed = self._connections.feed
        if feed is None:
            self._fresh = True
            feed = self._connect()
            self._connections = self._connections._replace(feed=feed)
            self._since, self._bursts, self._backlog = self._clock(), feed.bursts, Backlog()
        asked = self._clock()  # silence counts only while somebody reads
        while not self._stop.is_set():
            frame = feed.read(min(POLL, self._patience.stall))
            now = self._clock()
            if frame is not None:
                if self._fresh:
                    self._fresh = False
                    self._backoff.admitted()
                if now - self._since >= STEADY:
                    self._backoff.reset()
                return frame
            # Packets may come although no frame does; if no packets come, the feed itself reports it.
            patience = max(self._patience.stall, KEY_FRAME if self._fresh else 0.0)
            if now - asked >= patience:
                raise FeedSilent(f"no frame for {now - asked:.1f} s")
        raise FeedEnded("stopped")

    def _lose(self, error: FeedError) -> None:
        """Ends the connection, logs why, and waits before the next. Raises SourceError if it is time to give up."""
        self._failures = self._failures + 1 if self._fresh else 0
        self.last_error = str(error)
        if self._started and self._patience.retries is not None and self._failures >= self._patience.retries:
            self._said = f"gave up after {self._failures} attempts: {error}"
            self._drop()
            raise SourceError(f"{self.name}: {self._said}")
        refused = isinstance(error, FeedRefused) and error.credentials
        delay, behind = self._backoff.next(refused), isinstance(error, FeedBehind)
        if behind:
            self.skips, self._skipped_at = self.skips + 1, self._clock()
        # The state tells the reason from before the connection is closed, which may take some time, until the next one
        # gives a frame. While the source skips to the present the state stays "skipping" throughout.
        self._said = f"{SKIPPING}: {error}" if behind else f"waiting {delay:.1f} s: {error}"
        self._drop()
        self._wait(delay)
        if not behind:
            self._said = f"connecting: {error}"

    def _drop(self) -> None:
        self._fresh = True
        feed, errors, dropped = self._connections
        if feed is not None:
            self._connections = _Connections(None, errors + feed.errors, dropped + feed.dropped)
            feed.close()

    # frames

    def _read(self) -> Iterator[Frame]:
        index, again = 0, False
        while not self._stop.is_set():
            try:
                held, self._first = self._first, None
                got = held or self._next_frame()
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
            gap = self._new_size(got.picture, index) or gap or rate is not None
            if self._bursts and self._hold(float(pts * LIVE_TIME_BASE), gap):
                break
            wall = self._camera.at(float(pts * LIVE_TIME_BASE), got.sent, gap)
            yield replace(self._make(got, index, pts, gap), rate=rate, wall=wall)
            index += 1
        self._drop()

    def _place(self, got: FeedFrame) -> tuple[int, bool]:
        """The frame's pts, and whether frames are missing before it. Raises FeedBehind if it is far too late."""
        time_of = None if got.pts is None else got.pts * got.time_base
        placed = self._timeline.next(time_of, got.arrived)
        feed = self._connections.feed
        if (
            time_of is not None
            and feed is not None
            and not self._bursts
            and self._backlog.note(self._timeline.lag, got.arrived, feed.idle)
        ):
            self._timeline.forget_lag()
        return placed

    def _make(self, got: FeedFrame, index: int, pts: int, gap: bool) -> Frame:
        image = self._fit(got.picture, self._size, self.info.layout, self._color)
        as_first = self._size == (self.info.width, self.info.height)
        aspect = self.info.pixel_aspect if as_first else got.pixel_aspect
        return Frame(index, pts, self.info.time_base, image, aspect, gap, damaged=got.damaged)

    def _new_size(self, picture: Picture, index: int) -> bool:
        """Whether the picture has another size than the one before; logs the change."""
        before, self._size = self._size, (picture.width, picture.height)
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


class FeedSilent(FeedError):
    """The connection exists, and no frame comes."""


def _describe(first: FeedFrame) -> VideoInfo:
    picture = first.picture
    return VideoInfo(
        width=picture.width,
        height=picture.height,
        time_base=LIVE_TIME_BASE,
        rate=first.rate,
        pixel_aspect=first.pixel_aspect,
        layout=picture.layout,
        color=picture.color,
        matrix=first.matrix,
        primaries=first.primaries,
        transfer=first.transfer,
        notes=first.notes,
    )
