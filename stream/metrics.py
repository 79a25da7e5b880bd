"""Numbers for Prometheus at /metrics and a verdict at /healthz, served by threads of their own."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, ClassVar

from ..engine.errors import UsageError
from .http_server import Handler, HttpServer
from .log import say
from .loopback import is_loopback
from .memory import allocated_bytes
from .stats import Snapshot, Spread, resident_bytes

STALE = 5.0
"""seconds without a frame after which a stream is not healthy"""
CLIENTS = 16
"""requests at once; more are turned away"""
PREFIX = "saliency_tubes"
Snapshots = Callable[[], Mapping[str, Snapshot | str | None]]
"""by stream; None where it is not open yet, a text where it could not be opened: why"""

COUNTERS = {
    "frames_in": "Frames that came from the source, those included that nobody fetched there in time.",
    "frames_out": "Frames drawn and handed to every output; see sink_frames.",
    "frames_drawn": "Frames handed to the outputs that evidence was drawn on.",
    "reconnects": "Times the source was connected again.",
    "skips": "Times the stream fell behind the camera, and began at the present again.",
    "decoder_errors": "Times the decoder failed or had to guess.",
    "windows": "Windows explained.",
    "outage_frames": "Frames shown while the camera was away, in no other count.",
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
    "drawn_ratio": ("drawn_ratio", "Share of frames that evidence was drawn on, over the last minute."),
    "uptime": ("uptime_seconds", "Since the stream was opened."),
}


def parse_address(text: str) -> tuple[str, int]:
    """[HOST:]PORT; the host is the loopback where none is named. Raises UsageError."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 <= int(port) <= 65535 or (text.startswith(":") and not host):
        raise UsageError(f"metrics must be [HOST:]PORT, as 9090 or 0.0.0.0:9090, got {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def health(snapshots: Mapping[str, Snapshot | str | None]) -> tuple[bool, dict[str, Any]]:
    """Whether every stream runs, gives frames, and has lost no output for good; each one's state. Pure."""
    streams: dict[str, Any] = {}
    for name, one in snapshots.items():
        if not isinstance(one, Snapshot):
            streams[name] = {"healthy": False, "state": one or "opening", "last_frame_age": None}
            continue
        failed = [f"{sink.name}: {sink.note}" for sink in one.sinks if sink.state == "failed"]
        healthy = one.alive and one.connected and one.last_frame < STALE and not failed
        streams[name] = {"healthy": healthy, "state": one.state, "last_frame_age": round(one.last_frame, 3)}
        if failed:
            streams[name]["failed"] = failed
        if one.tubes_too_old:
            streams[name]["degraded"] = ["tubes too old"]
    healthy = bool(streams) and all(one["healthy"] for one in streams.values())
    return healthy, {"status": "ok" if healthy else "failing", "streams": streams}


class Collector:
    """Asks the streams at every scrape: between two of them nothing is kept."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterable[Any]:
        """As prometheus_client wants it."""
        from prometheus_client.core import CounterMetricFamily as Counter
        from prometheus_client.core import GaugeMetricFamily as Gauge

        found = self._snapshots()
        up = Gauge(f"{PREFIX}_up", "1 where frames come, 0 where not.", labels=["stream"])
        for name, one in found.items():
            up.add_metric(_labels(name), float(isinstance(one, Snapshot) and one.alive and one.connected))
        yield up
        streams = {name: one for name, one in found.items() if isinstance(one, Snapshot)}
        for field, text in COUNTERS.items():
            counter = Counter(f"{PREFIX}_{field}", text, labels=["stream"])
            for name, one in streams.items():
                counter.add_metric(_labels(name), getattr(one, field))
            yield counter
        for field, (title, text) in GAUGES.items():
            gauge = Gauge(f"{PREFIX}_{title}", text, labels=["stream"])
            for name, one in streams.items():
                gauge.add_metric(_labels(name), getattr(one, field))
            yield gauge
        yield from self._labelled(streams, Counter, Gauge)
        yield from self._quantiles(streams, Gauge)
        yield Gauge(f"{PREFIX}_resident_memory_bytes", "Memory of the process.", value=float(resident_bytes()))
        yield Gauge(f"{PREFIX}_allocated_memory_bytes", "What malloc has given out.", value=allocated_bytes())

    def _labelled(self, streams: Mapping[str, Snapshot], counter: Any, gauge: Any) -> Iterable[Any]:
        dropped = counter(
            f"{PREFIX}_dropped", "Frames, windows and events lost, where and why.", labels=["stream", "place", "reason"]
        )
        depth = gauge(f"{PREFIX}_queue_depth", "Items that wait.", labels=["stream", "queue"])
        state = gauge(f"{PREFIX}_sink_state", "1 for the state an output is in.", labels=["stream", "sink", "state"])
        sinks = {
            field: kind(f"{PREFIX}_sink_{title}", text, labels=["stream", "sink"])
            for field, (kind, title, text) in {
                "frames": (counter, "frames", "Frames an output has written."),
                "events": (counter, "events", "Lines an output has written."),
                "queued": (gauge, "queue_depth", "Frames and lines that wait for an output."),
            }.items()
        }
        for name, one in streams.items():
            for (place, reason), count in one.dropped.items():
                dropped.add_metric(_labels(name, place, reason), count)
            for queue, items in one.queues.items():
                depth.add_metric(_labels(name, queue), items)
            for sink in one.sinks:
                state.add_metric(_labels(name, sink.name, sink.state), 1.0)
                for field, family in sinks.items():
                    family.add_metric(_labels(name, sink.name), getattr(sink, field))
        return dropped, depth, state, *sinks.values()

    def _quantiles(self, streams: Mapping[str, Snapshot], gauge: Any) -> Iterable[Any]:
        # Gauges, not summaries: a summary's sum and count would be of a bounded memory, and go down.
        stages = gauge(
            f"{PREFIX}_stage_seconds",
            "What a frame or window spends in a stage.",
            labels=["stream", "stage", "quantile"],
        )
        latency = gauge(
            f"{PREFIX}_latency_seconds", "From a frame's arrival to its being written.", labels=["stream", "quantile"]
        )
        for name, one in streams.items():
            for stage, spread in one.stages.items():
                for quantile, value in _pairs(spread):
                    stages.add_metric(_labels(name, stage, quantile), value)
            for quantile, value in _pairs(one.latency):
                latency.add_metric(_labels(name, quantile), value)
        return stages, latency


def _labels(*names: str) -> list[str]:
    """As UTF-8 can write them: bytes of a file's name that are none would spoil the whole answer."""
    return [name.encode(errors="backslashreplace").decode() for name in names]


def _pairs(spread: Spread) -> list[tuple[str, float]]:
    return [] if math.isnan(spread.p50) else [("0.5", spread.p50), ("0.95", spread.p95)]


class MetricsServer:
    """Serves while the block lasts. Raises UsageError where the address cannot be had."""

    def __init__(self, address: str, snapshots: Snapshots) -> None:
        host, port = parse_address(address)
        shown = f"[{host}]" if ":" in host else host
        try:
            from prometheus_client import CollectorRegistry
        except ImportError:
            raise UsageError("--metrics needs prometheus-client: pip install 'saliency-tubes[live]'") from None
        registry = CollectorRegistry()
        registry.register(Collector(snapshots))
        handler = type(
            "Handler", (_Handler,), {"registry": registry, "verdict": staticmethod(lambda: health(snapshots()))}
        )
        try:
            self._server = HttpServer((host, port), handler, CLIENTS, "metrics")
        except (OSError, ValueError, TypeError) as error:  # the last two for what can be no host's name
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
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        path = self.path.partition("?")[0]
        if path == "/metrics":
            self.answer(200, CONTENT_TYPE_LATEST, generate_latest(self.registry))
        elif path == "/healthz":
            healthy, facts = self.verdict()
            self.answer(200 if healthy else 503, "application/json", json.dumps(facts).encode() + b"\n")
        else:
            self.answer(404, "text/plain; charset=utf-8", b"there are /metrics and /healthz\n")
