"""What is exposed, by Prometheus' conventions and by OpenMetrics, read by prometheus_client's own parsers."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="needs prometheus-client")

from saliency_tubes.stream.sinks.condition import STATES
from saliency_tubes.stream.telemetry.health import REASONS
from saliency_tubes.stream.telemetry.metrics import MetricsServer, Reloaded
from scrapes import OPENMETRICS, PLAIN, families, full, healthy, scrape, values, with_sink

PREFIX = "saliency_tubes_"
DOCS = Path(__file__).parents[2] / "docs" / "live.md"
UNITS = ("seconds", "bytes", "pixels")
UNITLESS = {
    *("up", "trouble", "fps_in", "fps_out", "windows_per_second", "batch_size", "queue_depth", "sink_queue_depth"),
    *("sink_state", "sink_viewers", "config_last_reload_successful", "drawn_ratio", "leases"),
}
"""gauges whose names end with no unit, for they have none or say it in other words"""
RESERVED = ("_total", "_count", "_sum", "_bucket", "_created", "_info")


def complaints(text: str, accept: str = PLAIN) -> list[str]:
    """What promtool and OpenMetrics would say against it, and a little more. Pure."""
    counters = re.findall(r"^# TYPE (\S+) counter$", text, re.MULTILINE) if accept == PLAIN else []
    wrong = [f"{name}: a counter ends in _total" for name in counters if not name.endswith("_total")]
    for family in families(text, accept):
        name, kind = family.name.removeprefix(PREFIX), family.type
        if kind == "gauge" and name in ("build_info", "stream_info"):
            kind, name = "info", name.removesuffix("_info")  # plain text knows no such type
        if name == family.name:
            wrong.append(f"{name}: has not the prefix {PREFIX}")
        if not family.documentation:
            wrong.append(f"{name}: has no HELP")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            wrong.append(f"{name}: is not snake_case")
        if name.endswith(RESERVED):
            wrong.append(f"{name}: ends as only what a {kind} is made of may")
        if kind == "histogram" and not name.endswith(UNITS):
            wrong.append(f"{name}: says no unit")
        if kind == "gauge" and not name.endswith(UNITS) and name not in UNITLESS:
            wrong.append(f"{name}: says no unit")
        if kind not in ("counter", "gauge", "histogram", "info"):
            wrong.append(f"{name}: is of no type")
        if accept == OPENMETRICS and name.endswith(UNITS) and not name.endswith(family.unit or "?"):
            wrong.append(f"{name}: has the unit {family.unit!r}")
    return wrong


@pytest.mark.parametrize("accept", [PLAIN, OPENMETRICS])
def test_names_are_as_they_should_be(accept: str) -> None:
    text = full(accept=accept)
    assert len(families(text, accept)) > 25
    assert complaints(text, accept) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# HELP other x\n# TYPE other gauge\nother 1\n", "prefix"),
        ("# TYPE saliency_tubes_up gauge\nsaliency_tubes_up 1\n", "HELP"),
        ("# HELP saliency_tubes_age x\n# TYPE saliency_tubes_age gauge\nsaliency_tubes_age 1\n", "no unit"),
        ("# HELP saliency_tubes_a_total x\n# TYPE saliency_tubes_a_total gauge\nsaliency_tubes_a_total 1\n", "ends as"),
        ("# HELP saliency_tubes_a_sum x\n# TYPE saliency_tubes_a_sum gauge\nsaliency_tubes_a_sum 1\n", "ends as"),
        ("# HELP saliency_tubes_n x\n# TYPE saliency_tubes_n counter\nsaliency_tubes_n 1\n", "_total"),
        ("# HELP saliency_tubes_n x\nsaliency_tubes_n 1\n", "no type"),
    ],
)
def test_what_is_wrong_is_seen(text: str, complaint: str) -> None:
    assert any(complaint in one for one in complaints(text))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_promtool_has_no_objection() -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=full(), capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_both_formats_hold_the_same_numbers_and_the_second_ends() -> None:
    plain, open_ = full(), full(accept=OPENMETRICS)
    assert open_.endswith("\n# EOF\n")
    assert "# UNIT saliency_tubes_latency_seconds seconds\n" in open_
    assert "# TYPE saliency_tubes_frames_in counter\n" in open_

    def series(text: str, accept: str) -> set[tuple[object, ...]]:
        found = (sample for family in families(text, accept) for sample in family.samples)
        return {(sample.name, *sorted(sample.labels.items())) for sample in found}

    assert series(plain, PLAIN) == series(open_, OPENMETRICS)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", "application/openmetrics-text"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_format_is_negotiated(accept: str | None, kind: str, method: str) -> None:
    with MetricsServer("0", lambda: {"door": healthy()}) as server:
        headers = {"Accept": accept} if accept else {}
        request = urllib.request.Request(server.url, headers=headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
    assert answer.headers["Content-Type"].startswith(f"{kind};")
    assert int(answer.headers["Content-Length"]) > 1000
    assert bool(text) == (method == "GET")
    if text:
        assert text.endswith("# EOF\n") == (kind != "text/plain")


def test_an_output_has_a_series_for_each_state_all_the_time() -> None:
    """An alert on a state would not end while the series that it saw is merely gone."""

    def states(told: str) -> dict[str, float]:
        found = values(scrape({"door": with_sink(told)}))
        return {
            dict(labels)["state"]: value
            for (name, *labels), value in found.items()
            if name == f"{PREFIX}sink_state" and ("sink", "rec.mkv") in labels
        }

    for state in STATES:
        assert states(state) == {one: float(one == state) for one in STATES}
    assert states("odd")["odd"] == 1.0  # of a later version


def test_reasons_have_a_series_each_all_the_time() -> None:
    found = values(scrape({"door": healthy(lag=9.0), "yard": None}))
    names = {
        (dict(labels)["stream"], dict(labels)["reason"]): value
        for (name, *labels), value in found.items()
        if name == f"{PREFIX}trouble"
    }
    assert {name for _, name in names} == {reason.name for reason in REASONS}
    assert len(names) == 2 * len(REASONS)
    assert {name for name, value in names.items() if value} == {("door", "overloaded"), ("yard", "opening_too_long")}


def test_what_runs() -> None:
    found = values(full())
    (build,) = [dict(labels) for (name, *labels) in found if name == f"{PREFIX}build_info"]
    assert set(build) == {"version", "python"}
    (stream,) = [dict(labels) for (name, *labels) in found if name == f"{PREFIX}stream_info"]
    facts = {"model": "i3d", "runtime": "OpenVINO on CPU", "precision": "bf16", "overlay": "avx2"}
    assert stream == {"stream": "door", **facts}
    watched = ("sink", "rtsp://127.0.0.1:8554/live"), ("stream", "door")
    assert found[(f"{PREFIX}sink_viewers", *watched)] == 2
    assert found[(f"{PREFIX}sink_failed_logins_total", *watched)] == 1
    assert (f"{PREFIX}sink_viewers", ("sink", "rec.mkv"), ("stream", "door")) not in found  # nobody can watch there


def test_how_the_configuration_was_read() -> None:
    name = f"{PREFIX}config_last_reload_"
    good, bad = (values(scrape({}, Reloaded(successful, 5.0))) for successful in (True, False))
    assert (good[(f"{name}successful",)], bad[(f"{name}successful",)]) == (1, 0)
    assert good[(f"{name}success_timestamp_seconds",)] == bad[(f"{name}success_timestamp_seconds",)] == 5
    assert "config_last_reload" not in scrape({})  # there is none


def test_counts_of_durations_never_go_down_when_a_stream_ends() -> None:
    running = healthy()
    before, after = (values(scrape({"door": one})) for one in (running, replace(running, alive=False).ended()))
    durations = [key for key in before if re.search(r"_seconds_(bucket|sum|count)$", key[0])]
    assert len(durations) > 20
    assert all(after[key] >= before[key] for key in durations)


def test_the_docs_name_every_metric_and_no_other() -> None:
    section = DOCS.read_text().split("\n## Metrics\n")[1].split("\n## ")[0]
    documented = {}
    for names, kinds in re.findall(r"^\| (`.*?`) \| ([a-z][a-z, ]*) \|", section, re.MULTILINE):
        listed = re.findall(r"`(\w+)`", names)
        each = kinds.split(", ")
        documented |= dict(zip(listed, each * len(listed) if len(each) == 1 else each, strict=True))
    exposed = {}
    for family in families(full(), PLAIN):
        name = family.name.removeprefix(PREFIX)
        exposed[f"{name}_total" if family.type == "counter" else name] = family.type
    assert documented == exposed


def test_the_port_in_all_examples_belongs_to_nobody_else() -> None:
    root = DOCS.parents[1]
    places = [root / "README.md", *root.glob("docs/*.md"), *root.glob("docker/*"), *root.glob("stream/*.py")]
    ports = [
        port
        for path in places
        for port in re.findall(r"(?:--metrics |metrics = \"?)(?:[\d.]+:)?(\d+)", path.read_text())
    ]
    assert len(ports) >= 5
    assert set(ports) == {"8346"}
