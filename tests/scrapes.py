"""What a scrape of /metrics finds, of streams that are made up here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from saliency_tubes.stream.sinks.condition import SinkHealth
from saliency_tubes.stream.telemetry.health import Told
from saliency_tubes.stream.telemetry.histogram import Buckets
from saliency_tubes.stream.telemetry.metrics import Collector, Reloaded
from saliency_tubes.stream.telemetry.stats import Snapshot, Spread

PLAIN = "text/plain"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def durations(*seconds: float) -> Spread:
    tally = Buckets()
    for one in seconds:
        tally.add(one)
    return Spread.of(seconds, tally.histogram)


def healthy(**changed: Any) -> Snapshot:
    """A stream that lacks nothing, with a recording and an output that is watched."""
    sinks = (
        SinkHealth("rec.mkv", "running", 1500),
        SinkHealth("rtsp://127.0.0.1:8554/live", "running", 1500, viewers=2, failed_logins=1),
    )
    made = Snapshot(
        name="door", state="live", connected=True, alive=True, uptime=60.0, frames_in=1500, frames_out=1500,
        fps_in=25.0, fps_out=25.0, arrived=time.monotonic(),
        dropped={("read", "queue full"): 0, ("clip", "newer window"): 9},
        reconnects=0, lag=0.02, decoder_errors=0, windows=300, window_rate=5.0, batch=1.0,
        frames_drawn=1480, drawn_ratio=0.99, max_age=2.0,
        stages={"infer": durations(0.1, 0.2)}, latency=durations(0.01, 0.03), tube_age=0.4,
        queues={"read": 0}, sinks=sinks, label="yoga", probability=0.9, size=(640, 480),
        facts={"model": "i3d", "runtime": "OpenVINO on CPU", "precision": "bf16", "overlay": "avx2"},
    )  # fmt: skip
    return replace(made, **changed)


def with_sink(state: str, note: str = "", **changed: Any) -> Snapshot:
    """The same, but for the state of its recording."""
    one = healthy()
    return replace(one, sinks=(replace(one.sinks[0], state=state, note=note, **changed), one.sinks[1]))


@dataclass
class _Registry:
    """As prometheus_client's encoders want one."""

    collector: Collector

    def collect(self) -> Any:
        return self.collector.collect()


def scrape(
    found: Mapping[str, Told], reloaded: Reloaded | None = None, accept: str = PLAIN, since: float = 120.0
) -> str:
    """The text of /metrics. since: seconds since the process started."""
    from prometheus_client.exposition import choose_encoder

    collector = Collector(lambda: found, lambda: reloaded, time.monotonic() - since)
    encode, _ = choose_encoder(accept)
    return str(encode(_Registry(collector)).decode())


def families(text: str, accept: str = PLAIN) -> list[Any]:
    """What prometheus_client's own parser reads there."""
    from prometheus_client import parser as plain
    from prometheus_client.openmetrics import parser as openmetrics

    return list((plain if accept == PLAIN else openmetrics).text_string_to_metric_families(text))


def values(text: str) -> dict[tuple[Any, ...], float]:
    """Each sample's value, by its name and its labels as pairs, sorted."""
    return {(s.name, *sorted(s.labels.items())): s.value for family in families(text) for s in family.samples}


def full(accept: str = PLAIN) -> str:
    """A scrape with everything in it that can be."""
    return scrape({"door": healthy(), "yard": None}, Reloaded(True, 1.7e9), accept)
