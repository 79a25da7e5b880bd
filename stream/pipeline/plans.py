"""The three ways through the pipeline. One thread a stage, joined by bounded channels.

aligned   read -> explain -> draw -> write
live      read -> draw -> write, and beside it read -> explain, newest clip wins
delayed   as live, but every frame is held for one fixed delay, until the windows that saw it are explained: aligned
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...engine.types import Clip, Explanation, Frame
from ..media.pace import Pace
from ..media.timeline import leap
from .channel import Channel
from .priority import step_back
from .stages import Drawn, Plan, Stage, Stages
from .sync import Aligned, Delayed, Live, Placed

QUEUE = 4
"""Capacity of the channels between stages: enough to even out jitter, few enough to keep memory and delay small."""
HANDS = 2
"""Most items that a thread holds at a time: while it takes the next one, it still has the one before."""
T = TypeVar("T")


def plan_of(stages: Stages) -> Plan:
    """The plan that the stream's options ask for."""
    if stages.options.sync == "live":
        return LivePlan(stages)
    return DelayedPlan(stages) if stages.options.delay > 0 else AlignedPlan(stages)


@dataclass(frozen=True, eq=False)
class Step(Generic[T]):
    """A frame, or a window's clip or explanation. They share a channel because their order counts."""

    frame: Frame | None = None
    window: T | None = None


class AlignedPlan:
    """Nothing is dropped, and every stage waits for the others: the same input gives the same bytes."""

    def __init__(self, stages: Stages) -> None:
        self._do = stages
        self._read: Channel[Step[Clip]] = Channel(QUEUE)
        self._explained: Channel[Step[Explanation]] = Channel(QUEUE)
        self.drawn: Channel[Drawn] = Channel(QUEUE)
        self.channels: dict[str, Channel[Any]] = {
            "read": self._read,
            "explained": self._explained,
            "drawn": self.drawn,
        }
        self.stages: tuple[Stage, ...] = (
            Stage(self._read_all, (self._read,)),
            Stage(self._explain_all, (self._explained,)),
            Stage(self._draw_all, (self.drawn,)),
        )
        self.pictures = 3 * HANDS + 3 * QUEUE + Aligned.most_held(stages.window.extent, stages.options.hop)
        self.clips = 2 * HANDS + QUEUE

    def _read_all(self) -> None:
        for frame in self._do.frames():
            before, clip = self._do.push(frame)
            self._put(before)
            self._read.put(Step(frame))
            self._put(clip)
        self._put(self._do.rest())

    def _put(self, clip: Clip | None) -> None:
        if clip is not None:
            self._read.put(Step(window=clip))

    def _explain_all(self) -> None:
        for step in self._read:
            if step.window is not None:
                with self._do.seat.turn() as turn:
                    explanation = self._do.explain(turn, step.window)
                self._explained.put(Step(window=explanation))
            else:
                self._explained.put(Step(step.frame))

    def _draw_all(self) -> None:
        aligned = Aligned(self._do.options.hop)
        for step in self._explained:
            if step.frame is not None:
                self._draw(aligned.push(step.frame))
            if step.window is not None:
                self.drawn.put(self._do.event(step.window))
                self._draw(aligned.explain(step.window))
        self._draw(aligned.finish())

    def _draw(self, ready: Iterable[Placed]) -> None:
        for placed in ready:
            self.drawn.put(self._do.draw(placed))


class _Parallel:
    """The common part of live and delayed streams, in which frames do not wait for the network."""

    def __init__(self, stages: Stages, held: int, clips: int) -> None:
        """held: maximum number of frames that wait because they are not due yet. clips: maximum number of clips that
        wait for the model."""
        self._do = stages
        self._read: Channel[Frame] = Channel(QUEUE + held, newest_wins=True)
        self._clips: Channel[Clip] = Channel(clips, newest_wins=True)
        can_be_away = stages.source.health().can_be_away
        self.drawn: Channel[Drawn] = Channel(QUEUE, writers=2 + can_be_away)
        self.channels: dict[str, Channel[Any]] = {"read": self._read, "clip": self._clips, "drawn": self.drawn}
        self.pictures = 2 * HANDS + QUEUE + held + QUEUE
        self.clips = 2 * HANDS + clips
        self._away: tuple[Stage, ...] = (Stage(self._show_outages, (self.drawn,)),) if can_be_away else ()

    def _read_frames(self, clips_before_gaps: bool) -> None:
        source = self._do.source
        pace = None if source.live else Pace(leap(source.info.rate))
        for frame in self._do.frames():
            if pace is not None:
                self._do.stopping.wait(pace.delay(frame.time, time.monotonic()))
            before, clip = self._do.push(frame)
            self._put(before if clips_before_gaps else None)
            self._put(clip)
            self._read.put(frame)
        self._put(self._do.rest())  # a stream shorter than a window is explained too

    def _put(self, clip: Clip | None) -> None:
        if clip is not None:
            self._clips.put(clip)

    def _show_outages(self) -> None:
        for shown in self._do.outage.watch(lambda seconds: self._do.stopping.wait(seconds) or self._read.ended):
            self.drawn.put(Drawn(shown))


class LivePlan(_Parallel):
    """A frame leaves at once, with the newest explanation."""

    def __init__(self, stages: Stages) -> None:
        super().__init__(stages, held=0, clips=1)
        self.stages: tuple[Stage, ...] = (
            Stage(self._read_live, (self._read, self._clips)),
            Stage(self._explain_live, (self.drawn,)),
            Stage(self._draw_live, (self.drawn,)),
            *self._away,
        )

    def _read_live(self) -> None:
        self._read_frames(clips_before_gaps=False)

    def _explain_live(self) -> None:
        step_back()
        for clip in self._clips:
            with self._do.seat.turn() as turn:  # the clip is chosen when its turn comes: it does not age in the queue
                explanation = self._do.explain(turn, self._clips.newest(clip))
            self.drawn.put(self._do.event(explanation))

    def _draw_live(self) -> None:
        live = Live(self._do.options.max_age, gaps=self._do.gaps)
        for frame in self._read:
            live.max_age = self._do.look.max_age
            self.drawn.put(self._do.draw(live.place(frame, self._do.newest)))


class DelayedPlan(_Parallel):
    """A frame leaves a fixed delay after it came, drawn from the windows that saw it."""

    def __init__(self, stages: Stages) -> None:
        # Cameras' rates are inexact and may change, so there is room for 1.5 times the rate, and for at least 60 fps.
        rate = max(60.0, 1.5 * float(stages.source.info.rate or 60))
        super().__init__(stages, held=math.ceil(stages.options.delay * rate), clips=2)
        self._delayed = Delayed(stages.options.hop, stages.gaps)
        self.stages: tuple[Stage, ...] = (
            Stage(self._read_delayed, (self._read, self._clips)),
            Stage(self._explain_delayed, (self.drawn,)),
            Stage(self._draw_delayed, (self.drawn,)),
            *self._away,
        )

    def _read_delayed(self) -> None:
        self._read_frames(clips_before_gaps=True)

    def _explain_delayed(self) -> None:
        step_back()
        for clip in self._clips:
            with self._do.seat.turn() as turn:
                explanation = self._do.explain(turn, clip)
            self._delayed.explain(explanation)
            self.drawn.put(self._do.event(explanation))

    def _draw_delayed(self) -> None:
        for frame in self._read:
            arrival = self._do.stats.arrival(frame.index)
            if arrival is not None:
                self._do.halted.wait(max(0.0, arrival + self._do.options.delay - time.monotonic()))
            self.drawn.put(self._do.draw(self._delayed.place(frame)))
