"""What a running pipeline knows of itself. `Stats` is told of every frame; a `Snapshot` of it does not change."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...engine.draw.overlay import Overlay
from ...engine.runtimes.base import Runner
from ...engine.types import Explanation, Shown
from ..sinks.base import Sink
from ..sources.base import SKIPPING, Connection, Source, too_late
from .freshness import Freshness
from .histogram import Histogram, Tally
from .stopwatch import RECENT, Stopwatch

RATE_OVER = 5.0
"""seconds over which a rate is taken"""
KEPT = 512
"""latencies kept, and moments of a rate: more than five seconds at 100 fps"""
IN_FLIGHT = 4096
"""frames whose arrival is remembered: more than any queue and delay hold"""


@dataclass(frozen=True)
class Spread:
    """Of many durations, in seconds."""

    p50: float = math.nan
    p95: float = math.nan
    count: int = 0
    """how many it was taken over: the last ones"""
    total: Histogram = Histogram()
    """of all there ever were"""

    @classmethod
    def of(cls, values: Sequence[float], total: Histogram | None = None) -> Spread:
        """Nearest rank: each is a value that was measured."""
        if not values:
            return cls(total=total or Histogram())
        ranked = sorted(values)
        last = len(ranked) - 1
        return cls(ranked[round(0.5 * last)], ranked[round(0.95 * last)], len(ranked), total or Histogram())


@dataclass(frozen=True)
class SinkState:
    """One output, as telemetry sees it."""

    name: str
    """safe to print"""
    state: str
    frames: int
    events: int
    dropped: int
    """frames and lines that it did not take"""
    note: str = ""
    """the newest thing to be said of it"""
    description: str = ""
    """how it encodes, once that is known"""
    queued: int = 0
    """frames and lines that wait for it"""
    trying: float = 0.0
    """seconds for which it has tried to work, and does not"""
    viewers: int | None = None
    """how many watch there; None where nobody can"""
    failed_logins: int | None = None
    """None where nobody can log in"""


@dataclass(frozen=True)
class Snapshot:
    """A pipeline at one moment. Seconds where nothing else is said; nan where nothing was measured yet."""

    name: str
    """of the source, safe to print"""
    state: str
    """of the source: connected, reconnecting ... as it says itself; else running or ended"""
    connected: bool
    """frames come, as far as the source knows"""
    alive: bool
    """the pipeline runs, no stage has failed"""
    uptime: float
    frames_in: int
    """all that came from the source, those included that nobody fetched there in time"""
    frames_out: int
    fps_in: float
    """the same a second, over the last RATE_OVER seconds"""
    fps_out: float
    arrived: float
    """when the last frame came in, in monotonic seconds; when it all began where none did"""
    dropped: Mapping[tuple[str, str], int]
    """by (place, reason); those at `read` and `source` are frames, at `clip` windows, at a sink what it lost"""
    reconnects: int
    lag: float
    """frames come so much later than the promptest did, by the camera's clock: what waits in front of the decoder"""
    decoder_errors: int
    windows: int
    window_rate: float
    """windows a second"""
    batch: float
    """windows in a run of the model, those of other streams included; the mean of the last ones"""
    stages: Mapping[str, Spread]
    """how long a frame or a window spends in each"""
    latency: Spread
    """from a frame's arrival to its being written, all queues included"""
    tube_age: float
    """from the evidence drawn to the frame it is drawn on; where none is drawn, from the last there was until now"""
    queues: Mapping[str, int]
    """how many items wait in each"""
    sinks: tuple[SinkState, ...] = ()
    not_finite: int = 0
    outage_frames: int = 0
    """shown while the camera was away; in none of the other counts"""
    frames_damaged: int = 0
    """shown, and left out of what is explained"""
    label: str = ""
    """the class explained in the newest window; empty before the first"""
    probability: float = math.nan
    skips: int = 0
    """how often the source fell behind the camera, and began at the present again"""
    overloaded: bool = False
    """this machine is short of time for the stream"""
    frames_drawn: int = 0
    """of frames_out, those that evidence was drawn on"""
    drawn_ratio: float = math.nan
    """share of them over the last minute"""
    tubes_too_old: bool = False
    """live: evidence is older than max_age, so that it fades, or does not come at all; held for some seconds"""
    max_age: float = math.inf
    size: tuple[int, int] = (0, 0)
    """width and height of the source's pictures, in pixels"""
    facts: Mapping[str, str] = field(default_factory=dict)
    """what was chosen for it, by name: model, runtime, precision, overlay"""

    @property
    def frames_dropped(self) -> int:
        """Of those that came in, how many went to no output: frames_in = frames_out + frames_dropped at the end."""
        return sum(count for (place, _), count in self.dropped.items() if place in ("source", "read"))

    @property
    def last_frame(self) -> float:
        """since the last frame came in, until now: of a stream that has ended as well"""
        return time.monotonic() - self.arrived

    @property
    def skipping(self) -> bool:
        """The source fell behind the camera, and is about to begin at the present again."""
        return self.state.startswith(SKIPPING)

    def ended(self) -> Snapshot:
        """What is left to tell once the pipeline is gone: totals, and nothing of what no longer moves."""
        return replace(
            self, alive=False, connected=False, state="ended", fps_in=0.0, fps_out=0.0, window_rate=0.0,
            batch=math.nan, lag=math.nan, tube_age=math.nan, latency=Spread(total=self.latency.total), queues={},
            stages={name: Spread(total=spread.total) for name, spread in self.stages.items()},
            drawn_ratio=math.nan, tubes_too_old=False, overloaded=False,
        )  # fmt: skip


class Rate:
    """Events a second, over the last RATE_OVER seconds. One thread ticks, another may ask."""

    def __init__(self) -> None:
        self._moments: deque[float] = deque(maxlen=KEPT)

    def tick(self, now: float, events: int = 1) -> None:
        self._moments.extend([now] * min(events, KEPT))

    def per_second(self, now: float, since: float) -> float:
        """`since`: when counting began, so that the first seconds are not taken for slow ones."""
        moments = _copy(self._moments)
        begin = max(since, now - RATE_OVER)
        if len(moments) == KEPT:  # older ones are forgotten
            begin = max(begin, moments[0])
        recent = sum(moment > begin for moment in moments)
        return recent / (now - begin) if now > begin else 0.0


class Stats:
    """Counts what passes. Each method belongs to one thread, but `frames_out` and the like may be read by any."""

    def __init__(self, freshness: Freshness | None = None) -> None:
        self.started = time.monotonic()
        self.freshness = freshness or Freshness()
        self.frames_fetched = self.frames_out = self.frames_damaged = self.windows = self.outage_frames = 0
        self._late = 0
        self.arrived = self.started
        """when the last frame came in"""
        self._in, self._out, self._explained = Rate(), Rate(), Rate()
        self._latencies: deque[float] = deque(maxlen=KEPT)
        self._latency = Tally()
        self._batches: deque[float] = deque(maxlen=RECENT)
        # A ring rather than a dict: a frame dropped on its way leaves nothing behind.
        self._arrivals: list[tuple[int, float]] = [(-1, 0.0)] * IN_FLIGHT

    def frame_in(self, index: int, late: int = 0, damaged: bool = False) -> None:
        """A frame was fetched from the source, now. late: how many came and were lost there so far (`too_late`)."""
        now = time.monotonic()
        self.frames_damaged += damaged
        self.frames_fetched += 1
        self.arrived = now
        self._arrivals[index % IN_FLIGHT] = (index, now)
        # What was lost before the second one may have come before all this began.
        self._in.tick(now, 1 + late - self._late if self.frames_fetched > 2 else 1)
        self._late = late

    def frame_out(self, shown: Shown) -> None:
        """A frame was written to every output."""
        now, index = time.monotonic(), shown.frame.index
        self.frames_out += 1
        drawn = bool(shown.parts)
        self.freshness.show(now, shown.age if drawn or shown.age else None, drawn, shown.frame.gap)
        self._out.tick(now)
        whose, arrival = self._arrivals[index % IN_FLIGHT]
        if whose == index:
            self._latencies.append(now - arrival)
            self._latency.add(now - arrival)

    def window(self, batch: int = 1) -> None:
        """A window was explained, one of `batch` in a run of the model."""
        self.windows += 1
        self._batches.append(batch)
        self._explained.tick(time.monotonic())

    def arrival(self, index: int) -> float | None:
        """When a frame came in, in monotonic seconds; None where that is long ago."""
        whose, arrival = self._arrivals[index % IN_FLIGHT]
        return arrival if whose == index else None

    def rates(self, now: float) -> tuple[float, float, float]:
        """Frames in, frames out and windows a second."""
        one, two, three = (rate.per_second(now, self.started) for rate in (self._in, self._out, self._explained))
        return one, two, three

    @property
    def batch(self) -> float:
        """Windows in a run of the model, on average."""
        sizes = _copy(self._batches)
        return sum(sizes) / len(sizes) if sizes else math.nan

    @property
    def latency(self) -> Spread:
        return Spread.of(_copy(self._latencies), self._latency.histogram)


def _copy(values: deque[float]) -> list[float]:
    """A deque that another thread appends to cannot be iterated over, but `list` of a copy can: copy() is one call."""
    return list(values.copy())


def take_snapshot(
    stats: Stats,
    watch: Stopwatch,
    source: Source,
    sinks: Sequence[Sink],
    *,
    alive: bool,
    dropped: Mapping[tuple[str, str], int],
    queues: Mapping[str, int],
    not_finite: int,
    newest: Explanation | None = None,
    facts: Mapping[str, str] | None = None,
) -> Snapshot:
    """Everything at one moment."""
    now = time.monotonic()
    fps_in, fps_out, window_rate = stats.rates(now)
    names = _distinct([sink.name for sink in sinks])
    named = list(zip(names, sinks, strict=True))
    recent, totals = watch.recent(), watch.histograms()
    late = too_late(source)
    lost = {(f"sink {name}", reason): count for name, sink in named for reason, count in tuple(sink.drops.items())}
    return Snapshot(
        name=source.name,
        alive=alive,
        uptime=now - stats.started,
        frames_in=stats.frames_fetched + late,
        frames_out=stats.frames_out,
        fps_in=fps_in,
        fps_out=fps_out,
        arrived=stats.arrived,
        dropped={("source", "too late"): late, **dropped, **lost},
        **_of_connection(source, alive),
        decoder_errors=source.errors,
        frames_damaged=stats.frames_damaged,
        windows=stats.windows,
        window_rate=window_rate,
        batch=stats.batch,
        stages={name: Spread.of(recent.get(name, ()), total) for name, total in totals.items()},
        latency=stats.latency,
        tube_age=stats.freshness.tube_age(now),
        queues=dict(queues),
        sinks=tuple(_state(name, sink) for name, sink in named),
        not_finite=not_finite,
        outage_frames=stats.outage_frames,
        label=newest.label if newest else "",
        probability=newest.explained[0].probability if newest else math.nan,
        frames_drawn=stats.freshness.frames_drawn,
        drawn_ratio=stats.freshness.drawn_ratio(now),
        tubes_too_old=stats.freshness.too_old,
        max_age=stats.freshness.max_age,
        size=(source.info.width, source.info.height),
        facts=facts or {},
    )


def _of_connection(source: Source, alive: bool) -> dict[str, Any]:
    """Fields of a snapshot that only a source knows that can lose what it reads from."""
    if not isinstance(source, Connection):
        return {"state": "running" if alive else "ended", "connected": alive, "reconnects": 0, "lag": math.nan}
    return {
        "state": source.state if alive else "ended",
        "connected": alive and source.connected,
        "reconnects": source.reconnects,
        "lag": source.lag,
        "skips": source.skips,
        "overloaded": alive and source.overloaded,
    }


def facts_of(runner: Runner, overlay: Overlay) -> dict[str, str]:
    """What computes and what draws, as labels have it: model, runtime, precision, overlay."""
    runtime, _, precision = runner.description.rpartition(", ")
    return {
        "model": runner.manifest.name, "runtime": runtime or precision, "precision": precision, "overlay": overlay.path,
    }  # fmt: skip


def _state(name: str, sink: Sink) -> SinkState:
    note = (sink.notes or ("",))[-1]
    return SinkState(
        name, sink.state, sink.frames, sink.events, sink.dropped, note, sink.description, sink.queued, sink.trying,
        sink.viewers, sink.failed_logins,
    )  # fmt: skip


def _distinct(names: Sequence[str]) -> list[str]:
    """Two that differ only in what is hidden of them get numbers: each must be told apart."""
    return [f"{name} ({names[:place].count(name) + 1})" if name in names[:place] else name
            for place, name in enumerate(names)]  # fmt: skip


_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """The process's resident memory; 0 where the system does not say."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
