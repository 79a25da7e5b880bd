"""The command on live streams, as a service manager sees it: signals, reloads, several streams, what others read."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from brokers import broker, listening, needs_mosquitto
from commands import Run, healthz, metrics
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.gst_feed import available
from saliency_tubes.stream.sources.open import open_source
from saliency_tubes.stream.sources.pattern import draw
from saliency_tubes.stream.telemetry.events import VERSION
from servers import RtspServer, accepting, python_with_gi
from videos import all_pts
from waiting import free_port, wait_for

CAMERA = "test://?size=160x120&rate=15"


@pytest.fixture
def fast(small_model: Path) -> list[str]:
    """Options with which a window takes no time."""
    return ["--model", str(small_model), "--frames", "8", "--realtime"]


@pytest.mark.parametrize("wait", [[], ["--wait"]])
def test_one_sigterm_ends_a_run_whose_camera_takes_the_call_and_says_nothing(wait, tmp_path):
    """The signal comes while FFmpeg has the main thread: its binding loses the exception that the handler raises."""
    with (
        silent() as (port, called),
        Run(tmp_path, f"rtsp://127.0.0.1:{port}/live", "null://", "--open-timeout", 3, *wait) as run,
    ):
        assert called.wait(30)
        time.sleep(0.5)
        assert run.end() == 143
        assert "Traceback" not in run.said


@contextmanager
def silent() -> Iterator[tuple[int, threading.Event]]:
    """The port of a server that takes calls and never answers; an event that is set when one has come."""
    called, over = threading.Event(), threading.Event()

    def hold(client: socket.socket) -> None:
        called.set()
        over.wait(60)

    with accepting(hold) as port:
        try:
            yield port, called
        finally:
            over.set()


@pytest.mark.parametrize("sync", ["live", "aligned"])
def test_sigterm_finishes_the_files_of_a_live_stream(sync, fast, tmp_path):
    with Run(tmp_path, CAMERA, "out.mp4", "out.jsonl", *fast, "--sync", sync) as run:
        wait_for(
            lambda: (tmp_path / "out.jsonl").exists() and (tmp_path / "out.jsonl").read_text().count("\n") >= 2, 90
        )
        assert run.end() == 143
    frames = re.search(r"(\d+) frames in, (\d+) out, (\d+) dropped", run.said)
    assert frames, run.said
    read, written, dropped = map(int, frames.groups())
    assert read == written + dropped
    assert 8 < len(all_pts(tmp_path / "out.mp4")) <= written
    assert (f"aligned, delay {'' if sync == 'aligned' else 'none'}" in run.said) == (sync == "aligned")


def test_sigterm_while_a_camera_is_waited_for(tmp_path):
    with Run(tmp_path, f"rtsp://127.0.0.1:{free_port()}/live", "null://", "--wait", "--metrics", "0") as run:
        run.wait_for("/metrics")
        assert run.end() == 143
    assert "Traceback" not in run.said


@pytest.mark.skipif(not available(), reason="this Python has no GStreamer")
def test_a_pipeline_of_gstreamer_and_servers_that_everybody_reaches(fast, tmp_path):
    """As a v4l2 loopback would be fed, and what is said of servers without a password."""
    size, port = (160, 120), free_port()
    pipeline = "gst://videoconvert ! video/x-raw,format=GRAY8 ! filesink location=out.gray buffer-mode=unbuffered"
    words = [CAMERA, pipeline, f"rtsp://@:{free_port()}/x", "--listen", "0.0.0.0", "--metrics", f"0.0.0.0:{port}"]
    grey = tmp_path / "out.gray"
    with Run(tmp_path, *words, *fast) as run:
        wait_for(lambda: grey.exists() and grey.stat().st_size >= 20 * size[0] * size[1], 30)
        assert run.end() == 143
    frames = np.fromfile(grey, np.uint8).reshape(-1, *size[::-1])  # whole ones alone
    plain = draw(0, 0, size).planes[0]
    for frame in frames:
        assert abs(frame[-20:].mean() - plain[-20:].mean()) < 25
    assert "everybody who reaches this machine can watch" in run.said
    assert "anybody who reaches this machine can read" in run.said


def test_sighup_reloads_what_it_can(tmp_path):
    config = tmp_path / "live.toml"
    text = f'input = "{CAMERA}"\noutputs = ["null://"]\nframes = 16\nrealtime = true\n'
    config.write_text(text + "alpha = 0.5\n")
    with Run(tmp_path, "--config", config) as run:
        run.wait_for("class")
        config.write_text(text + 'alpha = 0.1\nexplain = "yoga"\nhop = 3\n')
        run.process.send_signal(signal.SIGHUP)
        run.wait_for("changed: explain, alpha")
        assert "needs a restart: hop" in run.said
        run.wait_for("class    yoga")
        config.write_text(text + "alfa = 0.1\n")
        run.process.send_signal(signal.SIGHUP)
        run.wait_for("did you mean alpha")
        assert run.end() == 143


def test_several_streams_share_a_model(small_model, tmp_path):
    port = free_port()
    streams = "".join(
        f'[[stream]]\nname = "{name}"\ninput = "{CAMERA}{more}"\noutputs = ["{name}.jsonl"]\n'
        for name, more in (("door", ""), ("yard", ""), ("short", "&frames=20"))
    )
    (tmp_path / "live.toml").write_text(
        f'model = "{small_model}"\nframes = 8\nrealtime = true\nmetrics = {port}\n{streams}'
    )
    with Run(tmp_path, "--config", "live.toml", "--log-format", "json") as run:
        wait_for(lambda: healthz(port)[1].get("streams", {}).get("short", {}).get("state") == "ended", 60)
        status, facts = healthz(port)  # one has ended, the others go on
        assert status == 503
        failing = [name for name, one in facts["streams"].items() if one["status"] == "failing"]
        assert failing == ["short"]
        time.sleep(4)
        assert run.end() == 143
    records = [json.loads(line) for line in run.said.splitlines()]
    assert {one["stream"] for one in records if one["event"] == "done"} == {"door", "yard", "short"}
    door, yard = (len((tmp_path / f"{name}.jsonl").read_text().splitlines()) for name in ("door", "yard"))
    assert min(door, yard) >= 0.6 * max(door, yard) > 2  # served in turn


@pytest.mark.parametrize("names", [pytest.param(["door"], marks=pytest.mark.slow), ["door", "yard"]])
def test_asked_twice_it_still_finishes_the_files(names, small_model, tmp_path):
    streams = "".join(f'[[stream]]\nname = "{name}"\ninput = "{CAMERA}"\noutputs = ["{name}.mp4"]\n' for name in names)
    port = free_port()
    (tmp_path / "live.toml").write_text(
        f'model = "{small_model}"\nframes = 8\nrealtime = true\nsync = "aligned"\nmetrics = {port}\n{streams}'
    )
    with Run(tmp_path, "--config", "live.toml") as run:
        written = re.compile(r"^saliency_tubes_frames_out_total.* [1-9]\d\.", re.MULTILINE)
        wait_for(lambda: len(written.findall(metrics(port))) == len(names), 60)
        run.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        assert run.end() == 143, run.said
    assert "terminate" not in run.said
    for name in names:
        assert len(all_pts(tmp_path / f"{name}.mp4")) > 5


@needs_mosquitto
@pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer (make system-deps)")
@pytest.mark.skipif(not available(), reason="this Python has no GStreamer")
def test_a_camera_goes_to_a_server_a_recording_and_a_broker(small_model, tmp_path):
    port = free_port()
    (tmp_path / "broker").mkdir()
    with RtspServer() as camera, broker(tmp_path / "broker") as made, listening(made.port) as heard:
        outputs = [f"rtsp://@:{port}/explained", "recordings/%Y%m%d-%H%M%S.mkv", f"mqtt://127.0.0.1:{made.port}/topic"]
        words = [*outputs, "--model", small_model, "--frames", "8", "--segment-seconds", "2"]
        with Run(tmp_path, camera.url(), *words) as run:
            run.wait_for("model")
            watcher = open_source(f"rtsp://127.0.0.1:{port}/explained", SourceOptions(first_timeout=20))
            frames = list(islice(watcher, 75))
            watcher.close()
            wait_for(lambda: sum(topic == "topic" for topic, *_ in heard) >= 3)
            assert run.end() == 143
        wait_for(lambda: ("topic/status", "offline", False) in heard)
    assert not any(frame.gap for frame in frames)
    assert {(frame.picture.width, frame.picture.height) for frame in frames} == {(320, 240)}
    recorded = sorted((tmp_path / "recordings").iterdir())
    assert len(recorded) >= 2
    told = re.search(r"(\d+) frames in, (\d+) out, (\d+) dropped", run.said)
    assert told, run.said
    read, written, dropped = map(int, told.groups())
    assert read == written + dropped
    assert 0.8 * written <= sum(len(all_pts(one)) for one in recorded) <= written  # a busy disk may lose some


@needs_mosquitto
def test_events_go_to_a_broker_while_the_rest_is_written(fast, tmp_path):
    (tmp_path / "broker").mkdir()
    with broker(tmp_path / "broker") as made, listening(made.port) as heard:
        uri = f"mqtt://127.0.0.1:{made.port}/home/events"
        with Run(tmp_path, CAMERA, uri, "out.mp4", *fast, "--log-format", "json") as run:
            wait_for(lambda: len([one for one in heard if one[0] == "home/events"]) >= 3, 120)
            assert run.end() == 143
        wait_for(lambda: ("home/events/status", "offline", False) in heard)
    assert json.loads(next(payload for topic, payload, _ in heard if topic == "home/events"))["version"] == VERSION
