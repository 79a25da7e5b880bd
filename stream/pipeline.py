"""The pipeline: the only file with threads. One a stage, joined by bounded channels.

aligned   read -> explain -> draw -> write -> whoever iterates
live      read -> draw -> write -> whoever iterates, and beside it read -> explain, newest clip wins
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..engine.caption import Caption, draw_caption
from ..engine.overlay import Overlay
from ..engine.picture import F32
from ..engine.preprocess import tensor
from ..engine.runner import Runner
from ..engine.saliency import Target, make_explanation, run_target
from ..engine.style import Style
from ..engine.types import Clip, Explanation, Frame, Scale, Shown
from .channel import Channel, Stopped
from .clock import Pace, Stopwatch
from .events import event
from .sink import Sink
from .source import Source
from .sync import Aligned, Live, Placed
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


@dataclass(frozen=True)
class Summary:
    """What a run did. frames_read = frames_written + frames_dropped, unless it was torn down half-way."""

    frames_read: int
    frames_written: int
    frames_dropped: int
    windows: int
    seconds: dict[str, float]
    """time spent in each stage"""
    not_finite: int = 0
    """values of evidence that were no finite numbers, and drawn as none"""


_Stage = tuple[Callable[[], None], list[Channel[Any]]]
"""what a thread does, and the channels that end when it is done"""
_Result = tuple[Shown | None, str | None]
"""what the draw stage hands to the write stage: a frame, or the line of a window"""


class Pipeline:
    """Runs a source through a model into sinks, and gives each frame shown to whoever iterates over it.

        with Pipeline(source, runner, sinks, options) as pipeline:
            for shown in pipeline: ...

    Sinks are open before the first frame is read, and closed before the iteration ends. The first error of any stage
    stops all of them and is raised from the iteration. The source stays the caller's to close.
    """

    def __init__(self, source: Source, runner: Runner, sinks: Sequence[Sink], options: Options) -> None:
        self._source, self._runner, self._sinks, self._options = source, runner, sinks, options
        live = options.sync == "live"
        manifest = runner.manifest
        self._window = Window(manifest.input, runner.frames, options.stride, 1 if live else options.hop)
        threads = options.overlay_threads
        self._pool = ThreadPoolExecutor(threads, "saliency-tubes overlay")
        self.overlay = Overlay(options.style, options.overlay, bands=threads, run=self._pool.map)
        self._read: Channel[Frame | Clip] = Channel(QUEUE, newest_wins=live)
        self._clips: Channel[Clip] = Channel(1, newest_wins=True)
        self._explained: Channel[Frame | Explanation] = Channel(QUEUE)
        self._drawn: Channel[_Result] = Channel(QUEUE, writers=2 if live else 1)
        self._shown: Channel[Shown] = Channel(QUEUE)
        self._watch = Stopwatch()
        self._newest: Explanation | None = None
        self._scale: Scale | None = None
        self._data: F32 | None = None
        self._windows = self._frames_read = self._frames_written = 0
        self._stop_reading = threading.Event()
        self._error: BaseException | None = None
        self._error_lock = threading.Lock()
        aligned: list[_Stage] = [
            (self._read_all, [self._read]),
            (self._explain_all, [self._explained]),
            (self._draw_all, [self._drawn]),
            (self._write_all, [self._shown]),
        ]
        newest: list[_Stage] = [
            (self._read_live, [self._read, self._clips]),
            (self._explain_live, [self._drawn]),
            (self._draw_live, [self._drawn]),
            (self._write_all, [self._shown]),
        ]
        self._threads = [
            threading.Thread(target=self._guarded, args=stage, name=f"saliency-tubes {stage[0].__name__}")
            for stage in (newest if live else aligned)
        ]

    def __enter__(self) -> Pipeline:
        try:
            for sink in self._sinks:
                sink.open(self._source.info)
        except BaseException:
            self._close_sinks()  # the first error is the one to tell
            raise
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_all()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()

    def __iter__(self) -> Iterator[Shown]:
        with suppress(Stopped):
            yield from self._shown
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Reads no further frame; those read are explained, drawn and written, and the outputs finished."""
        self._stop_reading.set()

    @property
    def summary(self) -> Summary:
        return Summary(
            self._frames_read,
            self._frames_written,
            self._read.dropped,
            self._windows,
            self._watch.totals(),
            self.overlay.not_finite,
        )

    # stages

    def _frames(self) -> Iterator[Frame]:
        frames = iter(self._source)
        while not self._stop_reading.is_set() and self._frames_read != self._options.limit:
            with self._watch("decode"):
                frame = next(frames, None)
            if frame is None:
                return
            self._frames_read += 1
            yield frame

    def _read_all(self) -> None:
        for frame in self._frames():
            clip = self._push(frame)
            self._read.put(frame)
            if clip is not None:
                self._read.put(clip)
        clip = self._window.flush()
        if clip is not None:
            self._read.put(clip)

    def _read_live(self) -> None:
        pace = Pace(self._stop_reading) if not self._source.live else None
        for frame in self._frames():
            if pace is not None:
                pace.wait(frame.time)
            clip = self._push(frame)
            if clip is not None:
                self._clips.put(clip)
            self._read.put(frame)
        clip = self._window.flush()  # a stream shorter than a window still gets its line
        if clip is not None:
            self._clips.put(clip)

    def _explain_all(self) -> None:
        for item in self._read:
            self._explained.put(item if isinstance(item, Frame) else self._explain(item))

    def _explain_live(self) -> None:
        for clip in self._clips:
            explanation = self._explain(clip, self._scale)
            self._scale = explanation.scale
            self._newest = explanation
            self._drawn.put((None, self._event(explanation)))

    def _draw_all(self) -> None:
        aligned = Aligned(self._options.hop)
        for item in self._explained:
            if isinstance(item, Frame):
                aligned.push(item)
                continue
            self._drawn.put((None, self._event(item)))
            for placed in aligned.explain(item):
                self._drawn.put((self._draw(placed), None))
        for placed in aligned.finish():
            self._drawn.put((self._draw(placed), None))

    def _draw_live(self) -> None:
        live = Live(self._options.max_age)
        for frame in self._read:
            assert isinstance(frame, Frame)  # clips take the other way
            self._drawn.put((self._draw(live.place(frame, self._newest)), None))

    def _write_all(self) -> None:
        try:
            for shown, line in self._drawn:
                with self._watch("write"):
                    for sink in self._sinks:
                        if shown is not None:
                            sink.write(shown)
                        if line is not None:
                            sink.event(line)
                if shown is not None:
                    self._frames_written += 1
                    self._shown.put(shown)
        except BaseException:
            self._close_sinks()  # so that what was recorded can be played; the first error is the one to tell
            raise
        failed = self._close_sinks()
        if failed is not None:
            raise failed

    # steps

    def _push(self, frame: Frame) -> Clip | None:
        with self._watch("sample"):
            return self._window.push(frame)

    def _explain(self, clip: Clip, previous: Scale | None = None) -> Explanation:
        manifest = self._runner.manifest
        with self._watch("sample"):
            data = self._data = tensor(clip, manifest.input, self._data)
        with self._watch("infer"):
            outputs, weights = run_target(self._runner, data, self._options.target)
        style = self._options.style
        with self._watch("tube"):
            explanation = make_explanation(
                outputs,
                weights,
                manifest,
                clip,
                self._options.target,
                window=self._windows,
                normalize=style.normalize,
                geometry=style.geometry,
                previous=previous,
            )
        self._windows += 1
        return explanation

    def _event(self, explanation: Explanation) -> str:
        size = (self._source.info.width, self._source.info.height)
        timings = self._watch.since_last() if self._options.timings else None
        return event(explanation, self._options.style.threshold, size, timings)

    def _draw(self, placed: Placed) -> Shown:
        frame, style = placed.frame, self._options.style
        shown = Shown(frame, placed.parts, placed.age)
        explanation = shown.explanation
        if explanation is not None:
            with self._watch("draw"):
                cells = self.overlay.blend(placed.parts, placed.at, placed.opacity)
                self.overlay.draw(frame.picture, cells, explanation.tube.crop)
                aspect = float(frame.pixel_aspect)
                draw_caption(frame.picture, Caption.of(explanation), style, aspect, placed.opacity)
        return shown

    # ends

    def _guarded(self, stage: Callable[[], None], outputs: list[Channel[Any]]) -> None:
        try:
            stage()
        except Stopped:
            pass
        except BaseException as error:  # raised again in the caller's thread
            with self._error_lock:
                self._error = self._error or error
            self._stop_all()
        finally:
            for channel in outputs:
                channel.end()

    def _close_sinks(self) -> Exception | None:
        failed: Exception | None = None
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as error:  # the others must be finished all the same
                failed = failed or error
        return failed

    def _stop_all(self) -> None:
        self._stop_reading.set()
        for channel in (self._read, self._clips, self._explained, self._drawn, self._shown):
            channel.stop()
