"""What every sink must do, whatever it writes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from listeners import needs_gst
from outputs import OUTPUTS, QUICK, SLOW, Output
from saliency_tubes.engine.errors import SinkError, UsageError
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.net.secret import Secret
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.condition import STATES
from saliency_tubes.stream.sinks.null import NullSink
from saliency_tubes.stream.sinks.open import check_outputs, open_sink
from screens import MISSING, OPENCV, screen
from stubs import make_event
from videos import make_info, make_shown
from waiting import deaf_port, wait_for

INFO = make_info()
COUNT = 5
"""pictures and events that an output is given"""
FEW = 3
"""pictures that must arrive where who watches comes when he likes"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For what an output writes."""
    made = tmp_path / "written"
    made.mkdir()
    return made


@pytest.fixture(params=[*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def output(request: pytest.FixtureRequest, folder: Path, tmp_path: Path) -> Iterator[Output]:
    other = tmp_path / "other"
    other.mkdir()
    with OUTPUTS[request.param](folder, other) as made:
        yield made


def give(sink: Sink, count: int = COUNT) -> None:
    """Each event, and the frame that follows it."""
    for index in range(count):
        sink.event(make_event(index))
        sink.write(make_shown(index, index * 512, INFO))


@contextmanager
def giving(sink: Sink) -> Iterator[None]:
    """As from a camera, in a thread, while the block lasts."""
    done = threading.Event()

    def work() -> None:
        index = 0
        while not done.wait(0.03):
            sink.write(make_shown(index, index * 512, INFO))
            index += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("output", OUTPUTS, indirect=True)
def test_what_it_is_given_arrives(output: Output) -> None:
    sink = output.make()
    sink.open(INFO)
    try:
        if output.endless:
            assert output.pictures is not None
            with giving(sink), output.watch(sink):
                wait_for(lambda: output.pictures() >= FEW)  # type: ignore[misc]
        else:
            wait_for(lambda: sink.health().state not in ("connecting", "retrying"))
            give(sink)
    finally:
        sink.close()
    health = sink.health()
    assert health.queued == 0
    assert output.leaky or not health.dropped
    if output.endless:
        assert health.frames_written >= FEW
        return
    frames = health.frames_written + health.dropped
    assert frames == (COUNT if output.counts_frames else 0)
    if output.pictures is not None:
        wait_for(lambda: output.pictures() >= health.frames_written)  # type: ignore[misc]
        assert output.pictures() == health.frames_written > 0
    if output.events is not None:
        wait_for(lambda: len(output.events()) >= COUNT)  # type: ignore[misc]
        assert output.events() == [make_event(index).json for index in range(COUNT)]
        assert health.events == COUNT


def test_its_health_is_told_all_the_while(output: Output) -> None:
    sink = output.make()
    new = sink.health()
    assert (new.state, new.frames_written, new.events, new.dropped, new.queued, new.trying) == ("new", 0, 0, 0, 0, 0.0)
    assert new.name == sink.name
    sink.open(INFO)
    give(sink)
    told = sink.health()
    sink.close()
    after = sink.health()
    for health in (new, told, after):
        assert health.state in STATES
        assert "\n" not in f"{health.name}{health.note}{health.description}"
    assert told.frames_written <= after.frames_written <= COUNT
    assert told.events <= after.events <= COUNT
    assert after.queued == 0
    assert after.dropped == sum(after.drops.values())
    assert all("\n" not in note for note in sink.notes)


def test_its_own_address_changes_nothing_while_it_runs(output: Output) -> None:
    sink = output.make()
    sink.open(INFO)
    before = sink.health()
    sink.reconfigure(Address.parse(output.uri))
    after = sink.health()
    sink.close()
    assert (after.name, after.frames_written, after.drops) == (before.name, before.frames_written, before.drops)


def test_a_camera_may_go_and_come_back(output: Output) -> None:
    sink = output.make()
    sink.signal(1.5e9)
    sink.open(INFO)
    sink.signal(None)
    give(sink)
    sink.signal(1.5e9)
    sink.close()
    assert sink.health().state != "failed"


def test_close_may_be_called_twice(output: Output) -> None:
    sink = output.make()
    sink.open(INFO)
    sink.write(make_shown(0, 0, INFO))
    sink.close()
    sink.close()


def test_close_without_open(output: Output, folder: Path) -> None:
    output.make().close()
    assert list(folder.iterdir()) == []


def test_close_without_a_frame(output: Output) -> None:
    sink = output.make()
    sink.open(INFO)
    sink.close()
    assert sink.health().dropped == 0


def test_making_a_sink_writes_nothing(output: Output, folder: Path) -> None:
    output.make()
    assert list(folder.iterdir()) == []


def test_a_sink_changes_no_picture(output: Output) -> None:
    sink = output.make()
    shown = make_shown(0, 0, INFO)
    before = [plane.copy() for plane in shown.frame.picture.planes]
    sink.open(INFO)
    sink.write(shown)
    sink.close()
    assert all((a == b).all() for a, b in zip(before, shown.frame.picture.planes, strict=True))


@pytest.mark.parametrize(
    ("address", "takes"),
    [
        ("mqtt://127.0.0.1:{}/home/events", "events"),
        ("hook+http://127.0.0.1:{}/?class=yoga&cooldown=0&retries=0", "calls"),
        ("rtsp://127.0.0.1:{}/live", "frames"),
        ("rtmp://127.0.0.1:{}/live/x", "frames"),
    ],
)
def test_what_nobody_takes_is_counted(address: str, takes: str) -> None:
    """Nobody is at the other end: the stream goes on, and nothing is lost in silence."""
    with deaf_port() as port, closing(open_sink(address.format(port))) as sink:
        assert sink.never_waits
        sink.open(INFO)
        give(sink)
        given = COUNT
        while takes == "frames" and not sink.health().note:  # FFmpeg tells with a later frame that it cannot connect
            sink.write(make_shown(given, given * 512, INFO))
            given += 1
            time.sleep(0.03)
        wait_for(lambda: sink.health().note)
        trouble = sink.health()
    health = sink.health()
    assert trouble.state in ("retrying", "lost")
    assert health.state == "closed"
    if takes == "frames":
        assert (health.frames_written, health.events, health.dropped) == (0, 0, given)
    else:
        assert health.dropped == COUNT


@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} (make system-deps)")
@pytest.mark.skipif(not OPENCV.is_dir(), reason="needs opencv-python in .venv/windows, which make test installs")
@pytest.mark.skipif("DISPLAY" in os.environ, reason="is what this runs")
def test_the_window_keeps_the_contract() -> None:
    """All of the above once more for display://, where there are a screen and an OpenCV that has windows."""
    with screen() as display:
        environment = {**os.environ, "DISPLAY": display, "PYTHONPATH": str(OPENCV)}
        # OpenCV first: its windows hang where PyAV was loaded before it.
        program = "import cv2, sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
        words = ["-q", "-p", "no:cacheprovider", "-k", "[display://]", __file__]
        command = [sys.executable, "-c", program, *words]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stdout
    assert "9 passed" in run.stdout


@pytest.mark.parametrize(
    "uri",
    ["out.webm", "out", "", "ftp://user:hush@host/x", "frames/x.png", "f/%d_%d.png"],
)
def test_unknown_outputs_say_what_is_accepted(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_sink(uri)
    message = str(caught.value)
    assert "\n" not in message
    assert "hush" not in message
    assert "%06d.png" in message


@pytest.mark.parametrize("uri", ["%d/frame.png", "%s.png", "%05x.png", "100%/%d.png"])
def test_png_patterns_need_one_number_in_the_file_name(uri: str) -> None:
    with pytest.raises(UsageError, match="exactly one %d"):
        open_sink(uri)


@pytest.mark.parametrize("uri", ["missing/out.mp4", "missing/events.jsonl"])
def test_a_missing_folder_is_told_before_anything_is_opened(tmp_path: Path, uri: str) -> None:
    with pytest.raises(SinkError, match=r"the folder .*missing does not exist"):
        open_sink(str(tmp_path / uri))


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(SinkError, match="is a folder"):
        open_sink(str(tmp_path / "out.mp4"))


LONG = "x" * 300
"""more than a name may have"""


@pytest.mark.parametrize("uri", [f"{LONG}.mp4", f"{LONG}.jsonl", f"{LONG}/out.mkv", f"{LONG}/%d.png"])
def test_a_name_that_the_system_does_not_take(tmp_path: Path, uri: str) -> None:
    with pytest.raises(SinkError, match=r"^[^\n]*: File name too long$"):
        open_sink(str(tmp_path / uri))


@pytest.mark.parametrize("uri", ["a\0.mp4", "a\0b/%d.png", "file:///a%00.jsonl", "a\0/%Y.mkv"])
def test_no_name_holds_a_nul(uri: str) -> None:
    with pytest.raises(UsageError, match="no file can have a NUL in its name"):
        open_sink(uri)
    with pytest.raises(UsageError, match="no file can have a NUL in its name"):
        check_outputs("in.mp4", [uri])


def test_png_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="is not a folder"):
        open_sink(str(tmp_path / "file" / "%d.png"))


@pytest.mark.parametrize(
    "uri", ["rtsp://@:8554/x", "rtsp://@0.0.0.0:8554/x", "rtsp://:8554/x", "rtsp://user:hush@:8554/x", "rtsp://@/x"]
)
def test_what_is_served(uri: str) -> None:
    assert Address.parse(uri).is_served


@pytest.mark.parametrize(
    "uri", ["rtsp://host/x", "rtsp://10.0.0.9:554/@x", "rtsp://user:hush@host/x", "rtsp://user@[::1]:1/x"]
)
def test_what_is_pushed(uri: str) -> None:
    assert not Address.parse(uri).is_served


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("rtsp://@:8554", "name what is served"),
        ("rtsp://user:hush@:99999/x", r"^rtsp://user:\*\*\*@:99999/x: the port must be 0 to 65535"),
        ("rtsp://user@:8554/x", "belong together"),
        ("rtmp:///live", "no host"),
        ("gst://", "say where to"),
        ("srt://host?passphrase=hush", "say where to"),
        ("display://hush", "takes no name"),
        ("rec/%A.mkv", "got %A"),
    ],
)
def test_addresses_that_lead_nowhere(uri: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        open_sink(uri)
    assert "hush" not in str(caught.value) or "display" in uri


@pytest.mark.parametrize("uri", ["rtsp://user:hush@host/x", "rtmp://user:hush@host/x", "rtsp://user:hush@:8554/x",
                                 "srt://host:1?passphrase=hush"])  # fmt: skip
def test_passwords_are_in_no_name(uri: str) -> None:
    if uri.startswith("srt"):
        needs_gst("GstApp", "GstVideo")
    sink = open_sink(uri)
    assert "hush" not in f"{sink.name} {sink.description} {sink.notes} {sink!r}"
    options = SinkOptions(password="hush")
    assert "hush" not in f"{options!r} {options.password}"
    assert Secret.of(options.password).reveal() == "hush"


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency": "none"},
        {"on_full": "panic"},
        {"crf": 99},
        {"segment_seconds": 0.0},
        {"bitrate": -1},
        {"preset": "fast ! fakesink"},
    ],
)
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="got"):
        SinkOptions(**wrong)


def test_what_two_threads_lose_at_once_is_counted_twice() -> None:
    sink = NullSink("null://")
    other = threading.Thread(target=sink._drop, args=("too slow",))

    class Counted(dict[str, int]):
        def get(self, reason: str, default: int = 0) -> int:  # type: ignore[override]
            count = super().get(reason, default)
            if not other.ident:
                other.start()
                other.join(0.1)  # in the midst of it
            return count

    sink._lost = Counted()
    sink._drop("too slow")
    other.join()
    assert (sink.drops, sink.dropped) == ({"too slow": 2}, 2)


class TestCheckOutputs:
    def test_different_names_pass(self) -> None:
        check_outputs("in.mp4", ["out.mp4", "events.jsonl", "-", "null://", "null://"])

    def test_an_output_that_is_the_input(self, tmp_path: Path) -> None:
        clip = tmp_path / "clip.mp4"
        clip.write_bytes(b"x")
        link = tmp_path / "link.mp4"
        link.symlink_to(clip)
        for name in (str(clip), f"{tmp_path}/../{tmp_path.name}/clip.mp4", str(link), clip.as_uri()):
            with pytest.raises(UsageError, match="is also the input"):
                check_outputs(str(clip), [name])

    @pytest.mark.parametrize(
        "pair",
        [
            ("a.mp4", "./a.mp4"),
            ("-", "-"),
            ("x/../%d.png", "%d.png"),
            ("rtsp://@/x", "rtsp://me:hush@127.0.0.1:8554/x"),
            ("rtsp://host/x?a=1", "rtsp://host:554/x?a=1"),
        ],
    )
    def test_the_same_output_twice(self, pair: tuple[str, str]) -> None:
        with pytest.raises(UsageError, match=r"is also .*output"):
            check_outputs("in.mp4", pair)

    @pytest.mark.parametrize(
        "pair", [("rtsp://@/x", "rtsp://@0.0.0.0/x"), ("rtsp://@/x", "rtsp://@:8555/x"), ("rtsp://@/x", "rtsp://@/y"),
                 ("rtsp://host/x?a=1", "rtsp://host/x?a=2")]
    )  # fmt: skip
    def test_other_places_pass(self, pair: tuple[str, str]) -> None:
        check_outputs("in.mp4", pair)

    def test_where_it_is_served_depends_on_what_is_listened_on(self) -> None:
        with pytest.raises(UsageError, match="is also"):
            check_outputs("in.mp4", ["rtsp://@/x", "rtsp://@0.0.0.0/x"], "0.0.0.0")
