"""Webhooks against a real server on the loopback that can be told how to answer."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction

import cv2
import numpy as np
import pytest
from listeners import Receiver
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks import webhook as webhook_sink
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sinks.webhook import WebhookSink
from stubs import StubSource, make_event
from waiting import free_port, wait_for

INFO = VideoInfo(64, 48, Fraction(1, 25), Fraction(25))


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    made = Receiver(*getattr(request, "param", ()))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sink, "FIRST_DELAY", 0.05)


def opened(uri: str) -> WebhookSink:
    sink = open_sink(uri)
    assert isinstance(sink, WebhookSink)
    sink.open(INFO)
    return sink


def test_a_call_with_event_and_picture(receiver):
    sink = opened(f"hook+http://me:hunter22@127.0.0.1:{receiver.port}/alarm?room=3&class=yoga&over=0.7&for=2")
    frame = next(iter(StubSource()))
    for second in range(5):
        sink.event(make_event(second))
        sink.write(Shown(frame, ()))
    sink.close()
    (body,) = receiver.bodies
    made = json.loads(body)
    assert made["rule"] == {"class": "yoga", "over": 0.7, "for": 2.0}
    assert made["event"]["time"][1] == 2
    jpeg = cv2.imdecode(np.frombuffer(base64.b64decode(made["snapshot"]), np.uint8), cv2.IMREAD_COLOR)
    assert jpeg.shape == (48, 64, 3)
    assert np.abs(jpeg[..., ::-1].astype(int) - frame.rgb).mean() < 10
    assert receiver.paths == ["/alarm?room=3"]
    assert receiver.headers[0]["Authorization"] == "Basic " + base64.b64encode(b"me:hunter22").decode()
    assert (sink.dropped, sink.state) == (0, "closed")
    assert "hunter22" not in sink.name


def test_the_last_thing_that_a_camera_saw_is_told_without_it(receiver, monkeypatch):
    monkeypatch.setattr(webhook_sink, "PICTURE_SECONDS", 0.2)
    with closing(open_sink(f"hook+http://127.0.0.1:{receiver.port}/?class=yoga", SinkOptions(live=True))) as sink:
        sink.open(INFO)
        start = time.monotonic()
        sink.event(make_event(1))
        wait_for(lambda: receiver.bodies)
        assert time.monotonic() - start >= 0.2
        assert json.loads(receiver.bodies[0])["snapshot"] is None
        sink.write(Shown(next(iter(StubSource())), ()))  # the camera is back
    assert len(receiver.bodies) == 1


def test_without_a_frame_there_is_no_picture(receiver):
    sink = opened(f"hook+http://127.0.0.1:{receiver.port}/?class=yoga")
    sink.event(make_event(1))
    sink.close()
    assert json.loads(receiver.bodies[0])["snapshot"] is None


@pytest.mark.parametrize("receiver", [(503, 503, 200)], indirect=True)
def test_a_server_in_trouble_is_asked_again(receiver):
    sink = opened(f"hook+http://127.0.0.1:{receiver.port}/?class=yoga")
    sink.event(make_event(1))
    sink._let_go()
    wait_for(lambda: len(receiver.bodies) == 3)
    sink.close()
    assert sink.dropped == 0
    assert len(set(receiver.bodies)) == 1


@pytest.mark.parametrize("receiver", [(404,), (302,), (401,)], indirect=True, ids=["404", "302", "401"])
def test_a_refusal_is_final(receiver):
    sink = opened(f"hook+http://127.0.0.1:{receiver.port}/?class=yoga&retries=5")
    sink.event(make_event(1))
    sink.close()
    assert len(receiver.bodies) == 1
    assert sink.drops == {"not delivered": 1}
    assert "HTTP" in sink.notes[0]


def test_retries_are_bounded():
    sink = opened(f"hook+http://me:hunter22@127.0.0.1:{free_port()}/?class=yoga&retries=2")
    sink.event(make_event(1))
    sink._let_go()
    wait_for(lambda: sink.drops)
    sink.close()
    assert sink.drops == {"not delivered": 1}
    assert "refused" in sink.notes[0]
    assert "hunter22" not in sink.notes[0]


def test_a_slow_server_makes_nobody_wait():
    made = Receiver(wait=0.5)
    try:
        sink = opened(f"hook+http://127.0.0.1:{made.port}/?class=yoga&cooldown=0&timeout=0.2&retries=0")
        for second in range(30):
            sink.event(make_event(second))
        assert sink.drops["too slow"] >= 20  # none would be lost, were they waited for
        sink.close()
    finally:
        made.close()


def test_a_new_rule_while_it_runs(receiver):
    uri = f"hook+http://127.0.0.1:{receiver.port}/?class=yoga&over="
    sink = opened(uri + "0.95")
    sink.event(make_event(1))
    sink.reconfigure(Address.parse(uri + "0.5"))
    sink.event(make_event(2))
    sink.close()
    assert [json.loads(body)["event"]["time"][1] for body in receiver.bodies] == [2]
    with pytest.raises(UsageError, match="over"):
        sink.reconfigure(Address.parse(uri + "7"))


def test_a_new_rule_does_not_inherit_what_another_class_has_done(receiver):
    uri = f"hook+http://127.0.0.1:{receiver.port}/?over=0.5&for=2&cooldown=60&class="
    sink = opened(uri + "yoga")
    for second in range(3):
        sink.event(make_event(second))
    sink.reconfigure(Address.parse(uri + "7"))  # another way to name it, and a rule of its own
    for second in range(3, 6):
        sink.event(make_event(second))
    sink.close()
    assert [json.loads(body)["event"]["time"][1] for body in receiver.bodies] == [2, 5]


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("hook+http://host/", "needs a class"),
        ("hook+http:///path?class=a", "names a host"),
        ("hook+http://u:hunter22@host/?class=a&over=3", "over must be"),
        *((f"hook+http://host/?class=a&timeout={wrong}", "timeout must be") for wrong in ("0", "nan", "inf", "1e9")),
        ("hook+http://host/?class=a&timeout=soon", "hook.*: timeout must be a number, got 'soon'"),
        *(
            (f"hook+http://host/?class=a&retries={wrong}", f"retries must be a whole number, 0 or more, got '{wrong}'")
            for wrong in ("-1", "2.5", "nan", "inf")
        ),
        *(
            (f"hook+http://me:hunter22@host:{wrong}/?class=a", "the port must be a number from 1 to 65535")
            for wrong in ("99999", "0", "abc")
        ),
    ],
)
def test_wrong_addresses(uri, says):
    with pytest.raises(UsageError, match=says) as found:
        open_sink(uri)
    assert "hunter22" not in str(found.value)
