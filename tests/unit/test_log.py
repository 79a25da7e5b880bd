"""Lines for people and for programs, and the passwords that are in neither."""

import io
import json
import logging
import subprocess
import sys
from dataclasses import replace

import pytest
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks.condition import SinkHealth
from saliency_tubes.stream.telemetry.log import LOGGER, logging_to, say
from saliency_tubes.stream.telemetry.monitor import StreamMonitor, changes
from saliency_tubes.stream.telemetry.stats import Snapshot, Spread

URI = "rtsp://me:hunter22@camera/live?token=abcdefgh"


def lines(form: str, *say_it) -> str:
    stream = io.StringIO()
    with logging_to(stream, form, [Address.parse(URI)]):
        for one in say_it:
            one()
    return stream.getvalue()


def test_lines_for_people():
    text = lines("text", lambda: say("input", "a camera"), lambda: say("source", "lost", stream="door"))
    assert text == "input    a camera\nsource   door: lost\n"


@pytest.mark.parametrize(("level", "kept"), [("debug", 3), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_left_out(level, kept):
    stream = io.StringIO()
    with logging_to(stream, level=level):
        for name in ("info", "warning", "error"):
            say("note", name, level=getattr(logging, name.upper()))
    assert stream.getvalue().split() == [
        word for name in ("info", "warning", "error")[3 - kept :] for word in ("note", name)
    ]


def test_lines_for_programs():
    text = lines("json", lambda: say("class", "yoga 0.90", stream="door", p=0.9))
    record = json.loads(text)
    assert record.pop("time").endswith("+00:00")
    assert record == {"level": "info", "event": "class", "message": "yoga 0.90", "stream": "door", "p": 0.9}


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_password_gets_through(form):
    def fail() -> None:
        try:
            raise OSError(f"cannot open {URI}")
        except OSError:
            LOGGER.exception("oh, %s", URI)

    text = lines(
        form,
        lambda: say("source", f"lost {URI}"),
        lambda: say("source", "the server said: user me password hunter22 is wrong"),
        lambda: say("source", "other", detail="hunter22", other="http://x:topsecret@y/"),
        lambda: LOGGER.warning("%s and %s", "hunter22", "abcdefgh"),
        lambda: logging.getLogger("saliency_tubes.mqtt").error("ftp://a:topsecret@b"),
        fail,
    )
    assert text.count("\n") == 6
    for secret in ("hunter22", "abcdefgh", "topsecret"):
        assert secret not in text
    assert "me" in text
    assert "Traceback" not in text


def test_nothing_is_left_behind():
    before = list(LOGGER.handlers), LOGGER.level, LOGGER.propagate
    lines("text")
    assert (list(LOGGER.handlers), LOGGER.level, LOGGER.propagate) == before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_the_command_line_that_others_see():
    code = (
        "from pathlib import Path; from saliency_tubes.stream.telemetry.log import hide_arguments; "
        "print(hide_arguments()); "
        "print(Path('/proc/self/cmdline').read_text().replace('\\0', ' '))"
    )
    words = [sys.executable, "-c", code, URI, "mqtt://you:abc@broker/abc", "--alpha", "0.5"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("True\n")
    shown = done.stdout.split("\n", 1)[1]
    assert "hunter22" not in shown
    assert "abcdefgh" not in shown
    assert "rtsp://me:********@camera/live?token=********" in shown
    assert "mqtt://you:***@broker" in shown
    assert "--alpha 0.5" in shown


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize(
    ("given", "password"),
    [("--rtsp-password {}", "abc"), ("--rtsp-password={}", "p@s:s&w/o#r%41d"), ("--rtsp-pass {}", "hunter22"),
     ("--rtsp-p={}", "abc")],
)  # fmt: skip
def test_a_password_that_is_an_option(given, password):
    code = (
        "import io, sys; from pathlib import Path; from saliency_tubes.stream.app.settings import read_settings; "
        "from saliency_tubes.stream.telemetry.log import hide_arguments, logging_to, say; "
        "settings = read_settings(sys.argv[1:]); print(hide_arguments(settings.addresses)); "
        "print(Path('/proc/self/cmdline').read_bytes()); word = settings.streams[0].sink.password.reveal()\n"
        "with logging_to(sys.stdout, 'text', settings.addresses): say('note', f'they said: {word} is wrong')"
    )
    words = [sys.executable, "-c", code, "abc.mp4", "null://", *given.format(password).split(), "--alpha", "0.5"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    hidden, shown, said = done.stdout.splitlines()
    assert hidden == "True"
    shown = shown.replace("\\x00", " ")
    assert f"abc.mp4 null:// {given.format('*' * len(password))} --alpha 0.5 " in shown
    assert said == "note     they said: *** is wrong"


def snapshot(**changed) -> Snapshot:
    fields = {
        "name": "x", "state": "live", "connected": True, "alive": True, "uptime": 1.0, "frames_in": 1, "frames_out": 1,
        "fps_in": 1.0, "fps_out": 1.0, "arrived": 0.0, "dropped": {}, "reconnects": 0, "lag": 0.0, "decoder_errors": 0,
        "windows": 0, "window_rate": 0.0, "batch": 1.0, "stages": {}, "latency": Spread(),
        "tube_age": 0.0, "queues": {},
    }  # fmt: skip
    return Snapshot(**{**fields, **changed})


def sink(state: str) -> tuple[SinkHealth, ...]:
    return (SinkHealth("rtmp://h/x", state),)


def test_the_encoder_of_an_output_that_opens_late_is_said():
    before, after = (snapshot(sinks=(replace(sink("x")[0], state=state, description=text),))
                     for state, text in (("connecting", ""), ("running", "H.264 by libx264")))  # fmt: skip
    assert [one.message for one in changes(before, after)] == ["rtmp://h/x: H.264 by libx264"]
    assert changes(after, after) == changes(None, after) == []


def test_a_probability_that_is_no_number_is_null():
    (change,) = changes(None, snapshot(label="yoga", probability=float("nan")))
    text = lines("json", lambda: say(change.event, change.message, **change.fields))
    record = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert (record["class"], record["p"]) == ("yoga", None)


def test_what_changes_is_said():
    live, lost = snapshot(), snapshot(connected=False, state="waiting 0.2 s: no frame for 2.0 s")
    assert changes(None, live) == changes(live, live) == []
    assert [one.message for one in changes(live, lost)] == ["lost: waiting 0.2 s: no frame for 2.0 s"]
    still = snapshot(connected=False, state="waiting 0.4 s: no frame for 2.0 s")
    assert changes(lost, still) == []  # the same trouble is not said again
    refused = snapshot(connected=False, state="waiting 1.0 s: wrong password")
    assert [one.message for one in changes(lost, refused)] == ["waiting 1.0 s: wrong password"]
    (again,) = changes(refused, snapshot(reconnects=1))
    assert again.message == "connected again, 1 times so far"


def test_the_same_trouble_is_said_once_however_often_it_is_tried_again():
    away = [snapshot(connected=False, state=f"waiting {seconds} s: nobody there") for seconds in (0.2, 0.4, 0.8)]
    trying = snapshot(connected=False, state="connecting: nobody there")
    refused = snapshot(connected=False, state="waiting 1.0 s: wrong password")
    again = snapshot(connected=False, state="connecting: wrong password")
    looks = iter([snapshot(), away[0], trying, away[1], trying, trying, away[2], trying, refused, again, snapshot()])
    monitor, stream = StreamMonitor(lambda: next(looks)), io.StringIO()
    with logging_to(stream):
        for _ in range(11):
            monitor.look()
    assert [line.split(maxsplit=1)[1] for line in stream.getvalue().splitlines()] == [
        "lost: waiting 0.2 s: nobody there",
        "waiting 1.0 s: wrong password",
        "connected again, 0 times so far",
    ]


def test_a_class_that_flickers_is_told_once_a_second(monkeypatch):
    now = iter([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.5])
    monkeypatch.setattr("saliency_tubes.stream.telemetry.monitor.time.monotonic", lambda: next(now))
    labels = iter(["yoga", "tai chi", "yoga", "tai chi", "yoga", "tai chi", "yoga", "yoga"])
    monitor, stream = StreamMonitor(lambda: snapshot(label=next(labels), probability=0.5), "door"), io.StringIO()
    with logging_to(stream):
        for _ in range(8):
            monitor.look()
    told = [line.removeprefix("class    door: ") for line in stream.getvalue().splitlines()]
    assert told == ["yoga 0.50", "tai chi 0.50", "yoga 0.50"]  # at 0, 1.25 and, since it lasts, 2.5 s


def test_files_have_no_lines_about_classes():
    looks = iter([snapshot(label="yoga"), snapshot(label="tai chi", sinks=sink("retrying"))])
    monitor, stream = StreamMonitor(lambda: next(looks), classes=False), io.StringIO()
    with logging_to(stream):
        monitor.look()
        monitor.look()
    assert stream.getvalue() == "sink     rtmp://h/x: retrying\n"


def test_falling_behind_is_told_once_and_so_is_its_end():
    skipping = snapshot(connected=False, state="skipping: fell 1.9 s behind", overloaded=True, skips=1)
    back = snapshot(overloaded=True, skips=1)
    gone = snapshot(connected=False, state="waiting 0.2 s: gone", overloaded=True, skips=1)
    later = snapshot(skips=2)
    looks = iter([snapshot(), skipping, skipping, back, back, skipping, back, gone, back, later, later])
    monitor, stream = StreamMonitor(lambda: next(looks)), io.StringIO()
    with logging_to(stream):
        for _ in range(11):
            monitor.look()
    first, *others = [line.split(maxsplit=1)[1] for line in stream.getvalue().splitlines()]
    assert first.startswith("falls behind the camera, and begins at the present again: this machine is short of time")
    assert others == [
        "lost: waiting 0.2 s: gone",
        "connected again, 0 times so far",
        "keeps up with the camera again, after 2 skips so far",
    ]


def test_old_tubes_are_told_when_it_begins_and_when_it_ends():
    stages = {"infer": Spread(1.01, 1.2, 9)}
    old = snapshot(tubes_too_old=True, tube_age=2.61, max_age=2.0, stages=stages)
    (begun,) = changes(snapshot(), old)
    assert (begun.event, begun.level) == ("tube", logging.WARNING)
    assert begun.message == "2.6 s old, and faded out beyond max-age 2 s; the model takes 1 s for a window"
    assert begun.fields == {"tube_age": 2.61, "max_age": 2.0}
    assert changes(old, replace(old, tube_age=3.0)) == []
    (ended,) = changes(old, snapshot(tube_age=0.91, max_age=2.0))
    assert (ended.message, ended.level) == ("young enough again: 0.9 s old", logging.INFO)
    nan = float("nan")
    (never,) = changes(snapshot(), snapshot(tubes_too_old=True, tube_age=nan, max_age=2.0))
    assert (never.message, never.fields["tube_age"]) == ("none yet, later than max-age 2 s allows", None)
    (over,) = changes(old, snapshot(tube_age=nan, max_age=2.0))
    assert over.message == "young enough again, and none is there at the moment"
    assert changes(old, replace(old, alive=False).ended()) == []


def test_classes_and_outputs():
    one = snapshot(label="yoga", probability=0.912, sinks=sink("running"))
    (first,) = changes(None, one)
    assert (first.event, first.message) == ("class", "yoga 0.91")
    assert changes(one, one) == []
    (lost,) = changes(one, snapshot(label="yoga", sinks=sink("retrying")))
    assert (lost.event, lost.message, lost.level) == ("sink", "rtmp://h/x: retrying", logging.WARNING)
    (full,) = changes(one, snapshot(label="yoga", sinks=(SinkHealth("a.mkv", "disk full", note="no space"),)))
    assert full.message == "a.mkv: disk full: no space"
    (back,) = changes(snapshot(label="yoga", sinks=sink("retrying")), one)
    assert (back.message, back.level) == ("rtmp://h/x: running", logging.INFO)
