"""The summary and /metrics tell the same drops, over a run that loses something in every place."""

from __future__ import annotations

import io
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.app import job as jobs
from saliency_tubes.stream.app import model_choice, roster
from saliency_tubes.stream.app.config import Config, ProcessOptions
from saliency_tubes.stream.app.fleet import Fleet
from saliency_tubes.stream.app.settings import Settings
from saliency_tubes.stream.net.address import Address, AddressLike
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.threaded import Threaded
from saliency_tubes.stream.telemetry.events import Event
from saliency_tubes.stream.telemetry.log import logging_to
from saliency_tubes.stream.telemetry.metrics import MetricsServer
from stubs import MemorySink, StubCamera, StubRunner, make_manifest

parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus-client")


class Camera(StubCamera):
    """Live, and three of its frames are lost before they are read."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            self.change(dropped=min(3, frame.index))
            time.sleep(0.002)
            yield frame


class Counting(MemorySink):
    def event(self, event: Event) -> None:
        super().event(event)
        self.events += 1


class Slow(Counting):
    """Behind a queue: most of what it is given is lost there."""

    seconds = 0.2

    def write(self, shown: Shown) -> None:
        time.sleep(self.seconds)
        super().write(shown)
        self.frames_written += 1


class Plain(Slow):
    """Without a queue: the pipeline waits for it, and loses frames before they are drawn."""

    seconds = 0.02


class Broken(Counting):
    def write(self, shown: Shown) -> None:
        raise SinkError("memory: gone")


def test_the_summary_and_the_metrics_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sinks: dict[str, Sink] = {}

    def open_sink(address: AddressLike, options: SinkOptions | None = None) -> Sink:
        name = Address.parse(address).shown
        made: Sink = {"slow": lambda: Threaded(Slow()), "plain": Plain, "broken": lambda: Threaded(Broken())}[name]()
        made.name = name
        sinks[name] = made
        return made

    for module in (roster, model_choice):
        monkeypatch.setattr(module, "find_model", lambda model: Path("stub.onnx"))
        monkeypatch.setattr(module, "read_manifest", lambda path: make_manifest())
    monkeypatch.setattr(model_choice, "open_attended", lambda model, **_: StubRunner(delay=0.02))
    monkeypatch.setattr(jobs, "open_source", lambda uri, options, **given: Camera(200))
    monkeypatch.setattr(jobs, "open_sink", open_sink)
    fleet = Fleet(
        Settings((Config("camera", ("slow", "plain", "broken"), name="door"),), ProcessOptions(log_format="json"))
    )
    log = io.StringIO()
    with MetricsServer("0", fleet.snapshots) as server, logging_to(log, "json"):
        fleet.run()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
            scraped = answer.read().decode()
    samples = [one for family in parser.text_string_to_metric_families(scraped) for one in family.samples]
    by_metrics = Counter({
        (one.labels["place"], one.labels["reason"]): int(one.value)
        for one in samples
        if one.name == "saliency_tubes_dropped_total" and one.value
    })  # fmt: skip
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    (dropped,) = [line for line in lines if line["event"] == "dropped"]
    (done,) = [line for line in lines if line["event"] == "done"]
    assert {(one["place"], one["reason"]): one["count"] for one in dropped["dropped"]} == by_metrics
    assert all(f"{place}, {reason}: {count}" in dropped["message"] for (place, reason), count in by_metrics.items())
    assert {place for place, _ in by_metrics} == {"source", "read", "clip", "sink slow", "sink broken"}
    totals = {
        one.name: int(one.value) for one in samples if one.labels == {"stream": "door"} and one.name.endswith("total")
    }
    frames_in, frames_out = totals["saliency_tubes_frames_in_total"], totals["saliency_tubes_frames_out_total"]
    lost = by_metrics["source", "too late"] + by_metrics["read", "queue full"]
    assert frames_in == frames_out + lost
    assert done["message"].startswith(f"{frames_in} frames in, {frames_out} out, {lost} dropped; ")
    # The outputs' own: what each was given is written or lost.
    written = {one.labels["sink"]: int(one.value) for one in samples if one.name == "saliency_tubes_sink_frames_total"}
    events = {one.labels["sink"]: int(one.value) for one in samples if one.name == "saliency_tubes_sink_events_total"}
    windows = totals["saliency_tubes_windows_total"]
    for name in ("slow", "broken"):
        own = sum(count for (place, _), count in by_metrics.items() if place == f"sink {name}")
        assert own == sinks[name].dropped
        assert frames_out + windows == written[name] + events[name] + own
