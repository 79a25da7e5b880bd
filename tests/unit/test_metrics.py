"""Numbers for Prometheus and the health page, over a real socket."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import replace

import pytest
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.telemetry import http_server
from saliency_tubes.stream.telemetry.health import health
from saliency_tubes.stream.telemetry.log import logging_to
from saliency_tubes.stream.telemetry.metrics import MetricsServer, parse_address
from saliency_tubes.stream.telemetry.stats import Snapshot
from stubs import MemorySink, StubRunner, StubSource
from waiting import LONG, ends

parser = pytest.importorskip("prometheus_client.parser", reason="needs prometheus-client")


@pytest.fixture
def snapshot() -> Snapshot:
    with Pipeline(
        StubSource(), StubRunner(description="stub on CPU, bf16"), [MemorySink()], Options(hop=2)
    ) as pipeline:
        list(pipeline)
    ended = pipeline.snapshot()
    (sink,) = ended.sinks
    return replace(
        ended, alive=True, connected=True, state="live", arrived=time.monotonic(), reconnects=3, lag=0.5,
        uploads=40, host_copies=20, copies=10, leases=5,
        sinks=(replace(sink, frames_written=40, events=17, queued=3),),
    )  # fmt: skip


def get(server: MetricsServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics(snapshot):
    with MetricsServer("0", lambda: {"door": snapshot, "yard": None}) as server:
        status, text = get(server, "/metrics")
    assert status == 200
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    door = ("stream", "door")
    assert values[("saliency_tubes_up", door)] == 1
    assert values[("saliency_tubes_up", ("stream", "yard"))] == 0
    assert values[("saliency_tubes_frames_in_total", door)] == 40
    assert values[("saliency_tubes_frames_out_total", door)] == 40
    assert values[("saliency_tubes_reconnects_total", door)] == 3
    assert values[("saliency_tubes_windows_total", door)] == 17
    assert values[("saliency_tubes_batch_size", door)] == 1
    assert values[("saliency_tubes_dropped_total", ("place", "read"), ("reason", "queue full"), door)] == 0
    assert values[("saliency_tubes_latency_seconds_count", door)] == 40
    assert values[("saliency_tubes_latency_seconds_sum", door)] > 0
    assert values[("saliency_tubes_stage_seconds_count", ("stage", "infer"), door)] == 17
    assert values[("saliency_tubes_stage_seconds_bucket", ("le", "+Inf"), ("stage", "infer"), door)] == 17
    assert values[("saliency_tubes_input_width_pixels", door)] == 64
    assert values[("saliency_tubes_input_height_pixels", door)] == 48
    (facts,) = [dict(labels) for name, *labels in values if name == "saliency_tubes_stream_info"]
    assert facts == {
        "stream": "door",
        "model": "stub",
        "runtime": "stub on CPU",
        "precision": "bf16",
        "overlay": Overlay(Style()).path,
    }
    assert values[("saliency_tubes_queue_depth", ("queue", "read"), door)] == 0
    for name, value in (("uploads_total", 40), ("host_copies_total", 20), ("copies_total", 10), ("leases", 5)):
        assert values[(f"saliency_tubes_{name}", door)] == value
    sink = ("sink", "memory")
    assert values[("saliency_tubes_sink_frames_total", sink, door)] == 40
    assert values[("saliency_tubes_sink_events_total", sink, door)] == 17
    assert values[("saliency_tubes_sink_queue_depth", sink, door)] == 3
    assert values[("saliency_tubes_lag_seconds", door)] == 0.5
    assert values[("saliency_tubes_frames_drawn_total", door)] == 40
    assert values[("saliency_tubes_drawn_ratio", door)] == 1
    assert values[("saliency_tubes_resident_memory_bytes",)] > 1e6
    assert not values[("saliency_tubes_allocated_memory_bytes",)] <= 1e6  # nan where the C library does not tell
    # Prometheus' own conventions: one prefix, units by name, counters end in total
    assert all(name.startswith("saliency_tubes_") for name, *_ in values)


def test_of_a_stream_that_has_ended_nothing_moves_but_its_age(snapshot):
    assert min(snapshot.fps_in, snapshot.fps_out, snapshot.window_rate) > 0
    ended = replace(snapshot, arrived=time.monotonic() - 7).ended()
    with MetricsServer("0", lambda: {"door": ended}) as server:
        _, text = get(server, "/metrics")
    values = {
        sample.name: sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels == {"stream": "door"}
    }
    assert values["saliency_tubes_up"] == 0
    assert values["saliency_tubes_frames_in_total"] == 40
    assert [values[f"saliency_tubes_{name}"] for name in ("fps_in", "fps_out", "windows_per_second")] == [0, 0, 0]
    assert 7 < values["saliency_tubes_last_frame_age_seconds"] < 12
    assert values["saliency_tubes_latency_seconds_count"] == 40  # what has been counted stays


def test_memory_is_told_before_any_stream_is_open():
    with MetricsServer("0", lambda: {"door": None}) as server:
        _, text = get(server, "/metrics")
    (line,) = [line for line in text.splitlines() if line.startswith("saliency_tubes_resident_memory_bytes ")]
    assert float(line.split()[1]) > 1e6


def test_health(snapshot):
    found = {"door": snapshot}
    with MetricsServer("0", lambda: found) as server:
        status, text = get(server, "/healthz")
        assert (status, json.loads(text)["status"]) == (200, "ok")
        found["door"] = replace(snapshot, lag=9.0)
        status, text = get(server, "/healthz")
        assert (status, json.loads(text)["status"]) == (200, "degraded")  # pictures come
        found["door"] = replace(snapshot, connected=False, state="waiting 1.0 s: no frame")
        status, text = get(server, "/healthz")
        assert (status, json.loads(text)["status"]) == (503, "failing")
        assert json.loads(text)["streams"]["door"]["state"] == "waiting 1.0 s: no frame"
        assert get(server, "/")[0] == 404


def test_streams_that_are_not_open(snapshot):
    found = {"door": snapshot, "yard": None, "pond": "failed: the camera is gone"}
    facts = health(found, 1.0)
    assert facts["status"] == "failing"
    told = {name: (one["state"], one["last_frame_age"]) for name, one in facts["streams"].items() if name != "door"}
    assert told == {"yard": ("opening", None), "pond": (found["pond"], None)}
    with MetricsServer("0", lambda: found) as server:
        _, text = get(server, "/metrics")
    assert 'saliency_tubes_up{stream="door"} 1.0' in text
    assert 'saliency_tubes_up{stream="pond"} 0.0' in text
    assert 'saliency_tubes_trouble{reason="failed",stream="pond"} 1.0' in text
    assert 'saliency_tubes_trouble{reason="failed",stream="door"} 0.0' in text
    assert 'saliency_tubes_frames_in_total{stream="pond"}' not in text


def test_clients_that_never_speak_keep_nobody_waiting(snapshot, monkeypatch):
    monkeypatch.setattr(http_server.Handler, "timeout", 3 * LONG)
    with ends(), MetricsServer("0", lambda: {"door": snapshot}) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
        assert get(server, "/healthz")[0] == 200
    for one in silent:
        one.close()


def test_whom_it_listens_to_is_said(snapshot):
    stream = io.StringIO()
    with logging_to(stream), MetricsServer("0.0.0.0:0", dict):
        pass
    assert "anybody who reaches this machine" in stream.getvalue()
    stream = io.StringIO()
    with logging_to(stream), MetricsServer("0", dict):
        pass
    assert "anybody" not in stream.getvalue()
    assert "http://127.0.0.1:" in stream.getvalue()


def has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6():
    with MetricsServer("[::1]:0", dict) as server:
        assert server.url == f"http://[::1]:{server.port}/metrics"
        with urllib.request.urlopen(server.url, timeout=5) as answer:
            assert b"resident_memory_bytes" in answer.read()
        with pytest.raises(UsageError, match=rf"cannot be served at \[::1\]:{server.port}: .*in use"):
            MetricsServer(f"[::1]:{server.port}", dict)


@pytest.mark.parametrize("host", ["a\0b", "x" * 70, "é" * 70, "1:2"])
def test_what_is_no_host(host):
    with pytest.raises(UsageError, match="metrics cannot be served at"):
        MetricsServer(f"{host}:0", dict)


def test_names_that_are_not_utf_8(snapshot):
    name = os.fsdecode(b"caf\xe9.mp4")
    (sink,) = snapshot.sinks
    found = {name: replace(snapshot, sinks=(replace(sink, name=name),), dropped={(f"sink {name}", "too slow"): 1})}
    with MetricsServer("0", lambda: found) as server:
        status, text = get(server, "/metrics")
        assert get(server, "/healthz")[0] == 200
    assert status == 200
    streams = {
        label
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
        for label in sample.labels.values()
        if "caf" in label
    }
    assert streams == {"caf\\udce9.mp4", "sink caf\\udce9.mp4"}


def test_a_port_that_is_taken():
    with MetricsServer("0", dict) as server, pytest.raises(UsageError, match=r"cannot be served.*in use"):
        MetricsServer(str(server.port), dict)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("9090", ("127.0.0.1", 9090)), ("0.0.0.0:80", ("0.0.0.0", 80)), ("localhost:1", ("localhost", 1))],
)
def test_addresses(text, expected):
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["", "host", "host:", "1:2:x", "99999", ":80"])
def test_wrong_addresses(text):
    with pytest.raises(UsageError, match="HOST"):
        parse_address(text)


def test_a_fault_of_ours_is_told_once(snapshot):
    def broken() -> dict[str, Snapshot]:
        raise ZeroDivisionError("of ours")

    stream = io.StringIO()
    with logging_to(stream), MetricsServer("0", broken) as server:
        for _ in range(3):
            with suppress(OSError, http.client.HTTPException):
                get(server, "/healthz")
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n")  # and leaves half-way
    assert [line for line in stream.getvalue().splitlines() if "failed" in line] == [
        "error    the metrics server failed at a request: ZeroDivisionError('of ours')"
    ]
