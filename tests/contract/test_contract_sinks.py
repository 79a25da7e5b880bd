"""What every sink must do, whatever it writes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from saliency_tubes.engine.errors import SinkError, UsageError
from saliency_tubes.stream.media.gst_load import Missing, load
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.null import NullSink
from saliency_tubes.stream.sinks.open import check_outputs, open_sink
from stubs import make_event
from videos import make_info, make_shown

FILES = ["out.mp4", "out.mov", "out.mkv", "frames/%06d.png", "events.jsonl", "rec/%Y%m%d-%H%M%S.mkv"]
OTHERS = ["-", "null://", "rtsp://@:0/live", "gst://fakesink", "web://:0"]
LIVE = [f"live {uri}" for uri in ("out.mp4", "events.jsonl", "rec/%Y%m%d/%H%M%S.mp4")]


@pytest.fixture(params=[*FILES, *OTHERS, *LIVE])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    live, _, uri = request.param.rpartition(" ")
    if uri.startswith(("rtsp", "gst")):
        needs_gst()
    return open_sink(str(tmp_path / uri) if uri not in OTHERS else uri, SinkOptions(live=bool(live)))


def needs_gst() -> None:
    try:
        load("GstApp", "GstVideo", "GstRtsp", "GstRtspServer")
    except Missing as missing:
        pytest.skip(str(missing))


def test_takes_frames_and_events(sink: Sink, tmp_path: Path) -> None:
    info = make_info()
    sink.open(info)
    for index in range(5):
        sink.write(make_shown(index, index * 512, info))
        sink.event(make_event(index))
    sink.close()
    # Nothing is encoded while nobody watches.
    nothing = sink.name.endswith((".jsonl", "standard output")) or sink.name.startswith(("web://", "rtsp://"))
    assert sink.frames == (0 if nothing else 5)
    assert all("\n" not in note for note in sink.notes)


def test_close_may_be_called_twice(sink: Sink) -> None:
    info = make_info()
    sink.open(info)
    sink.write(make_shown(0, 0, info))
    sink.close()
    sink.close()


def test_close_without_open(sink: Sink, tmp_path: Path) -> None:
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_close_without_a_frame(sink: Sink) -> None:
    sink.open(make_info())
    sink.close()


def test_making_a_sink_writes_nothing(sink: Sink, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    assert sink.frames == sink.events == 0


def test_a_sink_changes_no_picture(sink: Sink) -> None:
    info = make_info()
    shown = make_shown(0, 0, info)
    before = [plane.copy() for plane in shown.frame.picture.planes]
    sink.open(info)
    sink.write(shown)
    sink.close()
    assert all((a == b).all() for a, b in zip(before, shown.frame.picture.planes, strict=True))


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
        needs_gst()
    sink = open_sink(uri)
    assert "hush" not in f"{sink.name} {sink.description} {sink.notes} {sink!r}"
    assert "hush" not in repr(SinkOptions(password="hush"))


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
