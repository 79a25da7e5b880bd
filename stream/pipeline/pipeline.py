"""The pipeline: runs the stages of a plan, each in a thread, writes to the outputs, and gives frames to its caller."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from ...engine.place import ImagePainter, Needs, Place
from ...engine.runtimes.base import Runner
from ...engine.types import Shown
from ..sinks.base import Sink
from ..sources.base import Source
from ..telemetry.stats import Snapshot, facts_of, take_snapshot
from ..telemetry.summary import Summary
from .batcher import Batcher
from .channel import Channel, Stopped
from .explainer import Look
from .options import Options
from .plans import HANDS, QUEUE, plan_of
from .stages import Plan, Stage, Stages
from .view import PipelineView

QUEUES = ("read", "clip", "explained", "drawn", "shown")
"""Names of the channels in telemetry; a channel that a plan does not have is shown as empty."""
DROPS = {"read": "queue full", "clip": "newer window"}
"""Channel that drops its oldest item -> the reason that telemetry gives."""


class Pipeline:
    """Runs a source through a model into sinks, and yields each drawn frame.

        with Pipeline(source, runner, sinks, options) as pipeline:
            for shown in pipeline: ...

    A yielded frame lies where it was drawn: `on_host` brings it to the host's memory. It may still wait in a sink, and
    its planes may be read-only: draw on `picture.copy()`. Sinks are opened before the first frame is read, and closed
    before the iteration ends. The first error of any stage stops all stages and is raised by the iteration. The caller
    closes the source.
    """

    def __init__(
        self,
        source: Source,
        runner: Runner,
        sinks: Sequence[Sink],
        options: Options,
        batcher: Batcher | None = None,
        place: Place | None = None,
    ) -> None:
        """batcher: the batcher of `runner`, if several pipelines share it. place: where the frames are to live, and are
        brought to; the caller closes it. None: in the host's memory.
        """
        self._source, self._runner, self._sinks, self._options = source, runner, sinks, options
        self._stages = Stages(source, runner, sinks, options, batcher, place)
        plan = plan_of(self._stages)
        self._drawn, self.reserved = plan.drawn, ""
        """reserved: the memory of the place that was taken for the stream, for people; known once it is entered"""
        self._needs = self._most_held(plan)
        self._shown: Channel[Shown] = Channel(QUEUE)
        self._channels: dict[str, Channel[Any]] = {**plan.channels, "shown": self._shown}
        self._view = PipelineView(self._stages, runner, self.snapshot)
        self._error: BaseException | None = None
        self._error_lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._guarded, args=(stage,), name=f"saliency-tubes {stage.run.__name__}")
            for stage in (*plan.stages, Stage(self._write_all, (self._shown,)))
        ]

    def __enter__(self) -> Pipeline:
        try:
            self.reserved = self._stages.place.reserve(self._needs)
            for sink in self._sinks:
                sink.attach(self._view)
            self._stages.outputs.open(self._source.info)
        except BaseException:
            self._stages.close()
            raise
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # such as a signal: end the threads that run already
            self.__exit__(None, None, None)
            self._stages.outputs.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.halt()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._stages.close()

    def __iter__(self) -> Iterator[Shown]:
        with suppress(Stopped):
            yield from self._shown
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Stops reading. The frames that were read are explained, drawn and written, and the outputs are finished."""
        self._stages.stop()

    def halt(self) -> None:
        """Ends as soon as possible: frames that were read are dropped, and the outputs are finished."""
        self._stages.halt()
        for channel in self._channels.values():
            channel.stop()

    def on_host(self, shown: Shown) -> Shown:
        """The frame with its picture on the host, copied once for this and for the outputs that take it there."""
        return self._stages.outputs.downloads.shown(shown)

    @property
    def place(self) -> Place:
        """Where the frames live."""
        return self._stages.place

    @property
    def overlay(self) -> ImagePainter:
        """What draws at the moment."""
        return self._stages.painter.painter

    @property
    def look(self) -> Look:
        """What is explained and how it is drawn. A new look is used from the next window and the next frame on."""
        return self._stages.look

    @look.setter
    def look(self, look: Look) -> None:
        self._view.set_look(look)

    @property
    def summary(self) -> Summary:
        """What the run has done so far; complete when the iteration has ended. From any thread."""
        stages, late = self._stages, self._source.health().dropped
        return Summary(
            stages.stats.frames_fetched + late,
            stages.stats.frames_out,
            self._channels["read"].dropped + late,
            stages.explainer.windows,
            stages.watch.totals(),
            stages.painter.not_finite,
            stages.stats.freshness.frames_drawn,
            stages.tally.saw,
            stages.tally.explained,
            stages.tally.repeated,
        )

    def snapshot(self) -> Snapshot:
        """A snapshot of the pipeline now. From any thread."""
        stages, channels = self._stages, self._channels
        return take_snapshot(
            stages.stats,
            stages.watch,
            self._source,
            self._sinks,
            alive=self._error is None and any(thread.is_alive() for thread in self._threads),
            dropped={(name, why): channels[name].dropped if name in channels else 0 for name, why in DROPS.items()},
            queues={name: len(channels[name]) if name in channels else 0 for name in QUEUES},
            not_finite=stages.painter.not_finite,
            place=stages.place,
            newest=stages.newest,
            facts=facts_of(self._runner, stages.painter.painter.path),
        )

    def _most_held(self, plan: Plan) -> Needs:
        """What the plan, the outputs, the caller and the picture of an outage may hold of the place at a time."""
        info, window, name = self._source.info, self._stages.window, self._stages.place.name
        outputs = sum(sink.keeps for sink in self._sinks if sink.takes_pictures and name in sink.takes)
        # The writing thread and the caller have a frame each, and one before; the outage has the last one, and its own;
        # a source that decodes there has one in its hands, and one that it has not given out yet.
        pictures = plan.pictures + QUEUE + 2 * HANDS + 2 + HANDS + outputs
        samples = window.extent + plan.clips * self._runner.clip_length + HANDS
        size, spec = (info.width, info.height), self._runner.manifest.input
        return Needs(size, info.layout, pictures, samples, spec, self._runner.cells, info.stored)

    def _write_all(self) -> None:
        outputs = self._stages.outputs
        try:
            for drawn in self._drawn:
                shown = self._stages.write(drawn)
                if shown is not None:
                    self._shown.put(shown)
        except BaseException:
            outputs.close()  # so that recordings can be played; errors of closing are less important
            raise
        failed = outputs.close()
        if failed is not None:
            raise failed

    def _guarded(self, stage: Stage) -> None:
        try:
            stage.run()
        except Stopped:
            pass
        except BaseException as error:  # raised again in the caller's thread
            _let_go(error)
            with self._error_lock:
                self._error = self._error or error
            self.halt()
        finally:
            for channel in stage.outputs:
                channel.end()


def _let_go(error: BaseException | None) -> None:
    """Empties the variables of the calls that an error came through: they hold the frames that those were busy with."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__context__
