"""The interface for programs of the web server, over real sockets."""

from __future__ import annotations

import http.client
import json
import logging
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from pages import Page
from saliency_tubes.stream.net import doorkeeper
from saliency_tubes.stream.sinks.web import WebSink
from saliency_tubes.stream.web import bulletin
from saliency_tubes.stream.web.api import DESCRIPTION
from saliency_tubes.stream.web.app import routes
from saliency_tubes.stream.web.bulletin import Bulletin
from saliency_tubes.stream.web.logins import AccessRules, Logins
from saliency_tubes.stream.web.served import ServedStreams
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import Route
from waiting import wait_for
from websockets.exceptions import ConnectionClosed
from webstream import OPERATOR, ask, bearer, stream

schemathesis.serializer.alias("application/sdp", "text/plain")
DESCRIBED = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
ENDLESS = ("/api/events", "/streams/{name}.mjpeg")
"""Answers that do not end by themselves."""


@pytest.fixture(scope="module")
def sink() -> Iterator[WebSink]:
    with stream(web_operator_token=OPERATOR) as made:
        yield made


@pytest.fixture(autouse=True)
def answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed logins of other tests delay no answer."""
    monkeypatch.setattr(doorkeeper, "FREE", 10_000)


def change(sink: WebSink, body: object, token: str = OPERATOR, name: str = "live") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body)
    return ask(sink.port, f"/api/streams/{name}/controls", "PATCH", data, Authorization=bearer(token))


class Listening:
    """Reads server-sent events."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.request("GET", "/api/events")
        self._answer = self._connection.getresponse()
        self.status, self.kind = self._answer.status, self._answer.getheader("Content-Type")

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *error: object) -> None:
        self._answer.close()
        self._connection.close()

    def read(self, kind: str) -> dict[str, Any]:
        """The next message of that kind."""
        while True:
            lines = dict(line.split(": ", 1) for line in iter(self._line, "") if not line.startswith(":"))
            if lines.get("event") == kind:
                return dict(json.loads(lines["data"]))

    def read_all(self) -> None:
        """Up to the end. Raises IncompleteRead if it was cut."""
        self._answer.read()

    def _line(self) -> str:
        line = self._answer.readline().decode()
        assert line.endswith("\n"), "it has ended"
        return line.rstrip("\n")


# what is told


def test_the_newest_explanation_is_an_event(sink: WebSink) -> None:
    told = ask(sink.port, "/api/streams/live/explanation")
    assert told.status == 200
    assert told.body.endswith(b"\n")
    assert told.json["version"] == 2
    assert told.json["explained"][0]["class"] in ("bright", "dark")
    wait_for(lambda: ask(sink.port, "/api/streams/live/explanation").json["window"] > told.json["window"])


def test_a_snapshot_is_the_newest_picture_without_loss(sink: WebSink) -> None:
    told = ask(sink.port, "/api/streams/live/snapshot.png")
    assert (told.status, told.headers["Content-Type"]) == (200, "image/png")
    exact = cv2.imdecode(np.frombuffer(told.body, np.uint8), cv2.IMREAD_COLOR)
    assert exact is not None
    assert exact.shape == (96, 160, 3)
    assert len(np.unique(exact)) > 20  # a picture and not a plane


def test_events_of_all_streams_come_as_they_happen(sink: WebSink) -> None:
    with Listening(sink.port) as listening:
        assert (listening.status, listening.kind) == (200, "text/event-stream")
        state = listening.read("state")
        assert (state["stream"], state["connected"], state["why"]) == ("live", True, "")
        first, second = listening.read("explanation"), listening.read("explanation")
        assert (first["stream"], first["event"]["version"]) == ("live", 2)
        assert second["event"]["window"] > first["event"]["window"]
        assert change(sink, {"hold": 9}).status == 200
        mark = listening.read("mark")
        assert (mark["stream"], mark["kind"]) == ("live", "control")
        assert mark["text"].startswith("hold ")


def test_a_server_ends_though_somebody_listens() -> None:
    with ExitStack() as stack:
        with stream("web://:0/door") as door:
            listening = stack.enter_context(Listening(door.port))
            assert listening.read("state")["stream"] == "door"
            assert listening.read("explanation")["stream"] == "door"
        listening.read_all()


def test_listeners_are_limited(sink: WebSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulletin, "LISTENERS", 1)
    with Listening(sink.port) as first:
        first.read("state")
        refused = ask(sink.port, "/api/events")
        assert (refused.status, refused.error) == (503, "there are too many listeners")
    wait_for(lambda: ask(sink.port, "/api/events", "HEAD").status == 200)


def test_what_is_not_there_is_said(sink: WebSink) -> None:
    for path in ("", "/explanation", "/history", "/snapshot.png", "/controls", "/windows/0/thumbnail.jpg"):
        told = ask(sink.port, f"/api/streams/none{path}")
        assert (told.status, told.error) == (404, "there is no such stream, or it is not open")
    assert ask(sink.port, "/api/streams/live/windows/0/thumbnail.jpg").error == "there is no picture of that window"
    assert ask(sink.port, "/api/streams/", "GET").status == 404  # and no redirect to a name that the client gave
    assert ask(sink.port, "/api/streams", "DELETE").status == 405


# what is changed


def test_an_operator_changes_the_stream_for_all(sink: WebSink, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "saliency_tubes")
    with Page.open(sink.port) as page:
        page.until("status")
        asked = {"explain": "dark:bright", "hold": 5, "max_age": 1.5}
        told = change(sink, asked)
        assert (told.status, told.json) == (200, asked)
        mark = page.until("mark", lambda one: one["kind"] == "control")
        assert "explain 'top1' -> 'dark:bright'" in mark["text"]
        window = page.until("window", lambda one: len(one["explained"]) == 2)
        assert [score["name"] for score in window["explained"]] == ["dark", "bright"]
    assert ask(sink.port, "/api/streams/live/controls").json == asked
    (line,) = [record.getMessage() for record in caplog.records if getattr(record, "event", "") == "control"]
    assert re.fullmatch(
        r"live: explain 'top1' -> 'dark:bright', hold \d+ -> 5, max_age [\d.]+ -> 1.5; by 127\.0\.0\.1", line
    )
    caplog.clear()
    assert change(sink, asked).json == asked
    assert caplog.records == []  # nothing has changed
    assert change(sink, {"explain": "top1"}).json["explain"] == "top1"
    history = ask(sink.port, "/api/streams/live/history").json
    assert [mark["kind"] for mark in history["marks"]].count("control") >= 2


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b"", "that is not JSON: a change is"),
        (b"[" * 1000, "that is not JSON: a change is"),
        (b"\xff", "that is not JSON: a change is"),
        ({}, "that changes nothing: a change is"),
        ([1], "that changes nothing: a change is"),
        ({"speed": 1}, "there is no control 'speed': a change is"),
        ({"explain": "brigth"}, "no class 'brigth' among the model's 2; did you mean 'bright'?"),
        ({"explain": "\ud800"}, "no class '\\ud800' among the model's 2"),
        ({"explain": 7}, "explain must be top1, a class, or A:B, got 7"),
        ({"explain": " "}, 'explain must be top1, a class, or A:B, got " "'),
        ({"hold": 0}, "hold must be 1 to 1000 windows, got 0"),
        ({"hold": True}, "hold must be a whole number of windows, got true"),
        ({"hold": 10**900}, "hold must be 1 to 1000 windows, got 1000"),
        ({"max_age": "1"}, 'max_age must be a number of seconds, got "1"'),
        ({"max_age": 10**400}, "max_age must be a number of seconds, got 1000"),
        (b'{"max_age": NaN}', "max_age must be more than 0 and at most 3600 seconds, got nan"),
        ({"explain": "dark", "hold": 0}, "hold must be 1 to 1000 windows, got 0"),
    ],
)
def test_a_change_that_is_none_changes_nothing(sink: WebSink, body: object, wrong: str) -> None:
    before = ask(sink.port, "/api/streams/live/controls").json
    told = change(sink, body)
    assert told.status == 400
    assert told.error.startswith(wrong)
    assert ask(sink.port, "/api/streams/live/controls").json == before


def test_a_long_change_is_refused_before_it_is_read(sink: WebSink) -> None:
    assert change(sink, b" " * 1025).status == 413
    with socket.create_connection(("127.0.0.1", sink.port), 20) as endless:
        head = f"PATCH /api/streams/live/controls HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {OPERATOR}\r\n"
        endless.sendall(f"{head}Content-Length: 1000000000\r\n\r\n{' ' * 2000}".encode())
        assert endless.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_only_operators_change_anything(sink: WebSink) -> None:
    path = "/api/streams/live/controls"
    before = ask(sink.port, path).json
    body = json.dumps({"hold": 77})
    assert ask(sink.port, path, "PATCH", body).error == "only the operator's token may change a stream"
    assert change(sink, {"hold": 77}, token="the-operators-t0ken").status == 401
    foreign = ask(sink.port, path, "PATCH", body, Authorization=bearer(OPERATOR), Origin="http://evil.example")
    assert (foreign.status, foreign.error) == (403, "another server's page may not ask this")
    with stream() as other:
        assert change(other, {"hold": 77}).error == "no changes are taken here: start with --web-operator-token"
    assert ask(sink.port, path).json == before


# the description


def test_the_description_is_served(sink: WebSink) -> None:
    assert ask(sink.port, "/api/openapi.json").json == DESCRIBED


def test_each_route_is_described_and_each_description_has_a_route() -> None:
    logins = Logins(AccessRules(), AccessRules().token, 0)
    served: dict[str, set[str]] = {}
    for route in routes(ServedStreams({}, {}), Bulletin(), logins):
        if isinstance(route, Route) and route.path.startswith(("/api", "/streams")):
            path = re.sub(r"{number:int}", "{window}", route.path)
            served.setdefault(path, set()).update((route.methods or set()) - {"HEAD"})
    described = {path: {method.upper() for method in methods} for path, methods in DESCRIBED["paths"].items()}
    assert served == described


def test_the_addresses_are_in_the_documentation() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "web.md").read_text(encoding="utf-8")
    for path in DESCRIBED["paths"]:
        assert f"`{path.replace('{name}', 'NAME').replace('{window}', 'N').replace('{peer}', 'VIEWER')}`" in page


def described_with_names() -> Any:
    """Names that are there and not there, and whatever is no name."""
    told = json.loads(DESCRIPTION.read_text(encoding="utf-8"))
    told["components"]["parameters"]["name"]["schema"] = {"enum": ["live", "none"]}
    return schemathesis.openapi.from_dict(told).exclude(path=list(ENDLESS))


api = described_with_names()


@api.parametrize()
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_whatever_is_asked_is_answered_as_described(case: Any, sink: WebSink) -> None:
    """No crash, no status or body that is not described, nothing accepted that is not."""
    # Which classes there are is the model's to say.
    unchecked = [positive_data_acceptance] if case.method == "PATCH" else []
    headers = {"Authorization": bearer(OPERATOR)}
    case.call_and_validate(base_url=f"http://127.0.0.1:{sink.port}", headers=headers, excluded_checks=unchecked)


PAGE_SAYS = some.one_of(
    some.binary(max_size=2000),
    some.text(max_size=1100),
    some.sampled_from(("pause", "play", "behind", "bye")).map(lambda kind: json.dumps({"type": kind})),
    some.recursive(
        some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
        lambda inner: some.lists(inner) | some.dictionaries(some.sampled_from(("type", "seconds", "x")), inner),
        max_leaves=8,
    ).map(json.dumps),
)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(said=some.lists(PAGE_SAYS, max_size=4))
def test_whatever_a_page_says_the_stream_goes_on(sink: WebSink, said: list[str | bytes]) -> None:
    with Page.open(sink.port) as page:
        with suppress(ConnectionClosed):
            for message in said:
                page.connection.send(message)
            page.until("status")
        closed = page.connection.protocol.close_rcvd
        assert closed is None or closed.code in (1007, 1008, 1009)
    assert ask(sink.port, "/api/streams/live").json["connected"]
