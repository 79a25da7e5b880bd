"""Streams pushed elsewhere: what is wrong with the request is told at once, and not tried until it works."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.app.cli import main
from saliency_tubes.stream.sinks import av_push as av_push_sink
from saliency_tubes.stream.sinks.av_push import AvPushSink
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sinks.threaded import Threaded
from saliency_tubes.stream.sources.gst_feed import available
from videos import make_info, make_shown
from waiting import free_port, wait_for

INFO = make_info(time_base=Fraction(1, 90_000))
SHOWN = make_shown(0, 0, INFO)
PUSHED = ["rtsp://me:hush@host{}/live", "rtsps://host{}/live", "rtmp://me:hush@host{}/live/x", "rtmps://host{}/live/x"]
needs_gst = pytest.mark.skipif(not available(), reason="this Python has no GStreamer")


@pytest.mark.parametrize("port", ["99999", "abc", "0"])
@pytest.mark.parametrize("address", [*PUSHED, "srt://host{}?passphrase=hush"])
def test_ports_that_are_none(address: str, port: str) -> None:
    with pytest.raises(UsageError, match="the port must be a number from 1 to 65535") as caught:
        open_sink(address.format(f":{port}"))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("address", [*PUSHED, pytest.param("srt://host:9{}", marks=needs_gst)])
def test_encoders_that_do_not_exist(address: str) -> None:
    with pytest.raises(UsageError, match=r"encoder must be one of auto, .*got 'nvnec'"):
        open_sink(address.format(""), SinkOptions(encoder="nvnec"))


def test_encoders_that_do_not_work_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(wanted: str) -> None:
        raise UsageError(f"no H.264 encoder works here ({wanted})")

    monkeypatch.setattr(av_push_sink, "choose_encoder", choose)
    open_sink(PUSHED[0].format(""))  # whatever works is looked for when it is opened
    with pytest.raises(UsageError, match="encoder works here"):
        open_sink(PUSHED[0].format(""), SinkOptions(encoder="nvenc"))


@needs_gst
@pytest.mark.parametrize(
    ("pipeline", "says"),
    [
        ("nosuchelement password=hush", 'no element "nosuchelement"'),
        ("videoconvert ! ! fakesink password=hush", "syntax error"),
        ("fakesink nosuch=1 password=hush", 'no property "nosuch"'),
    ],
)
def test_pipelines_that_are_none(pipeline: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        open_sink(f"gst://{pipeline}")
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@needs_gst
def test_looking_at_a_pipeline_opens_nothing(tmp_path: Path) -> None:
    open_sink(f"gst://videoconvert ! filesink location={tmp_path}/out.raw")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_so_and_ends(capfd: pytest.CaptureFixture[str]) -> None:
    words = ["run", "test://?frames=3", f"rtmp://127.0.0.1:{free_port()}/live/x", "--encoder", "nvnec"]
    assert main(words) == 2
    assert "got 'nvnec'" in capfd.readouterr().err


def test_a_machine_without_any_encoder_fails_and_does_not_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(wanted: str) -> None:
        raise UsageError("no H.264 encoder works here (libx264: not installed)")

    monkeypatch.setattr(av_push_sink, "choose_encoder", choose)
    sink = open_sink(f"rtmp://127.0.0.1:{free_port()}/live/x")
    sink.open(INFO)
    wait_for(lambda: sink.state == "failed")
    sink.close()
    assert sink.notes == ("no H.264 encoder works here (libx264: not installed); nothing more is written",)


@pytest.mark.parametrize("scheme", ["rtmp", "rtsp"])
def test_a_connection_by_rtmp_ends_before_its_times_do(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLV has 31 bits for milliseconds. RTP's times may begin again at 0."""
    made: list[io.BytesIO] = []

    def container(sink: AvPushSink) -> av.container.OutputContainer:
        made.append(io.BytesIO())
        return av.open(made[-1], "w", "flv")

    monkeypatch.setattr(AvPushSink, "_open_container", container)
    monkeypatch.setattr(av_push_sink, "RTMP_SECONDS", 0.3)
    sink = open_sink(f"{scheme}://127.0.0.1:{free_port()}/live/x")
    assert isinstance(sink, Threaded)
    sink.open(INFO)
    start = time.monotonic()
    while len(made) < 2 and time.monotonic() - start < 2:
        elapsed = time.monotonic() - start
        sink.write(replace(SHOWN, frame=replace(SHOWN.frame, pts=round(elapsed * 90_000))))
        time.sleep(0.04)
    notes = sink.notes
    sink.close()
    if scheme == "rtsp":
        assert len(made) == 1
        return
    assert "RTMP counts no more than 24 days: it is connected anew" in notes[-1]
    with av.open(io.BytesIO(made[0].getvalue())) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.pts is not None]
    assert 0 <= times[0] < 0.2 < times[-1] < 0.4


def test_rtmp_has_room_for_its_times() -> None:
    assert av_push_sink.RTMP_SECONDS + 86_400 < (1 << 31) / 1000
