"""The pipeline: one thread a stage, joined by bounded channels.

aligned   read -> explain -> draw -> write -> whoever iterates
live      read -> draw -> write -> whoever iterates, and beside it read -> explain, newest clip wins
delayed   as live, but every frame is held for one fixed delay, until the windows that saw it are explained: aligned
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any

from ...engine.draw.overlay import Overlay
from ...engine.draw.style import Style
from ...engine.runtimes.base import Runner
from ...engine.saliency import Target
from ...engine.types import Clip, Explanation, Frame, Shown
from ..media.damage import Breaks
from ..media.info import FALLBACK_RATE
from ..media.wall_clock import LocalClock
from ..sinks.base import Sink
from ..sinks.group import Sinks
from ..sources.base import Source, too_late
from ..telemetry.events import Event
from ..telemetry.freshness import Freshness
from ..telemetry.stats import Snapshot, Stats, facts_of, take_snapshot
from ..telemetry.stopwatch import Stopwatch
from ..telemetry.summary import Summary, Tally
from .batcher import Batcher
from .channel import Channel, Stopped
from .clock import Pace
from .explainer import Explainer, Look
from .outage import Outage
from .painter import Painter
from .priority import step_back
from .sync import Aligned, Delayed, Gaps, Live, Placed
from .window import Window

QUEUE = 4
"""frames between two stages: enough to even out their jitter, few enough to keep memory and delay small"""


@dataclass(frozen=True)
class Options:
    """How a stream is explained."""

    target: Target = Target()
    style: Style = Style()
    sync: str = "aligned"
    """aligned: every frame waits for the windows that saw it. live: it leaves at once with the newest explanation"""
    stride: int = 1
    hop: int = 16
    """frames from one window to the next; live takes the newest window whenever the model is free"""
    max_age: float = 2.0
    """seconds; live evidence older than that fades away"""
    limit: int | None = None
    """stop after that many frames"""
    timings: bool = False
    """put the milliseconds spent in each stage into the events"""
    overlay: str = "auto"
    """the overlay's path, see `engine.overlay.paths`"""
    overlay_threads: int = 1
    """that draw one frame together"""
    hold: int = 3
    """live: windows that another class must lead for before it is explained instead; 1: each window's own"""
    delay: float = 0.0
    """seconds; aligned, of a live stream: every frame leaves so long after it came. 0: as long as it takes"""
    replan: Callable[[Fraction], int] | None = None
    """live: the stride for another rate of the camera, frames a second; None: it stays"""
    name: str = ""
    """of the stream, where there are several; events of live inputs hold it"""

    def __post_init__(self) -> None:
        if self.delay < 0 or self.hold < 1:
            raise ValueError(f"delay must be 0 or more and hold 1 or more, got {self.delay:g}, {self.hold}")


_Stage = tuple[Callable[[], None], list[Channel[Any]]]
"""what a thread does, and the channels that end when it is done"""
_Result = tuple[Shown | None, Event | None]
"""what the draw stage hands to the write stage: a frame, or the event of a window"""


class Pipeline:
    """Runs a source through a model into sinks, and gives each frame shown to whoever iterates over it.

        with Pipeline(source, runner, sinks, options) as pipeline:
            for shown in pipeline: ...

    A frame that is given out may still wait in a sink, and its planes be read-only: draw on `picture.copy()`. Sinks are
    open before the first frame is read, and closed before the iteration ends. The first error of any stage stops all of
    them and is raised from the iteration. The source stays the caller's to close.
    """

    def __init__(
        self, source: Source, runner: Runner, sinks: Sequence[Sink], options: Options, batcher: Batcher | None = None
    ) -> None:
        """batcher: of `runner`, where several pipelines share it."""
        self._source, self._runner, self._sinks, self._options = source, runner, sinks, options
        live, delayed = options.sync == "live", options.sync == "aligned" and options.delay > 0
        newest = live or delayed
        self._window = Window(runner.manifest.input, runner.frames, options.stride, 1 if live else options.hop)
        self._painter = Painter(options.style, options.overlay, options.overlay_threads)
        # Cameras are not exact about their rate, and change it: room for half as many again, and for 60 a second.
        held = math.ceil(options.delay * max(60.0, 1.5 * float(source.info.rate or 60))) if delayed else 0
        self._read: Channel[Frame | Clip] = Channel(QUEUE + held, newest_wins=newest)
        self._clips: Channel[Clip] = Channel(2 if delayed else 1, newest_wins=True)
        self._explained: Channel[Frame | Explanation] = Channel(QUEUE)
        self._drawn: Channel[_Result] = Channel(QUEUE, writers=3 if newest else 1)
        self._shown: Channel[Shown] = Channel(QUEUE)
        self._channels: dict[str, Channel[Any]] = {
            "read": self._read, "clip": self._clips, "explained": self._explained, "drawn": self._drawn,
            "shown": self._shown,
        }  # fmt: skip
        freshness = Freshness(window=self._window.spans(source.info.rate or FALLBACK_RATE))
        self._watch, self._stats, self._gaps = Stopwatch(), Stats(freshness), Gaps()
        self._wall, self._outputs = LocalClock(name=options.name), Sinks(sinks)
        self._outage = Outage(source, self._stats, lambda shown: self._drawn.put((shown, None)), self._outputs.signal)
        self._seat = (batcher or Batcher(runner)).seat(self._watch)
        self._explainer = Explainer(self._seat, self._watch, self._gaps, steady=live, hold=options.hold)
        self._tally = Tally()
        self._delayed = Delayed(options.hop, self._gaps)
        self._look = Look(options.target, options.style, options.max_age)
        self._newest: Explanation | None = None
        self._stop_reading, self._halted = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._error_lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._guarded, args=stage, name=f"saliency-tubes {stage[0].__name__}")
            for stage in (self._newest_stages(delayed) if newest else self._aligned_stages())
        ]

    def _aligned_stages(self) -> list[_Stage]:
        return [
            (self._read_all, [self._read]),
            (self._explain_all, [self._explained]),
            (self._draw_all, [self._drawn]),
            (self._write_all, [self._shown]),
        ]

    def _newest_stages(self, delayed: bool) -> list[_Stage]:
        return [
            (self._read_live, [self._read, self._clips]),
            (self._explain_live, [self._drawn]),
            (self._draw_delayed if delayed else self._draw_live, [self._drawn]),
            (self._show_outages, [self._drawn]),
            (self._write_all, [self._shown]),
        ]

    def __enter__(self) -> Pipeline:
        self._outputs.open(self._source.info)
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # a signal: nobody else would end those that run
            self.halt()
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join()
            self._outputs.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.halt()
        for thread in self._threads:
            thread.join()
        self._painter.close()

    def __iter__(self) -> Iterator[Shown]:
        with suppress(Stopped):
            yield from self._shown
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Reads no further frame; those read are explained, drawn and written, and the outputs finished."""
        self._stop_reading.set()
        self._source.stop()  # so that a reader that waits for a camera comes back

    def halt(self) -> None:
        """Ends as soon as it can: what was read is lost, and the outputs are finished."""
        self.stop()
        self._halted.set()
        self._seat.stop()
        for channel in self._channels.values():
            channel.stop()

    @property
    def overlay(self) -> Overlay:
        """What draws at the moment."""
        return self._painter.overlay

    @property
    def look(self) -> Look:
        """What is explained and how it looks; a new one counts from the next window and the next frame on."""
        return self._look

    @look.setter
    def look(self, look: Look) -> None:
        Overlay(look.style, self._options.overlay).close()  # says what is wrong with it, here and not in a stage
        self._look = look

    @property
    def summary(self) -> Summary:
        stats, late = self._stats, too_late(self._source)
        return Summary(
            stats.frames_fetched + late,
            stats.frames_out,
            self._read.dropped + late,
            self._explainer.windows,
            self._watch.totals(),
            self._painter.not_finite,
            stats.freshness.frames_drawn,
            self._tally.saw,
            self._tally.explained,
            self._tally.repeated,
        )

    def snapshot(self) -> Snapshot:
        """What there is to know at this moment. From any thread."""
        return take_snapshot(
            self._stats,
            self._watch,
            self._source,
            self._sinks,
            alive=self._error is None and any(thread.is_alive() for thread in self._threads),
            dropped={("read", "queue full"): self._read.dropped, ("clip", "newer window"): self._clips.dropped},
            queues={name: len(channel) for name, channel in self._channels.items()},
            not_finite=self._painter.not_finite,
            newest=self._newest,
            facts=facts_of(self._runner, self._painter.overlay),
        )

    # stages

    def _frames(self) -> Iterator[Frame]:
        frames, breaks = iter(self._source), Breaks()
        while not self._stop_reading.is_set() and self._stats.frames_fetched != self._options.limit:
            with self._watch("decode"):
                frame = next(frames, None)
            if frame is None:
                return
            self._stats.frame_in(frame.index, too_late(self._source), frame.damaged)
            frame = breaks.mark(frame)
            if frame.gap:
                self._gaps.add(frame.index)
            yield self._wall.stamped(frame) if self._source.live else frame

    def _read_all(self) -> None:
        for frame in self._frames():
            before, clip = self._push(frame)
            for item in (before, frame, clip):
                if item is not None:
                    self._read.put(item)
        clip = self._window.flush()
        if clip is not None:
            self._read.put(clip)

    def _read_live(self) -> None:
        pace = Pace(self._stop_reading, self._source.info.rate) if not self._source.live else None
        for frame in self._frames():
            if pace is not None:
                pace.wait(frame.time)
            for clip in self._push(frame):
                if clip is not None:
                    self._clips.put(clip)
            self._read.put(frame)
        clip = self._window.flush()  # a stream shorter than a window still gets its line
        if clip is not None:
            self._clips.put(clip)

    def _explain_all(self) -> None:
        for item in self._read:
            if isinstance(item, Clip):
                with self._seat.turn():
                    explanation = self._explain(item)
                self._explained.put(explanation)
            else:
                self._explained.put(item)

    def _explain_live(self) -> None:
        newest_wins = self._options.sync == "live"
        step_back()
        for clip in self._clips:
            with self._seat.turn():  # the clip is chosen when its turn comes: it does not age in the queue
                explanation = self._explain(self._clips.newest(clip) if newest_wins else clip)
            if not newest_wins:
                self._delayed.explain(explanation)
            self._drawn.put((None, self._event(explanation)))

    def _draw_all(self) -> None:
        aligned = Aligned(self._options.hop)
        for item in self._explained:
            if isinstance(item, Frame):
                ready: Iterator[Placed] = iter(aligned.push(item))
            else:
                self._drawn.put((None, self._event(item)))
                ready = aligned.explain(item)
            for placed in ready:
                self._drawn.put((self._draw(placed), None))
        for placed in aligned.finish():
            self._drawn.put((self._draw(placed), None))

    def _draw_live(self) -> None:
        live = Live(self._options.max_age, gaps=self._gaps)
        for frame in self._read:
            assert isinstance(frame, Frame)  # clips take the other way
            live.max_age = self._look.max_age
            self._drawn.put((self._draw(live.place(frame, self._newest)), None))

    def _draw_delayed(self) -> None:
        for frame in self._read:
            assert isinstance(frame, Frame)
            arrival = self._stats.arrival(frame.index)
            if arrival is not None:
                self._halted.wait(max(0.0, arrival + self._options.delay - time.monotonic()))
            self._drawn.put((self._draw(self._delayed.place(frame)), None))

    def _write_all(self) -> None:
        try:
            for drawn, event in self._drawn:
                if drawn is not None and drawn.outage:
                    self._stats.outage_frames += self._outputs.show_outage(drawn)
                    continue
                with self._watch("write"):
                    shown = self._outputs.write(drawn, event)
                if self._outputs.wants_stop:
                    self.stop()
                if shown is not None:
                    self._outage.last = shown
                    if self._options.sync == "live":
                        self._stats.freshness.max_age = self._look.max_age
                    self._stats.frame_out(shown)
                    self._shown.put(shown)
        except BaseException:
            self._outputs.close()  # so that what was recorded can be played; the first error is the one to tell
            raise
        failed = self._outputs.close()
        if failed is not None:
            raise failed

    def _show_outages(self) -> None:
        self._outage.watch(lambda seconds: self._stop_reading.wait(seconds) or self._read.ended)

    # steps

    def _push(self, frame: Frame) -> tuple[Clip | None, Clip | None]:
        """The clips that a frame completes: at a gap one over the frames before it, and its own."""
        replan = self._options.replan
        with self._watch("sample"):
            stride = replan(frame.rate) if replan is not None and frame.rate is not None else None
            before = self._window.cut(stride) if frame.gap else None
            if frame.rate is not None:
                self._stats.freshness.window = self._window.spans(frame.rate)
            clip = self._window.push(frame)
        return None if self._options.sync == "live" else before, clip

    def _explain(self, clip: Clip) -> Explanation:
        explanation = self._newest = self._explainer.explain(clip, self._look)
        self._stats.window(self._seat.size)
        self._tally.add(explanation)
        return explanation

    def _event(self, explanation: Explanation) -> Event:
        size = (self._source.info.width, self._source.info.height)
        timings = self._watch.since_last() if self._options.timings else None
        return Event(explanation, self._look.style.threshold, size, timings, self._options.name)

    def _draw(self, placed: Placed) -> Shown:
        with self._watch("draw") if placed.parts else nullcontext():
            return self._painter.paint(placed, self._look.style)

    # ends

    def _guarded(self, stage: Callable[[], None], outputs: list[Channel[Any]]) -> None:
        try:
            stage()
        except Stopped:
            pass
        except BaseException as error:  # raised again in the caller's thread
            with self._error_lock:
                self._error = self._error or error
            self.halt()
        finally:
            for channel in outputs:
                channel.end()
