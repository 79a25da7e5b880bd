"""docker/alerts.yml and docker/grafana.json, against what is really exposed."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from promql import Scrape, duration, evaluate
from saliency_tubes.stream.telemetry.metrics import Reloaded
from scrapes import families, full, healthy, scrape, values, with_sink

pytest.importorskip("prometheus_client", reason="needs prometheus-client")
yaml = pytest.importorskip("yaml", reason="needs PyYAML, which pytorchvideo brings")

DOCKER = Path(__file__).parents[2] / "docker"
ALERTS = DOCKER / "alerts.yml"
Values = Mapping[tuple[Any, ...], float]
MINUTE = 60.0
"""seconds between two scrapes"""
LABELS_OF_PROMETHEUS = {"le", "job", "instance"}


@cache
def rules() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load(ALERTS.read_text())
    return {rule["alert"]: rule for group in found["groups"] for rule in group["rules"]}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCKER / "grafana.json").read_text())
    return found


def queries() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]


@cache
def exposed() -> dict[str, set[str]]:
    """The labels of each series' name."""
    found: dict[str, set[str]] = {}
    for family in families(full()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def unknown(expression: str) -> list[str]:
    """Names and labels in an expression that nothing exposed has."""
    wrong, seen = [], set()
    for name, matchers in re.findall(r"(saliency_tubes_\w+)(?:\{(.*?)\})?", expression):
        if name not in exposed():
            wrong.append(name)
            continue
        seen |= exposed()[name]
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
            if label not in exposed()[name]:
                wrong.append(f"{label} of {name}")
    for labels in re.findall(r"\bby \((.*?)\)", expression):
        wrong += [label for label in re.split(r",\s*", labels) if label not in seen | LABELS_OF_PROMETHEUS]
    return wrong


def test_every_metric_and_label_in_the_files_is_exposed() -> None:
    expressions = [*(rule["expr"] for rule in rules().values()), *queries()]
    assert len(expressions) > 25
    assert [(expression, wrong) for expression in expressions if (wrong := unknown(expression))] == []
    assert unknown('saliency_tubes_up{reason="x"}') == ["reason of saliency_tubes_up"]
    assert unknown("sum by (sink) (saliency_tubes_up)") == ["sink"]
    assert unknown("saliency_tubes_upp") == ["saliency_tubes_upp"]
    for rule in rules().values():
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert any(label in exposed()[name] for name in re.findall(r"saliency_tubes_\w+", rule["expr"]))


def test_every_value_in_a_matcher_can_occur() -> None:
    """A reason that is spelt wrong would never fire."""
    found = {(label, value) for name, *labels in values(full()) for label, value in labels}
    matched = [
        (label, value)
        for expression in (rule["expr"] for rule in rules().values())
        for label, text in re.findall(r'(\w+)=~?"(.*?)"', expression)
        for value in text.split("|")
    ]
    assert len(matched) > 8
    assert [pair for pair in matched if pair not in found] == []


def test_every_rule_says_how_bad_it_is_and_what_to_do() -> None:
    for name, rule in rules().items():
        assert re.fullmatch(r"SaliencyTubes[A-Z]\w+", name)
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert "for" in rule or "increase(" in rule["expr"]  # a moment's trouble is no news


def of(*made: Any, reloaded: bool = True) -> Callable[[int], Values]:
    """The same at every minute."""
    text = values(scrape(dict(zip(("door", "yard"), made, strict=False)), Reloaded(reloaded, 1.0)))
    return lambda minute: text


def growing(name: str, each_minute: float, **labels: str) -> Callable[[int], Values]:
    """All is well, but for one series."""
    before = of(healthy())(0)
    key = next(key for key in before if key[0] == name and set(labels.items()) <= set(key[1:]))
    return lambda minute: {**before, key: before[key] + each_minute * minute}


ALL_WELL = of(healthy(), healthy())
CASES: dict[str, tuple[Callable[[int], Values], str]] = {
    "SaliencyTubesAway": (lambda minute: {}, ""),
    "SaliencyTubesStreamDown": (of(healthy(connected=False)), "door"),
    "SaliencyTubesNoFrame": (of(healthy(arrived=-1e6)), "door"),
    "SaliencyTubesTubesTooOld": (of(healthy(tubes_too_old=True)), "door"),
    "SaliencyTubesFewFramesDrawn": (of(healthy(drawn_ratio=0.3)), "door"),
    "SaliencyTubesOverloaded": (of(healthy(lag=3.0)), "door"),
    "SaliencyTubesFramesLost": (growing("saliency_tubes_dropped_total", 90, place="read"), "door"),
    "SaliencyTubesOutputFailed": (of(with_sink("failed")), "door"),
    "SaliencyTubesOutputInTrouble": (of(with_sink("refused")), "door"),
    "SaliencyTubesDiskFull": (of(with_sink("disk full")), "door"),
    "SaliencyTubesFailedLogins": (growing("saliency_tubes_sink_failed_logins_total", 2), "door"),
    "SaliencyTubesReloadFailed": (of(healthy(), reloaded=False), ""),
    "SaliencyTubesMemoryGrows": (growing("saliency_tubes_allocated_memory_bytes", 1e6), ""),
}
"""by rule, what makes it fire, and of which stream"""
NEARLY: dict[str, Callable[[int], Values]] = {
    "SaliencyTubesFramesLost": growing("saliency_tubes_dropped_total", 30, place="read"),
    "SaliencyTubesFailedLogins": growing("saliency_tubes_sink_failed_logins_total", 1),
    "SaliencyTubesMemoryGrows": growing("saliency_tubes_allocated_memory_bytes", 0.2e6),
    "SaliencyTubesFewFramesDrawn": of(healthy(drawn_ratio=0.6)),
}


def minutes(rule: Mapping[str, Any]) -> tuple[int, int]:
    """How many minutes of scrapes an expression looks at, and for how many it must hold."""
    looked = max(map(duration, re.findall(r"\[(\w+)\]", rule["expr"])), default=0.0)
    return int(looked / MINUTE), int(duration(rule.get("for", "0m")) / MINUTE)


def fires(rule: Mapping[str, Any], case: Callable[[int], Values]) -> set[str]:
    """The streams for which a rule fires in the end, "" where it has none; it must hold all through `for`."""
    looked, held = minutes(rule)
    names = re.findall(r"saliency_tubes_\w+", rule["expr"])
    scrapes = [
        Scrape(MINUTE * minute, {key: value for key, value in case(minute).items() if key[0] in names})
        for minute in range(looked + held + 1)
    ]
    # Over hours every tenth minute will do.
    ends = range(looked, looked + held + 1, max(1, held // 30))
    each = [
        {dict(labels).get("stream", "") for labels in evaluate(rule["expr"], scrapes[max(0, end - looked) : end + 1])}
        for end in ends
    ]
    return set.intersection(*each)


@pytest.mark.parametrize("name", CASES)
def test_each_rule_fires_for_what_it_is_for_and_for_nothing_else(name: str) -> None:
    rule, (case, stream) = rules()[name], CASES[name]
    assert fires(rule, case) == {stream}
    assert fires(rule, ALL_WELL) == set()
    if name in NEARLY:
        assert fires(rule, NEARLY[name]) == set()


def test_a_moment_is_no_alert() -> None:
    bad, good = (values(scrape({"door": one})) for one in (healthy(connected=False), healthy()))
    assert fires(rules()["SaliencyTubesStreamDown"], lambda minute: bad if minute else good) == set()


def test_all_rules_are_tried() -> None:
    assert set(CASES) == set(rules())


def test_rates_of_counters_that_start_anew() -> None:
    def series(*counts: float) -> list[Scrape]:
        return [Scrape(60.0 * minute, {("n_total", ("a", "b")): count}) for minute, count in enumerate(counts)]

    assert evaluate("increase(n_total[5m])", series(0, 10, 20, 30, 40, 50)) == {(("a", "b"),): 50.0}
    assert evaluate("increase(n_total[5m])", series(40, 50, 5, 10, 15, 20)) == {(("a", "b"),): 30.0}
    assert evaluate('rate(n_total{a=~"b|c"}[5m]) > 0.1', series(0, 10, 20, 30, 40, 50))
    assert evaluate('rate(n_total{a!="b"}[5m])', series(0, 10)) == {}
    with pytest.raises(ValueError, match="not understood"):
        evaluate("n_total offset 5m", series(1))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_prometheus_itself_says_the_same(tmp_path: Path) -> None:
    tests = [
        promtool_case(name, case, fired)
        for name, (case, _) in CASES.items()
        for case, fired in ((case, True), (ALL_WELL, False), (NEARLY.get(name, ALL_WELL), False))
    ]
    (tmp_path / "tests.yml").write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yml"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def promtool_case(name: str, case: Callable[[int], Values], fired: bool) -> dict[str, Any]:
    """For `promtool test rules`: a history, and how often the rule fires in the end; what else it says is not asked."""
    looked, held = minutes(rules()[name])
    last = looked + held + 1
    names = re.findall(r"saliency_tubes_\w+", rules()[name]["expr"])
    history = [case(minute) for minute in range(last + 1)]
    series = [
        {
            "series": f"{key[0]}{{{', '.join(f'{label}={json.dumps(value)}' for label, value in key[1:])}}}",
            "values": " ".join(repr(float(found[key])) for found in history),
        }
        for key in history[0]
        if key[0] in names
    ]
    count = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'
    expected = [{"value": 1, "labels": "{}"}] if fired else []
    return {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [{"expr": count, "eval_time": f"{last}m", "exp_samples": expected}],
    }


class TestDashboard:
    def test_panels_lie_side_by_side(self) -> None:
        places = [panel["gridPos"] for panel in dashboard()["panels"]]
        assert all(at["x"] + at["w"] <= 24 and min(at["x"], at["y"]) >= 0 < min(at["w"], at["h"]) for at in places)
        for one, other in itertools.combinations(places, 2):
            apart = (
                one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            )  # fmt: skip
            assert apart, (one, other)

    def test_what_grafana_wants(self) -> None:
        board = dashboard()
        assert board["schemaVersion"] >= 36
        assert board["id"] is None  # else it would replace another one
        assert re.fullmatch(r"[a-z0-9-]{1,40}", board["uid"])
        numbers = [panel["id"] for panel in board["panels"]]
        assert len(set(numbers)) == len(numbers)
        for panel in board["panels"]:
            assert panel["title"]
            assert panel["description"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            letters = [target["refId"] for target in panel["targets"]]
            assert len(set(letters)) == len(letters) > 0
        variables = {one["name"]: one for one in board["templating"]["list"]}
        assert variables["datasource"]["query"] == "prometheus"
        assert variables["stream"]["query"] == "label_values(saliency_tubes_up, stream)"

    def test_the_stream_is_chosen_in_every_panel_that_has_one(self) -> None:
        for expression in queries():
            for name, matchers in re.findall(r"(saliency_tubes_\w+)(?:\{(.*?)\})?", expression):
                assert ('stream=~"$stream"' in matchers) == ("stream" in exposed()[name]), expression

    @pytest.mark.parametrize(
        "name",
        [
            *("drawn_ratio", "tube_age_seconds", "fps_in", "fps_out", "dropped_total", "lag_seconds", "sink_state"),
            *("reconnects_total", "latency_seconds_bucket", "allocated_memory_bytes", "sink_viewers", "trouble"),
        ],
    )
    def test_what_an_operator_looks_for_is_there(self, name: str) -> None:
        assert any(f"saliency_tubes_{name}" in expression for expression in queries())
