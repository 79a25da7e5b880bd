"""The JSON lines: exactly the keys of docs/events.md, valid whatever the evidence, and the same bytes each time."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.types import ClassScore, Crop, Explanation, Scale, Span, Tube, WallTime
from saliency_tubes.stream.telemetry import events
from saliency_tubes.stream.telemetry.events import VERSION, Event
from stubs import even_pool

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "events.md"
LABELS = ROOT / "export" / "assets" / "kinetics400.txt"


def explanation(cells: object = None, *, start: int = 16, repeated: int = 0, name: str = "yoga", p: float = 0.5):
    values = np.random.default_rng(0).normal(0, 4, (8, 7, 7)) if cells is None else np.asarray(cells)
    count = len(values)
    span = Span(start, 16, 2)
    tube = Tube(values.astype(np.float32), span, Crop(0.2, 0, 0.8, 1), even_pool(values), (0, count))
    best, second = ClassScore(3, name, p, 7.25), ClassScore(4, "b", 0.25, 6.0)
    pts = (start * 512, (span.last - repeated * 2) * 512)
    return Explanation(1, (best,), (best, second), tube, Scale(0, 9), pts, Fraction(1, 12_800), repeated)


def strict(line: str) -> dict:
    """json.loads accepts NaN and Infinity: JSON does not."""

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    return json.loads(line, parse_constant=refuse)


def paths(value: object, at: str = "") -> set[str]:
    """The dotted names of all keys."""
    if isinstance(value, dict):
        return {name for key, one in value.items() for name in {f"{at}{key}", *paths(one, f"{at}{key}.")}}
    if isinstance(value, list):
        return {name for one in value for name in paths(one, at)}
    return set()


def documented() -> set[str]:
    rows = re.findall(r"^\| `([a-z_.]+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    return {row for row in rows if not row.startswith("timings.")}


def test_keys_are_those_documented():
    live = replace(explanation(), wall=WallTime(1.5e9, "camera"), damaged=3)
    record = strict(Event(live, 0.2, (1280, 720), {"infer": 0.5}, "door").json)
    assert record["damaged"] == 3
    found = {path for path in paths(record) if not path.startswith("timings.")}
    assert found == documented()
    assert record["version"] == VERSION


def test_the_example_in_the_reference_is_of_this_version():
    (example,) = re.findall(r"^\{.*\}$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    record = strict(example)
    assert record["version"] == VERSION
    assert paths(record) | {"timings", "stream", "clock", "utc", "damaged"} == documented()
    labels = LABELS.read_text(encoding="utf-8").splitlines()
    assert all(labels[score["id"]] == score["class"] for score in (*record["top"], *record["explained"]))


def test_values():
    cells = np.zeros((8, 7, 7))
    cells[2, 1, 5] = 6
    cells[3, 0, 0] = 2
    record = strict(Event(explanation(cells), 0.2, (1280, 720)).json)
    assert record["window"] == 1
    assert (record["frames"], record["stride"], record["repeated"]) == ([16, 46], 2, 0)
    assert record["pts"] == [16 * 512, 46 * 512]
    assert record["time_base"] == "1/12800"
    assert record["time"] == [0.64, 1.84]
    assert record["explained"] == [{"id": 3, "class": "yoga", "p": 0.5, "logit": 7.25}]
    assert [one["id"] for one in record["top"]] == [3, 4]
    assert "timings" not in record
    tube = record["tube"]
    assert (tube["shape"], tube["scale"], tube["trusted"]) == ([8, 7, 7], [0, 9], [0, 8])
    # slice 2 of 8 is of samples 4 and 5, frames 24 and 26; the crop is columns 256 to 1024
    assert tube["peak"]["slice"] == 2
    assert tube["peak"]["frame"] == 25
    assert tube["peak"]["x"] == pytest.approx(256 + 768 * 5.5 / 7, rel=1e-5)
    assert tube["peak"]["y"] == pytest.approx(720 * 1.5 / 7, rel=1e-5)
    assert tube["peak"]["evidence"] == 6
    assert tube["centroids"][2] == [tube["peak"]["x"], tube["peak"]["y"]]
    assert tube["centroids"][0] is None
    assert tube["shares"] == [0, 0, 0.75, 0.25, 0, 0, 0, 0]
    assert [len(found) for found in tube["boxes"]] == [0, 0, 1, 1, 0, 0, 0, 0]
    left, top, right, bottom = tube["boxes"][2][0]
    assert left < tube["peak"]["x"] < right
    assert top < tube["peak"]["y"] < bottom


def test_the_peak_is_of_the_slices_that_can_be_trusted():
    cells = np.zeros((8, 7, 7))
    cells[2, 1, 5], cells[7, 0, 6] = 6, 18
    whole = explanation(cells)
    padded = replace(whole, tube=replace(whole.tube, trusted=(1, 7)))
    tube, other = (strict(Event(one, 0.2, (1280, 720)).json)["tube"] for one in (padded, whole))
    assert tube["trusted"] == [1, 7]
    assert (tube["peak"]["slice"], tube["peak"]["frame"], tube["peak"]["evidence"]) == (2, 25, 6)
    assert (tube["peak_all_slices"]["slice"], tube["peak_all_slices"]["evidence"]) == (7, 18)
    assert tube["peak_all_slices"] == other["peak"] == other["peak_all_slices"]
    assert all(tube[key] == other[key] for key in ("centroids", "shares", "boxes"))  # each slice speaks for itself


def test_a_short_video():
    assert strict(Event(explanation(repeated=3), 0.2, (64, 48)).json)["frames"] == [16, 40]


def test_timings_are_milliseconds():
    record = strict(Event(explanation(), 0.2, (64, 48), {"decode": 0.0123456, "infer": 1.5}).json)
    assert record["timings"] == {"decode": 12.346, "infer": 1500}


def test_equal_explanations_give_equal_bytes():
    one, other = (Event(explanation(), 0.2, (1280, 720), {"infer": 0.1}).json for _ in range(2))
    assert one == other
    assert one.encode() == other.encode()


def test_noise_below_float32_does_not_show():
    """Runs on other machines sum in another order: the last bits of evidence are theirs."""
    cells = np.abs(np.random.default_rng(1).normal(3, 1, (4, 7, 7)))
    cells[1, 2, 3] = 8.0
    one = strict(Event(explanation(cells), 0.2, (1280, 720)).json)["tube"]
    other = strict(Event(explanation(cells * (1 + 1e-8)), 0.2, (1280, 720)).json)["tube"]
    assert one["peak"] == other["peak"]
    assert one["boxes"] == other["boxes"]


@pytest.mark.parametrize("name", ['say "hi"', "a\nb", "日本 ü", "back\\slash", "tab\t", "\x00\x1b"])
def test_any_name_stays_on_one_line(name):
    line = Event(explanation(name=name), 0.2, (64, 48)).json
    assert "\n" not in line
    assert strict(line)["explained"][0]["class"] == name


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(width=32, allow_subnormal=False), min_size=8, max_size=8),
    st.floats(0, 1),
    st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
)
def test_any_evidence_gives_valid_json(values, threshold, size):
    line = Event(explanation(np.array(values).reshape(2, 2, 2)), threshold, size).json
    assert "\n" not in line
    record = strict(line)
    for left, top, right, bottom in [box for found in record["tube"]["boxes"] for box in found]:
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


@pytest.mark.parametrize("p", [float("nan"), float("inf")])
def test_a_network_that_says_nan_gives_valid_json(p):
    strict(Event(explanation(p=p), 0.2, (64, 48)).json)


def test_long_streams_are_told_exactly():
    start = 2_345_678  # 26 hours at 25 frames a second
    record = strict(Event(explanation(start=start), 0.2, (1280, 720)).json)
    assert record["time"][0] == pytest.approx(start / 25, abs=0.001)
    assert start <= record["tube"]["peak"]["frame"] <= start + 30


def test_the_json_is_made_once_however_many_outputs_ask(monkeypatch):
    made = []
    slow = events._record

    def counted(event):
        made.append(event)
        time.sleep(0.01)  # long enough for all to ask
        return slow(event)

    monkeypatch.setattr(events, "_record", counted)
    event = Event(explanation(), 0.2, (64, 48))
    with ThreadPoolExecutor(8) as pool:
        lines = set(pool.map(lambda _: event.json, range(8)))
    assert len(made) == len(lines) == 1
    assert json.loads(lines.pop()) == event.record
    assert len(made) == 1


@pytest.mark.parametrize(("threshold", "size", "says"), [(1.5, (64, 48), "got 1.5"), (0.2, (0, 48), r"got \(0, 48\)")])
def test_events_are_checked_when_made(threshold, size, says):
    with pytest.raises(ValueError, match=says):
        Event(explanation(), threshold, size)
