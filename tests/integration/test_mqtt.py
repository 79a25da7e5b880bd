"""Events to a real MQTT broker: what arrives, what it survives, and what it never says."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from brokers import Broker, broker, listening, needs_mosquitto
from saliency_tubes.engine.errors import SinkError, UsageError
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.sinks import mqtt as mqtt_sink
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.mqtt import MqttSink
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.telemetry.monitor import StreamMonitor
from saliency_tubes.stream.telemetry.stats import Snapshot, Stats, take_snapshot
from saliency_tubes.stream.telemetry.stopwatch import Stopwatch
from servers import accepting
from stubs import StubSource, make_event
from waiting import LONG, ends, free_port, wait_for

INFO = VideoInfo(64, 48, Fraction(1, 25), Fraction(25))


@contextmanager
def opened(uri: str) -> Iterator[MqttSink]:
    sink = open_sink(uri, SinkOptions(live=True))
    assert isinstance(sink, MqttSink)  # in no further thread: it never waits
    sink.open(INFO)
    try:
        yield sink
    finally:
        sink.close()


@contextmanager
def watched(sink: MqttSink) -> Iterator[None]:
    """A run's monitor looks at this one output, of the stream "door"."""

    def look() -> Snapshot:
        return take_snapshot(
            Stats(), Stopwatch(), StubSource(), [sink], alive=True, dropped={}, queues={}, not_finite=0
        )

    with StreamMonitor(look, "door"):
        yield


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path) as made:
        yield made


def events(heard: list[tuple[str, str, bool]]) -> list[str]:
    return [payload for topic, payload, _ in heard if topic == "home/events"]


@needs_mosquitto
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_event_arrives_in_order(plain, qos):
    with listening(plain.port) as heard:
        with opened(f"mqtt://127.0.0.1:{plain.port}/home/events?qos={qos}") as sink:
            wait_for(lambda: sink.state == "running")
            for number in range(100):
                sink.event(make_event(number))
        wait_for(lambda: ("home/events/status", "offline", False) in heard)
    assert events(heard) == [make_event(number).json for number in range(100)]
    assert (sink.events, sink.dropped, sink.state) == (100, 0, "closed")
    assert [payload for topic, payload, _ in heard if topic.endswith("/status")] == ["online", "offline"]


def retained(plain: Broker, status: str) -> None:
    """Waits until who subscribes finds this status: one that arrives just then is not retained for him yet."""

    def found() -> bool:
        with listening(plain.port) as heard:
            wait_for(lambda: heard, 30)
            return heard[0] == ("home/events/status", status, True)

    wait_for(found, 30)


@needs_mosquitto
def test_the_status_says_that_the_camera_is_away(plain):
    def said() -> list[str]:
        return [payload for topic, payload, _ in heard if topic == "home/events/status"]

    gone = "no signal since 2026-01-01T12:00:00.000Z"
    with listening(plain.port) as heard:
        with opened(f"mqtt://127.0.0.1:{plain.port}/home/events") as sink:
            wait_for(lambda: said() == ["online"])
            sink.signal(1_767_268_800.0)
            wait_for(lambda: said() == ["online", gone])
            plain.kill()
            plain.start()  # what is retained there may be lost with it: it is said anew
            wait_for(lambda: sink.reopened > 0, 30)
            retained(plain, gone)
            sink.signal(None)
            retained(plain, "online")
        with listening(plain.port) as later:
            wait_for(lambda: ("home/events/status", "offline", True) in later, 30)


@needs_mosquitto
def test_a_camera_that_goes_before_the_broker_is_there_is_told_later(tmp_path):
    late = Broker(tmp_path)
    with opened(f"mqtt://127.0.0.1:{late.port}/home/events") as sink:
        sink.signal(1_767_268_800.0)
        late.start()
        try:
            with listening(late.port) as heard:
                gone = "no signal since 2026-01-01T12:00:00.000Z"
                wait_for(lambda: any(payload == gone for _, payload, _ in heard), 30)
        finally:
            late.kill()


@needs_mosquitto
def test_the_status_is_retained_and_the_will_told(plain):
    with opened(f"mqtt://127.0.0.1:{plain.port}/home/events") as sink:
        wait_for(lambda: sink.state == "running")
        wait_for(lambda: plain.count("PUBLISH from"))
        with listening(plain.port) as heard:
            wait_for(lambda: heard)
            assert heard == [("home/events/status", "online", True)]
            sink._client.socket().shutdown(2)  # as if the cable were cut
            wait_for(lambda: ("home/events/status", "offline", False) in heard)
            wait_for(lambda: heard[-1][1] == "online")
        wait_for(lambda: sink.reopened == 1)
        said = "it works again; what was wrong last: lost the broker: the connection broke"
        wait_for(lambda: sink.notes == (said,))


@needs_mosquitto
def test_a_broker_that_is_restarted(plain):
    with opened(f"mqtt://127.0.0.1:{plain.port}/home/events") as sink:
        wait_for(lambda: sink.state == "running")
        plain.kill()
        wait_for(lambda: sink.state == "retrying")
        assert re.match("lost the broker: the connection broke|no connection to the broker: ", sink.notes[0])
        for number in range(50):
            sink.event(make_event(number))
        assert sink.queued == 50
        plain.start()
        with listening(plain.port) as heard:
            wait_for(lambda: len(events(heard)) >= 50)
        assert (sink.state, sink.dropped, sink.queued) == ("running", 0, 0)
    assert events(heard) == [make_event(number).json for number in range(50)]


@needs_mosquitto
def test_a_broker_that_comes_later(tmp_path):
    made = Broker(tmp_path)
    with opened(f"mqtt://127.0.0.1:{made.port}/home/events") as sink:
        sink.event(make_event())
        wait_for(lambda: sink.notes)
        assert sink.state == "retrying"
        made.start()
        wait_for(lambda: sink.events == 1 and not sink._flying)
    made.kill()
    assert sink.dropped == 0


def test_without_a_broker_the_oldest_are_lost_and_counted(monkeypatch):
    monkeypatch.setattr(mqtt_sink, "QUEUE", 10)
    monkeypatch.setattr(mqtt_sink, "DRAIN_SECONDS", 3 * LONG)
    # closing does not wait for a broker that is not there
    with ends(), opened(f"mqtt://127.0.0.1:{free_port()}/home/events") as sink:
        for number in range(25):
            sink.event(make_event(number))
        assert (sink.queued, sink.drops) == (10, {"not connected": 15})
    assert sink.drops == {"not connected": 15, "at the end": 10}


@needs_mosquitto
def test_a_wrong_password_is_said_once_and_does_not_hammer(tmp_path, caplog):
    with (
        broker(tmp_path, login=("tubes", "right")) as made,
        caplog.at_level(logging.INFO, "saliency_tubes"),
        opened(f"mqtt://tubes:hunter22@127.0.0.1:{made.port}/home/events") as sink,
        watched(sink),
    ):
        wait_for(lambda: sink.state == "refused")
        time.sleep(4)
        assert made.count("New connection") - made.count("not authorised") <= 2  # wait_for's own probe among them
        assert made.count("not authorised") == 1
    assert "refuses: Not authorized" in sink.notes[0]
    (told,) = (record for record in caplog.records if "refuses" in record.getMessage())
    assert told.stream == "door"
    assert "hunter22" not in caplog.text + sink.name + "".join(sink.notes)


@needs_mosquitto
def test_closing_does_not_wait_for_a_broker_that_is_frozen(plain):
    with opened(f"mqtt://127.0.0.1:{plain.port}/home/events") as sink:
        wait_for(lambda: sink.state == "running" and not sink._flying)
        os.kill(plain.process, signal.SIGSTOP)
        sink.event(make_event())
        wait_for(lambda: sink.events == 1)
        with ends(mqtt_sink.DRAIN_SECONDS + LONG):
            sink.close()
        os.kill(plain.process, signal.SIGCONT)
    assert sink.drops == {"at the end": 1}  # the status that it is offline is no event


def test_a_broker_that_is_away_is_not_one_that_refuses():
    """Attempts are a minute apart after a refusal, and soon again once it is something else."""
    pauses: list[tuple[int, int]] = []
    sink = open_sink("mqtt://me:hush@127.0.0.1/home/events", SinkOptions(live=True))
    assert isinstance(sink, MqttSink)
    sink._client = SimpleNamespace(reconnect_delay_set=lambda *delays: pauses.append(delays))
    sink._trouble("the broker refuses: Not authorized", refused=True)
    for _ in range(3):
        sink._on_connect_fail(sink._client, None)
    assert pauses == [mqtt_sink.REFUSED_DELAYS, mqtt_sink.DELAYS]  # once: each call starts the doubling anew


@contextmanager
def hangs_up(answers: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """A broker that takes every login, acknowledges so many publications and hangs up; its port, and what it heard."""
    heard: list[bytes] = []

    def talk(client: socket.socket) -> None:
        client.recv(1000)
        client.sendall(b"\x20\x02\x00\x00")  # CONNACK, accepted
        heard.append(client.recv(1000))
        if answers:
            client.sendall(b"\x40\x02" + mid_of(heard[-1]))  # PUBACK
            time.sleep(0.05)

    with accepting(talk) as port:
        yield port, heard


def mid_of(publish: bytes) -> bytes:
    """The number of a short PUBLISH with QoS 1: after its topic (MQTT 3.1.1, 3.3.2)."""
    end = 4 + int.from_bytes(publish[2:4], "big")
    return publish[end : end + 2]


@pytest.mark.parametrize("answers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_broker_that_hangs_up_on_everybody_is_asked_ever_more_rarely(answers, monkeypatch):
    monkeypatch.setattr(mqtt_sink, "DELAYS", (0.1, 30))
    with (
        hangs_up(answers) as (port, heard),
        opened(f"mqtt://127.0.0.1:{port}/home/events") as sink,
    ):
        wait_for(lambda: len(heard) >= 2)
        time.sleep(3)
        assert len(heard) <= 6  # after 0.2, 0.4, 0.8, 1.6 and 3.2 s
        assert len(sink._client._out_messages) <= 1
        assert sink._flying <= 1
        wait_for(lambda: sink.state == "retrying")
        assert bool(sink.reopened) == bool(answers)
        assert "lost the broker: the connection broke" in sink.notes[0]
    assert all(b"online" in one for one in heard)
    assert sink.drops == {}  # a status that nobody acknowledged is no event


def test_after_a_connection_that_held_the_pauses_start_anew(monkeypatch):
    pauses: list[tuple[float, float]] = []
    client = SimpleNamespace(reconnect_delay_set=lambda *delays: pauses.append(delays))
    sink = open_sink("mqtt://127.0.0.1/home/events", SinkOptions(live=True))
    assert isinstance(sink, MqttSink)
    for held in (0, 0, 0, 0, 0, 0, mqtt_sink.STEADY_SECONDS, 0):
        sink._connected, sink._since = True, time.monotonic() - held
        sink._on_disconnect(client, None, None, "Unspecified error", None)
    assert pauses == [(seconds, 30) for seconds in (2, 4, 8, 16, 30, 30, 1, 2)]


@needs_mosquitto
def test_the_right_password(tmp_path):
    with (
        broker(tmp_path, login=("tubes", "p@ss/word")) as made,
        opened(f"mqtt://tubes:p%40ss%2Fword@127.0.0.1:{made.port}/home/events") as sink,
    ):
        wait_for(lambda: sink.state == "running")
        sink.event(make_event())
        wait_for(lambda: sink.events == 1)
    assert sink.dropped == 0
    assert "p@ss" not in sink.name
    assert "p%40ss" not in sink.name


@needs_mosquitto
def test_tls(tmp_path):
    with broker(tmp_path, tls=True) as made:
        with opened(f"mqtts://localhost:{made.port}/home/events?ca={tmp_path}/certificate.pem") as sink:
            wait_for(lambda: sink.state == "running")
            sink.event(make_event())
        assert (sink.events, sink.dropped) == (1, 0)
        with opened(f"mqtts://localhost:{made.port}/home/events") as sink:  # nobody here knows who signed it
            wait_for(lambda: sink.notes)
            assert sink.state == "retrying"
            assert "certificate" in sink.notes[0]


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("mqtt://host", "mqtt://host/topic"),
        ("mqtt:///topic", "mqtt://host/topic"),
        ("mqtt://host/a/#", "no + and no #"),
        ("mqtt://host/a/%23", "no + and no #"),
        ("mqtt://host/%2B/a", "no + and no #"),
        ("mqtt://host/topic#x", "no + and no #"),
        ("mqtt://host/topic?qos=3", "qos must be 0, 1 or 2"),
        ("mqtt://host/topic?quos=1", "no option is called 'quos'"),
        *((f"mqtt://host:{port}/topic", "the port must be a number from 1 to 65535") for port in ("99999", "0", "abc")),
    ],
)
def test_wrong_addresses(uri, says):
    with pytest.raises(UsageError, match=says.replace("+", r"\+")):
        open_sink(uri)


def test_a_certificate_that_is_not_there(tmp_path):
    sink = open_sink(f"mqtts://localhost/topic?ca={tmp_path}/none.pem")
    with pytest.raises(SinkError, match="cannot read the certificate"):
        sink.open(INFO)
    sink.close()
