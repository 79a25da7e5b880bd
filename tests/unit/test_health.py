"""The health page: each reason there is, how bad it is, and what it says."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from saliency_tubes.stream.sinks.condition import SETTLED, STATES
from saliency_tubes.stream.sinks.null import NullSink
from saliency_tubes.stream.telemetry.health import LATE, OPENING, REASONS, STALE, TRYING, Told, health, reasons
from scrapes import healthy, with_sink

DOCS = Path(__file__).parents[2] / "docs" / "live.md"

FAILING: dict[str, tuple[Callable[[], Told], str]] = {
    "failed": (lambda: "failed: the camera is gone", "failed: the camera is gone"),
    "ended": (lambda: healthy().ended(), "ended"),
    "opening": (lambda: None, "for 30 s"),
    "not_connected": (
        lambda: healthy(connected=False, state="waiting 1.0 s: no frame for 2.0 s"),
        "waiting 1.0 s: no frame for 2.0 s",
    ),
    "no_frame": (lambda: healthy(arrived=time.monotonic() - STALE - 4), "for"),
    "output_failed": (lambda: with_sink("failed", "the disk is gone"), "rec.mkv: the disk is gone"),
}
DEGRADED: dict[str, tuple[Callable[[], Told], str]] = {
    "overloaded": (lambda: healthy(lag=LATE + 0.5), "2.5 s late"),
    "tubes_too_old": (lambda: healthy(tubes_too_old=True), "older than 2 s"),
    "disk_full": (lambda: with_sink("disk full", "No space left"), "rec.mkv: No space left"),
    "output_refused": (lambda: with_sink("refused", "the broker refuses"), "rec.mkv: the broker refuses"),
    "output_lost": (lambda: with_sink("lost", "HTTP 500"), "rec.mkv: HTTP 500"),
    "output_retrying": (lambda: with_sink("retrying", trying=TRYING + 1), "rec.mkv: retrying"),
}


@pytest.mark.parametrize(
    ("name", "made", "detail", "status"),
    [
        *((name, *what, "failing") for name, what in FAILING.items()),
        *((name, *what, "degraded") for name, what in DEGRADED.items()),
    ],
)
def test_each_reason_is_the_only_one_told(name: str, made: Callable[[], Told], detail: str, status: str) -> None:
    facts = health({"yard": healthy(), "door": made()}, 30.0)
    assert facts["status"] == status
    assert facts["streams"]["yard"]["status"] == "ok"
    assert facts["streams"]["yard"]["reasons"] == []
    page = facts["streams"]["door"]
    assert page["status"] == status
    assert [one["reason"] for one in page["reasons"]] == [name]
    assert detail in page["reasons"][0]["detail"]
    assert page["reasons"][0]["remedy"]


def test_every_reason_of_the_table_is_tried_here() -> None:
    assert {reason.name for reason in REASONS} == {*FAILING, *DEGRADED, "opening_too_long"}


def test_what_fell_behind_is_overloaded_and_not_away_while_it_begins_again() -> None:
    behind = healthy(overloaded=True, skips=2)
    for told in (behind, replace(behind, connected=False, state="skipping 0.2 s: decoding fell 2.4 s behind")):
        assert [(reason.name, text) for reason, text in reasons(told, 1.0)] == [
            ("overloaded", "it fell behind the camera, 2 times so far")
        ]
    silent = replace(behind, connected=False, state="skipping 0.2 s: x", arrived=time.monotonic() - STALE - 1)
    assert [reason.name for reason, _ in reasons(silent, 1.0)] == ["no_frame", "overloaded"]


def test_nothing_is_wrong() -> None:
    facts = health({"door": healthy()}, 1e6)
    age = facts["streams"]["door"].pop("last_frame_age")
    assert 0 <= age < STALE
    assert facts == {"status": "ok", "streams": {"door": {"status": "ok", "state": "live", "reasons": []}}}
    assert health({}, 1.0)["status"] == "failing"


def test_opening_is_one_thing_and_opening_for_long_another() -> None:
    def told(what: Told, since: float) -> list[str]:
        return [reason.name for reason, _ in reasons(what, since)]

    assert told(None, OPENING) == ["opening"]
    assert told(None, OPENING + 1) == ["opening_too_long"]
    assert told("waited for: no route to host", OPENING + 1) == ["opening_too_long"]
    assert told("failed: no route to host", OPENING + 1) == ["failed"]
    assert reasons("waited for: no route to host", OPENING + 1)[0][1] == "waited for: no route to host"
    assert told(replace(healthy().ended(), state="failed: gone"), 1.0) == ["failed"]


def test_what_passes_by_itself_soon_is_not_told() -> None:
    for told in (
        with_sink("retrying", trying=TRYING - 1),
        with_sink("connecting", trying=1.0),
        healthy(lag=LATE - 0.1),
        healthy(lag=float("nan")),  # of what comes in bursts nothing is known
        healthy(arrived=time.monotonic() - STALE + 2),
    ):
        assert reasons(told, 1.0) == []


def test_of_two_reasons_both_are_told_and_the_worse_counts() -> None:
    one = with_sink("disk full")
    facts = health({"door": replace(one, connected=False)}, 1.0)
    assert [told["reason"] for told in facts["streams"]["door"]["reasons"]] == ["not_connected", "disk_full"]
    assert facts["status"] == "failing"


def test_how_long_an_output_has_been_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = NullSink("null://")
    assert (sink.state, sink.trying) == ("new", 0.0)
    sink.state = "connecting"
    time.sleep(0.02)
    sink.state = "retrying"  # the same trouble
    assert sink.trying >= 0.02
    for state in SETTLED:
        sink.state = state
        assert sink.trying == 0.0
    sink.state = "retrying"  # it worked for a moment only: still the same trouble
    before = sink.trying
    assert before >= 0.02
    sink.state = "running"
    monkeypatch.setattr("saliency_tubes.stream.sinks.condition.STEADY", -1.0)
    sink.state = "retrying"
    assert sink.trying < before


def test_every_state_that_an_output_is_given_is_known() -> None:
    folder = Path(__file__).parents[2] / "stream" / "sinks"
    found = {
        state
        for path in folder.glob("*.py")
        for line in re.findall(r"\.state\b[^=\n]* = (.*)", path.read_text())
        for state in re.findall(r'"([a-z ]+)"', line)
    }
    assert {"running", "refused", "disk full", "closed"} <= found
    assert found <= set(STATES)


def test_the_docs_have_every_reason_with_its_severity_and_what_to_do() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (503|200) \| .* \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    assert rows == [(reason.name, "503" if reason.failing else "200", reason.remedy) for reason in REASONS]
