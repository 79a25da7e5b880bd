"""Numbers about a running pipeline. `Stats` is updated with every frame; a `Snapshot` of it does not change."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...engine.place import Place
from ...engine.precision import PRECISIONS
from ...engine.runtimes.base import Runner
from ...engine.types import Explanation, Shown
from ..sinks.base import Sink
from ..sinks.condition import SinkHealth
from ..sources.base import SKIPPING, Source
from .freshness import Freshness
from .histogram import Buckets, Histogram
from .stopwatch import RECENT, Stopwatch

RATE_OVER = 5.0
"""Seconds over which rates are computed."""
KEPT = 512
"""Number of latencies, and of times for a rate, that are kept: more than five seconds at 100 fps."""
IN_FLIGHT = 4096
"""Number of frames whose arrival is remembered: more than all queues and delays hold."""


@dataclass(frozen=True)
class Spread:
    """Median, 95th percentile and the like of many durations, in seconds."""

    p50: float = math.nan
    p95: float = math.nan
    count: int = 0
    """number of durations, the newest ones, that the values are taken from"""
    total: Histogram = Histogram()
    """all durations since the start"""

    @classmethod
    def of(cls, values: Sequence[float], total: Histogram | None = None) -> Spread:
        """Percentiles by nearest rank: each is a value that was measured."""
        if not values:
            return cls(total=total or Histogram())
        ranked = sorted(values)
        last = len(ranked) - 1
        return cls(ranked[round(0.5 * last)], ranked[round(0.95 * last)], len(ranked), total or Histogram())


@dataclass(frozen=True)
class Snapshot:
    """A pipeline at one moment. Times are seconds unless another unit is named; nan means not measured yet."""

    name: str
    """name of the source, safe to print"""
    state: str
    """state of the source: connected, reconnecting and so on if it tells one; else running or ended"""
    connected: bool
    """whether frames come, as far as the source knows"""
    alive: bool
    """whether the pipeline runs and no stage has failed"""
    uptime: float
    frames_in: int
    """all frames that the source received, with those that nobody fetched from it in time"""
    frames_out: int
    fps_in: float
    """frames in a second, over the last RATE_OVER seconds"""
    fps_out: float
    arrived: float
    """when the last frame came in, in monotonic seconds; when the run began if none did"""
    dropped: Mapping[tuple[str, str], int]
    """(place, reason) -> number of frames at `read` and `source`, windows at `clip`, frames and events at a sink"""
    reconnects: int
    lag: float
    """how much later frames come than the promptest one, by the camera's clock: they wait in front of the decoder"""
    decoder_errors: int
    windows: int
    window_rate: float
    """windows a second"""
    batch: float
    """windows in one run of the model, with those of other streams; the mean of the newest runs"""
    stages: Mapping[str, Spread]
    """stage -> how long a frame or a window spends in it"""
    latency: Spread
    """from a frame's arrival until it is written, with all queues"""
    tube_age: float
    """from the evidence to the frame it is drawn on; if none is drawn, from the last evidence until now"""
    queues: Mapping[str, int]
    """queue -> number of items that wait in it"""
    sinks: tuple[SinkHealth, ...] = ()
    """each output, under a name that no other output of the stream has"""
    not_finite: int = 0
    host_copies: int = 0
    """images copied to the host's memory, for outputs that take them only there"""
    uploads: int = 0
    """images copied from the host's memory to where frames live"""
    copies: int = 0
    """images copied where they live, because a decoder had lent them"""
    leases: int = 0
    """images and samples in the memory taken for the stream that somebody holds at the moment"""
    outage_frames: int = 0
    """frames shown while the camera was away; they are in none of the other counts"""
    frames_damaged: int = 0
    """damaged frames: they are shown, and left out of the clips that are explained"""
    label: str = ""
    """the class explained in the newest window; empty before the first"""
    probability: float = math.nan
    skips: int = 0
    """how often the source fell behind the camera and started at the present again"""
    overloaded: bool = False
    """whether this machine is too slow for the stream"""
    frames_drawn: int = 0
    """number of frames_out that evidence was drawn on"""
    drawn_ratio: float = math.nan
    """share of frames that evidence was drawn on, over the last minute"""
    tubes_too_old: bool = False
    """live mode: evidence is older than max_age, so that it fades, or does not come; stays True for some seconds"""
    max_age: float = math.inf
    size: tuple[int, int] = (0, 0)
    """width and height of the source's pictures, in pixels"""
    facts: Mapping[str, str] = field(default_factory=dict)
    """what was chosen for it: model, runtime, precision, overlay -> value"""

    @property
    def frames_dropped(self) -> int:
        """Frames that came in and went to no output. At the end frames_in = frames_out + frames_dropped."""
        return sum(count for (place, _), count in self.dropped.items() if place in ("source", "read"))

    @property
    def last_frame(self) -> float:
        """Seconds since the last frame came in, also of a stream that has ended."""
        return time.monotonic() - self.arrived

    @property
    def skipping(self) -> bool:
        """Whether the source fell behind the camera and is about to start at the present again."""
        return self.state.startswith(SKIPPING)

    def ended(self) -> Snapshot:
        """The snapshot for a pipeline that has ended: totals are kept, and rates, queues and the like are cleared."""
        return replace(
            self, alive=False, connected=False, state="ended", fps_in=0.0, fps_out=0.0, window_rate=0.0,
            batch=math.nan, lag=math.nan, tube_age=math.nan, latency=Spread(total=self.latency.total), queues={},
            stages={name: Spread(total=spread.total) for name, spread in self.stages.items()},
            drawn_ratio=math.nan, tubes_too_old=False, overloaded=False,
        )  # fmt: skip


class Rate:
    """Events a second, over the last RATE_OVER seconds. One thread calls `tick`; another one may ask."""

    def __init__(self) -> None:
        self._moments: deque[float] = deque(maxlen=KEPT)

    def tick(self, now: float, events: int = 1) -> None:
        self._moments.extend([now] * min(events, KEPT))

    def per_second(self, now: float, since: float) -> float:
        """since: when counting began; in the first seconds the rate is taken over the time since then."""
        moments = _copy(self._moments)
        begin = max(since, now - RATE_OVER)
        if len(moments) == KEPT:  # older times are forgotten
            begin = max(begin, moments[0])
        recent = sum(moment > begin for moment in moments)
        return recent / (now - begin) if now > begin else 0.0


class Stats:
    """Counts what passes. Each method is called by one thread; any thread may read `frames_out` and the like."""

    def __init__(self, freshness: Freshness | None = None) -> None:
        self.started = time.monotonic()
        self.freshness = freshness or Freshness()
        self.frames_fetched = self.frames_out = self.frames_damaged = self.windows = self.outage_frames = 0
        self._late = 0
        self.arrived = self.started
        """when the last frame came in"""
        self._in, self._out, self._explained = Rate(), Rate(), Rate()
        self._latencies: deque[float] = deque(maxlen=KEPT)
        self._latency = Buckets()
        self._batches: deque[float] = deque(maxlen=RECENT)
        # A ring and not a dict: the entry of a frame that is dropped on its way is overwritten in time.
        self._arrivals: list[tuple[int, float]] = [(-1, 0.0)] * IN_FLIGHT

    def frame_in(self, index: int, late: int = 0, damaged: bool = False) -> None:
        """A frame was fetched from the source now. late: number of frames lost in the source so far."""
        now = time.monotonic()
        self.frames_damaged += damaged
        self.frames_fetched += 1
        self.arrived = now
        self._arrivals[index % IN_FLIGHT] = (index, now)
        # Frames that were lost before the second one may have come before counting began.
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
        """A window was explained, in one run of the model with `batch` windows."""
        self.windows += 1
        self._batches.append(batch)
        self._explained.tick(time.monotonic())

    def arrival(self, index: int) -> float | None:
        """When a frame came in, in monotonic seconds; None if that is too long ago."""
        whose, arrival = self._arrivals[index % IN_FLIGHT]
        return arrival if whose == index else None

    def rates(self, now: float) -> tuple[float, float, float]:
        """Frames in, frames out and windows a second."""
        one, two, three = (rate.per_second(now, self.started) for rate in (self._in, self._out, self._explained))
        return one, two, three

    @property
    def batch(self) -> float:
        """Windows in one run of the model, on average."""
        sizes = _copy(self._batches)
        return sum(sizes) / len(sizes) if sizes else math.nan

    @property
    def latency(self) -> Spread:
        return Spread.of(_copy(self._latencies), self._latency.histogram)


def _copy(values: deque[float]) -> list[float]:
    """A list of the values. A deque that another thread appends to cannot be iterated over; copying it is one atomic
    call, and the copy can."""
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
    place: Place | None = None,
    newest: Explanation | None = None,
    facts: Mapping[str, str] | None = None,
) -> Snapshot:
    """The snapshot of a pipeline now. place: where its frames live."""
    now = time.monotonic()
    outputs = _named_apart([sink.health() for sink in sinks])
    recent, totals = watch.recent(), watch.histograms()
    health = source.health()
    lost = {(f"sink {one.name}", reason): count for one in outputs for reason, count in one.drops.items()}
    return Snapshot(
        **_of_stats(stats, now),
        name=source.name,
        alive=alive,
        frames_in=stats.frames_fetched + health.dropped,
        dropped={("source", "too late"): health.dropped, **dropped, **lost},
        state=health.state if alive else "ended",
        connected=alive and health.connected,
        reconnects=health.reconnects,
        lag=health.lag,
        skips=health.skips,
        overloaded=alive and health.overloaded,
        decoder_errors=health.errors,
        stages={name: Spread.of(recent.get(name, ()), total) for name, total in totals.items()},
        queues=dict(queues),
        sinks=outputs,
        not_finite=not_finite,
        host_copies=place.host_copies if place else 0,
        uploads=place.uploads if place else 0,
        copies=place.copies if place else 0,
        leases=place.leases if place else 0,
        label=newest.label if newest else "",
        probability=newest.explained[0].probability if newest else math.nan,
        size=(source.info.width, source.info.height),
        facts=facts or {},
    )


def _of_stats(stats: Stats, now: float) -> dict[str, Any]:
    """The fields of a snapshot that come from what was counted."""
    fps_in, fps_out, window_rate = stats.rates(now)
    return {
        "uptime": now - stats.started,
        "frames_out": stats.frames_out,
        "fps_in": fps_in,
        "fps_out": fps_out,
        "arrived": stats.arrived,
        "frames_damaged": stats.frames_damaged,
        "windows": stats.windows,
        "window_rate": window_rate,
        "batch": stats.batch,
        "latency": stats.latency,
        "tube_age": stats.freshness.tube_age(now),
        "outage_frames": stats.outage_frames,
        "frames_drawn": stats.freshness.frames_drawn,
        "drawn_ratio": stats.freshness.drawn_ratio(now),
        "tubes_too_old": stats.freshness.too_old,
        "max_age": stats.freshness.max_age,
    }


def facts_of(runner: Runner, overlay: str) -> dict[str, str]:
    """What computes and what draws: model, runtime, precision, overlay -> value."""
    runtime, precision = _runtime_and_precision(runner.description)
    return {"model": runner.manifest.name, "runtime": runtime, "precision": precision, "overlay": overlay}


def _runtime_and_precision(description: str) -> tuple[str, str]:
    """What computes, and in what: "OpenVINO" and "bf16 by AMX" of "OpenVINO, bf16 by AMX: 45 ms". Where no precision
    is named, what the description ends with."""
    parts = description.split(", ")
    found = [at for at, part in enumerate(parts) if part.partition(" ")[0].rstrip(":") in PRECISIONS]
    at = found[0] if found else len(parts) - 1
    return ", ".join(parts[:at]) or description, parts[at].partition(":")[0]


def _named_apart(outputs: Sequence[SinkHealth]) -> tuple[SinkHealth, ...]:
    """Two whose names differ only in what is hidden of them get numbers: each must be told apart."""
    names = [one.name for one in outputs]
    return tuple(
        replace(one, name=f"{one.name} ({names[:place].count(one.name) + 1})") if one.name in names[:place] else one
        for place, one in enumerate(outputs)
    )


_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """The process's resident memory; 0 if the system does not tell."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
