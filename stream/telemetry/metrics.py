"""Numbers for Prometheus at /metrics and a verdict at /healthz, served by threads of their own."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Any, ClassVar

from ...engine.errors import UsageError
from ..net.loopback import is_loopback
from ..sinks.condition import STATES
from .health import REASONS, Told, health, reasons
from .histogram import Histogram
from .http_server import Handler, HttpServer
from .log import say
from .memory import allocated_bytes
from .stats import Snapshot, resident_bytes

CLIENTS = 16
"""Maximum number of requests at once; more are refused."""
PREFIX = "saliency_tubes"
UNITS = ("seconds", "bytes", "pixels")
Snapshots = Callable[[], Mapping[str, Told]]
"""A function that returns what each stream tells, by the stream's name."""

COUNTERS = {
    "frames_in": "Frames that came from the source, those included that nobody fetched there in time.",
    "frames_out": "Frames drawn and handed to every output; see sink_frames.",
    "frames_drawn": "Frames handed to the outputs that evidence was drawn on.",
    "reconnects": "Times the source was connected again.",
    "skips": "Times the stream fell behind the camera, and began at the present again.",
    "decoder_errors": "Times the decoder failed or had to guess.",
    "frames_damaged": "Frames shown and left out of what is explained, for the decoder had to guess parts of them.",
    "windows": "Windows explained.",
    "outage_frames": "Frames shown while the camera was away, in no other count.",
    "uploads": "Images copied from the host's memory to where frames live.",
    "host_copies": "Images copied to the host's memory, for outputs that take them there.",
    "copies": "Images copied where frames live, because a decoder had lent them.",
    "not_finite": "Values of evidence that were no finite numbers, and drawn as none.",
}
GAUGES = {
    "fps_in": ("fps_in", "Frames that came a second, as frames_in_total counts them, over the last seconds."),
    "fps_out": ("fps_out", "Frames a second handed to the outputs, over the last seconds."),
    "window_rate": ("windows_per_second", "Windows explained a second, over the last seconds."),
    "batch": ("batch_size", "Windows in a run of the model, those of other streams included."),
    "lag": ("lag_seconds", "How much later than the promptest one the last frame came, by the camera's clock."),
    "last_frame": ("last_frame_age_seconds", "Since the last frame came in."),
    "tube_age": ("tube_age_seconds", "From the evidence drawn to the frame it is drawn on; if none is, until now."),
    "leases": ("leases", "Images and samples in the GPU's memory that somebody holds; 0 at the end of a stream."),
    "drawn_ratio": ("drawn_ratio", "Share of frames that evidence was drawn on, over the last minute."),
    "uptime": ("uptime_seconds", "Since the stream was opened."),
}
SINK_COUNTERS = {
    "frames_written": ("frames", "Frames an output has written."),
    "events": ("events", "Lines an output has written."),
    "failed_logins": ("failed_logins", "Logins that an output has refused to those who wanted to watch."),
}
SINK_GAUGES = {
    "queued": ("queue_depth", "Frames and lines that wait for an output."),
    "viewers": ("viewers", "How many watch at an output."),
}


def parse_address(text: str) -> tuple[str, int]:
    """Host and port from [HOST:]PORT; without a host it is the loopback address. Raises UsageError."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535 or (text.startswith(":") and not host):
        raise UsageError(f"metrics must be [HOST:]PORT, as 8346 or 0.0.0.0:8346, got {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


class Collector:
    """Asks the streams at every scrape, and keeps nothing between two scrapes."""

    def __init__(self, snapshots: Snapshots, reloaded: Callable[[], Reloaded | None], started: float) -> None:
        self._snapshots, self._reloaded, self._started = snapshots, reloaded, started

    def collect(self) -> Iterable[Any]:
        """All metrics, as prometheus_client asks for them."""
        from prometheus_client import core

        told = self._snapshots()
        yield from _of_all(core, told, time.monotonic() - self._started)
        streams = {name: snapshot for name, snapshot in told.items() if isinstance(snapshot, Snapshot)}
        for field, text in COUNTERS.items():
            counter = core.CounterMetricFamily(f"{PREFIX}_{field}", text, labels=["stream"])
            for name, snapshot in streams.items():
                counter.add_metric(_labels(name), getattr(snapshot, field))
            yield counter
        for field, (title, text) in GAUGES.items():
            gauge = _gauge(core, title, text, "stream")
            for name, snapshot in streams.items():
                gauge.add_metric(_labels(name), getattr(snapshot, field))
            yield gauge
        yield from _of_pictures(core, streams)
        yield from _of_places(core, streams)
        yield from _of_sinks(core, streams)
        yield from _durations(core, streams)
        yield from _of_process(core, self._reloaded())


def _gauge(core: Any, title: str, text: str, *labels: str) -> Any:
    """A gauge. The end of its name is its unit, if it is a unit."""
    unit = title.rpartition("_")[2]
    return core.GaugeMetricFamily(f"{PREFIX}_{title}", text, labels=labels, unit=unit if unit in UNITS else "")


def _of_all(core: Any, told: Mapping[str, Told], since: float) -> Iterable[Any]:
    """Metrics that streams have also when they are not open."""
    up = _gauge(core, "up", "1 where frames come, 0 where not.", "stream")
    trouble = _gauge(core, "trouble", "1 for each reason on the health page, 0 for all others.", "stream", "reason")
    for name, stream in told.items():
        up.add_metric(_labels(name), float(isinstance(stream, Snapshot) and stream.alive and stream.connected))
        wrong = {reason.name for reason, _ in reasons(stream, since)}
        for reason in REASONS:
            trouble.add_metric(_labels(name, reason.name), float(reason.name in wrong))
    return up, trouble


def _of_pictures(core: Any, streams: Mapping[str, Snapshot]) -> Iterable[Any]:
    width = _gauge(core, "input_width_pixels", "Of the source's pictures.", "stream")
    height = _gauge(core, "input_height_pixels", "Of the source's pictures.", "stream")
    info = core.InfoMetricFamily(f"{PREFIX}_stream", "What was chosen for a stream.", labels=["stream"])
    for name, snapshot in streams.items():
        width.add_metric(_labels(name), snapshot.size[0])
        height.add_metric(_labels(name), snapshot.size[1])
        info.add_metric(_labels(name), dict(zip(snapshot.facts, _labels(*snapshot.facts.values()), strict=True)))
    return width, height, info


def _of_places(core: Any, streams: Mapping[str, Snapshot]) -> Iterable[Any]:
    dropped = core.CounterMetricFamily(
        f"{PREFIX}_dropped", "Frames, windows and events lost, where and why.", labels=["stream", "place", "reason"]
    )
    depth = _gauge(core, "queue_depth", "Items that wait.", "stream", "queue")
    for name, snapshot in streams.items():
        for (place, reason), count in snapshot.dropped.items():
            dropped.add_metric(_labels(name, place, reason), count)
        for queue, items in snapshot.queues.items():
            depth.add_metric(_labels(name, queue), items)
    return dropped, depth


def _of_sinks(core: Any, streams: Mapping[str, Snapshot]) -> Iterable[Any]:
    # One series for each possible state and not only for the present one: Prometheus would go on showing the series of
    # the state before it for five minutes.
    state = _gauge(core, "sink_state", "1 for the state an output is in, 0 for all others.", "stream", "sink", "state")
    families = {
        field: core.CounterMetricFamily(f"{PREFIX}_sink_{title}", text, labels=["stream", "sink"])
        for field, (title, text) in SINK_COUNTERS.items()
    } | {field: _gauge(core, f"sink_{title}", text, "stream", "sink") for field, (title, text) in SINK_GAUGES.items()}
    for name, snapshot in streams.items():
        for sink in snapshot.sinks:
            for known in dict.fromkeys((*STATES, sink.state)):
                state.add_metric(_labels(name, sink.name, known), float(known == sink.state))
            for field, family in families.items():
                value = getattr(sink, field)
                if value is not None:
                    family.add_metric(_labels(name, sink.name), value)
    return state, *families.values()


def _durations(core: Any, streams: Mapping[str, Snapshot]) -> Iterable[Any]:
    stages = core.HistogramMetricFamily(
        f"{PREFIX}_stage_seconds", "What a frame or window spends in a stage.", labels=["stream", "stage"],
        unit="seconds",
    )  # fmt: skip
    latency = core.HistogramMetricFamily(
        f"{PREFIX}_latency_seconds", "From a frame's arrival to its being written.", labels=["stream"], unit="seconds"
    )
    for name, snapshot in streams.items():
        for stage, spread in snapshot.stages.items():
            stages.add_metric(_labels(name, stage), _buckets(spread.total), spread.total.sum)
        latency.add_metric(_labels(name), _buckets(snapshot.latency.total), snapshot.latency.total.sum)
    return stages, latency


def _buckets(histogram: Histogram) -> list[tuple[str, int]]:
    from prometheus_client.utils import floatToGoString

    return [(floatToGoString(bound), count) for bound, count in histogram.cumulative]


def _of_process(core: Any, reloaded: Reloaded | None) -> Iterable[Any]:
    build = core.InfoMetricFamily(f"{PREFIX}_build", "What runs.")
    build.add_metric([], {"version": version("saliency-tubes"), "python": platform.python_version()})
    yield build
    yield _value(_gauge(core, "resident_memory_bytes", "Memory of the process."), float(resident_bytes()))
    yield _value(_gauge(core, "allocated_memory_bytes", "What malloc has given out."), allocated_bytes())
    if reloaded is not None:
        successful = _gauge(core, "config_last_reload_successful", "1 where the file was accepted when last read.")
        yield _value(successful, float(reloaded.successful))
        accepted = _gauge(core, "config_last_reload_success_timestamp_seconds", "When the file was last accepted.")
        yield _value(accepted, reloaded.accepted)


def _value(family: Any, value: float) -> Any:
    family.add_metric([], value)
    return family


def _labels(*names: str) -> list[str]:
    """Label values that can be written as UTF-8: a file's name may hold other bytes, which would spoil the answer."""
    return [name.encode(errors="backslashreplace").decode() for name in names]


class MetricsServer:
    """Serves while the block lasts. Raises UsageError if the address is in use or is not this machine's."""

    def __init__(
        self, address: str, snapshots: Snapshots, reloaded: Callable[[], Reloaded | None] = lambda: None
    ) -> None:
        """reloaded: tells how reading the configuration again went the last time; None if there is no file."""
        host, port = parse_address(address)
        shown = f"[{host}]" if ":" in host else host
        try:
            from prometheus_client import CollectorRegistry
        except ImportError:
            raise UsageError("--metrics needs prometheus-client: pip install 'saliency-tubes[live]'") from None
        registry = CollectorRegistry()
        started = time.monotonic()
        registry.register(Collector(snapshots, reloaded, started))

        def verdict() -> dict[str, Any]:
            return health(snapshots(), time.monotonic() - started)

        handler = type("Handler", (_Handler,), {"registry": registry, "verdict": staticmethod(verdict)})
        try:
            self._server = HttpServer((host, port), handler, CLIENTS, "metrics")
        except (OSError, ValueError, TypeError) as error:  # the last two for an impossible host name
            why = getattr(error, "strerror", None) or error
            raise UsageError(f"metrics cannot be served at {shown}:{port}: {why}") from None
        self.port = self._server.port
        self.url = f"http://{shown}:{self.port}/metrics"
        self._exposed = not is_loopback(host)

    def __enter__(self) -> MetricsServer:
        say("metrics", self.url)
        if self._exposed:
            say("metrics", "anybody who reaches this machine can read them: they ask for no password",
                level=logging.WARNING)  # fmt: skip
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()


class _Handler(Handler):
    registry: ClassVar[Any]
    verdict: ClassVar[Any]

    def do_GET(self) -> None:
        from prometheus_client.exposition import choose_encoder

        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(", ".join(self.headers.get_all("Accept", [])))
            self.answer(200, kind, encode(self.registry))
        elif path == "/healthz":
            facts = self.verdict()
            status = 503 if facts["status"] == "failing" else 200
            self.answer(status, "application/json", json.dumps(facts).encode() + b"\n")
        else:
            self.answer(404, "text/plain; charset=utf-8", b"there are /metrics and /healthz\n")


@dataclass(frozen=True)
class Reloaded:
    """How reading the configuration file went the last time."""

    successful: bool
    """whether the file was accepted; if not, the configuration before it still holds"""
    accepted: float
    """when a file was last accepted, in seconds since 1970"""
