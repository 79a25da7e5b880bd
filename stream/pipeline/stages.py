"""The steps of a frame and of a clip, of which every plan is made, and their shared state. Plans own the channels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ...engine.draw.host import HostPlace
from ...engine.errors import ModelError
from ...engine.place import Place
from ...engine.runtimes.base import Runner
from ...engine.types import Clip, Explanation, Frame, Shown
from ..media.damage import Breaks
from ..media.info import FALLBACK_RATE
from ..media.wall_clock import LocalClock
from ..sinks.base import Sink
from ..sinks.group import Sinks
from ..sources.base import Source
from ..telemetry.events import Event
from ..telemetry.freshness import Freshness
from ..telemetry.stats import Stats
from ..telemetry.stopwatch import Stopwatch
from ..telemetry.summary import Tally
from .batcher import Batcher, Turn
from .channel import Channel
from .explainer import Explainer, Look
from .options import Options
from .outage import Outage
from .painter import Painter
from .sync import Gaps, Placed
from .window import Window


@dataclass(frozen=True)
class Stage:
    """The work of one thread."""

    run: Callable[[], None]
    """the function that the thread runs; the thread has its name"""
    outputs: tuple[Channel[Any], ...]
    """the channels that end when the function returns"""


@dataclass(frozen=True, eq=False)
class Drawn:
    """An item for the writing stage, in the order of writing: a frame, or the event of a window."""

    shown: Shown | None = None
    event: Event | None = None


class Plan(Protocol):
    """How frames and clips travel: which stages there are, and the channels between them."""

    drawn: Channel[Drawn]
    """the last channel, which the writing stage reads"""
    channels: dict[str, Channel[Any]]
    """name in telemetry -> channel, with `drawn`"""
    stages: tuple[Stage, ...]
    pictures: int
    """the most frames of the stream that are alive at a time, from reading to writing"""
    clips: int
    """the most clips that are alive at a time"""


class Stages:
    """The steps of one stream. Each is called by one thread: the reading thread, unless another one is named."""

    def __init__(
        self,
        source: Source,
        runner: Runner,
        sinks: Sequence[Sink],
        options: Options,
        batcher: Batcher | None,
        place: Place | None,
    ) -> None:
        """batcher: the batcher of `runner`, if several streams share it. place: as for `Pipeline`."""
        self.source, self.options = source, options
        live = options.sync == "live"
        self._pool = ThreadPoolExecutor(options.overlay_threads, "saliency-tubes overlay")
        self.place = place or HostPlace(options.overlay, bands=options.overlay_threads, run=self._pool.map)
        sampler = self.place.sampler(runner.manifest.input)
        self.window = Window(sampler, runner.clip_length, options.stride, 1 if live else options.hop)
        freshness = Freshness(window=self.window.spans(source.info.rate or FALLBACK_RATE))
        self.watch, self.stats, self.gaps = Stopwatch(), Stats(freshness), Gaps()
        self.painter = Painter(self.place, options.style)
        self.seat = (batcher or Batcher(runner)).seat(self.watch)
        self.explainer = Explainer(runner.manifest, self.watch, self.gaps, steady=live)
        self.tally = Tally()
        self.look = Look(options.target, options.style, options.max_age, options.hold)
        """what is explained and how it is drawn; any thread may replace it"""
        self.newest: Explanation | None = None
        """the newest explanation; the explaining thread sets it, any thread may read it"""
        self.outputs, self._wall = Sinks(sinks, self.place), LocalClock(name=options.name)
        self.outage = Outage(source, self.stats, self.outputs.downloads, self.outputs.signal)
        self.stopping, self.halted = threading.Event(), threading.Event()
        """stopping: no more frames are read. halted: everything ends as soon as possible"""

    def frames(self) -> Iterator[Frame]:
        """Yields the source's frames, until it ends or reading is stopped."""
        frames, breaks = iter(self.source), Breaks()
        while not self.stopping.is_set() and self.stats.frames_fetched != self.options.limit:
            with self.watch("decode"):
                frame = next(frames, None)
            if frame is None:
                return
            self.stats.frame_in(frame.index, self.source.health().dropped, frame.damaged)
            frame = self._brought(breaks.mark(frame))
            if frame.gap:
                self.gaps.add(frame.index)
            yield self._wall.stamped(frame) if self.source.live else frame

    def _brought(self, frame: Frame) -> Frame:
        """The frame with its image in the place of the stream; in its own memory where frames wait for windows."""
        image, keep = frame.image, self.options.sync != "live"
        with nullcontext() if image.where == self.place.name else self.watch("upload"):
            brought = self.place.bring(image, keep=keep)
        return frame if brought is image else replace(frame, image=brought)

    def push(self, frame: Frame) -> tuple[Clip | None, Clip | None]:
        """The clips that a frame completes: one of the frames before it, if it follows a gap, and one that ends with
        it."""
        replan = self.options.replan
        with self.watch("sample"):
            stride = replan(frame.rate) if replan is not None and frame.rate is not None else None
            before = self.window.cut(stride) if frame.gap else None
            if frame.rate is not None:
                self.stats.freshness.window = self.window.spans(frame.rate)
            return before, self.window.push(frame)

    def rest(self) -> Clip | None:
        """At the end of the stream: a clip of the frames that are in no clip yet (`Window.flush`)."""
        return self.window.flush()

    def explain(self, turn: Turn, clip: Clip) -> Explanation:
        """Runs a clip through the network. In the explaining thread."""
        found = self.explainer.explain(turn.run, clip, self.look, self.outputs.classes)
        explanation = self.newest = found
        self.stats.window(self.seat.size)
        self.tally.add(explanation)
        return explanation

    def event(self, explanation: Explanation) -> Drawn:
        """The event of a window. In the thread that puts it into the channel."""
        size = (self.source.info.width, self.source.info.height)
        timings = self.watch.since_last() if self.options.timings else None
        return Drawn(event=Event(explanation, self.look.style.threshold, size, timings, self.options.name))

    def draw(self, placed: Placed) -> Drawn:
        """Draws a frame. In the drawing thread."""
        plain = self.outputs.plain(placed.frame.image)
        with self.watch("draw") if placed.parts else nullcontext():
            return Drawn(self.painter.paint(placed, self.look.style, plain))

    def write(self, drawn: Drawn) -> Shown | None:
        """Writes to all outputs. Returns the frame that is shown, if it is one. In the writing thread."""
        if drawn.shown is not None and drawn.shown.outage:
            self.stats.outage_frames += self.outputs.show_outage(drawn.shown)
            return None
        with self.watch("write"):
            shown = self.outputs.write(drawn.shown, drawn.event)
        if self.outputs.wants_stop:
            self.stop()
        if shown is not None:
            self.outage.last = shown
            if self.options.sync == "live":
                self.stats.freshness.max_age = self.look.max_age
            self.stats.frame_out(shown)
        return shown

    def close(self) -> None:
        """Ends the threads that draw, and lets go of the place's memory. Nothing may be drawn any more."""
        self._pool.shutdown()
        self.window.cut()
        self.outage.last = None
        self.outputs.forget()
        with suppress(ModelError):  # a device that has failed before, which was told
            self.painter.close()

    def stop(self) -> None:
        """Stops reading; frames that were read are finished. From any thread."""
        self.stopping.set()
        self.source.stop()  # wakes the reading thread if it waits for a camera

    def halt(self) -> None:
        """Ends all waiting for the source, the model and the clock. From any thread."""
        self.stop()
        self.halted.set()
        self.seat.stop()
