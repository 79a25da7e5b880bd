"""The RTSP server against real clients: PyAV, GStreamer, and some that behave badly."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from barcodes import read_barcode
from rtspclients import FAST, clients
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.engine.picture import Layout
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.media.encoders import ABSENT, Chosen
from saliency_tubes.stream.media.gst_load import Missing, load
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks import gst_encode, gst_rtsp_server
from saliency_tubes.stream.sinks import gst_rtsp as gst_rtsp_sink
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.gst_rtsp import GstRtspSink
from saliency_tubes.stream.sources.pattern import draw
from videos import make_info, make_shown
from waiting import free_port, wait_for

try:
    GST = load("GstApp", "GstVideo", "GstRtsp", "GstRtspServer")
except Missing as missing:
    pytest.skip(str(missing), allow_module_level=True)

RATE = 30
INFO = make_info(width=320, height=240, rate=Fraction(RATE), time_base=Fraction(1, 90_000))
STEP = 90_000 // RATE
FIRST = 15
"""frames in which a client may still see one that was kept for it, before the keyframe made for it"""


SOON = 1.0
"""seconds: whoever waits for a client, or for the next key frame, waits longer"""


def pattern(number: int) -> Shown:
    """A frame of test://, which says its number."""
    return Shown(Frame(number, number * STEP, INFO.time_base, draw(number, 0, (INFO.width, INFO.height))), ())


class Feeder:
    """Writes numbered frames at 30 a second, and remembers when."""

    def __init__(self, sink: GstRtspSink) -> None:
        self.written: dict[int, float] = {}
        self.slowest = 0.0
        self.paused = threading.Event()
        self._sink, self._stop = sink, threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def _feed(self) -> None:
        start, index = time.monotonic(), 0
        while not self._stop.wait(max(0.0, start + index / RATE - time.monotonic())):
            index += 1
            if self.paused.is_set():
                continue
            shown = pattern(index)
            self.written[index] = begin = time.monotonic()
            self._sink.write(shown)
            self.slowest = max(self.slowest, time.monotonic() - begin)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def served(uri: str = "rtsp://@:0/live", **options: Any) -> Iterator[tuple[GstRtspSink, Feeder]]:
    sink = GstRtspSink(Address.parse(uri), SinkOptions(**options))
    sink.open(INFO)
    feeder = Feeder(sink)
    try:
        yield sink, feeder
    finally:
        feeder.stop()
        sink.close()


def watch(
    port: int, frames: int, path: str = "live", login: str = "", transport: str = "tcp"
) -> list[tuple[int, float]]:
    """Decodes so many frames: the number in each, and when it was there."""
    options = FAST | {"rtsp_transport": transport}
    seen = []
    with av.open(f"rtsp://{login}127.0.0.1:{port}/{path}", options=options, timeout=(8, 8)) as container:
        container.streams.video[0].thread_type = "SLICE"
        for frame in container.decode(video=0):
            seen.append((read_barcode(frame.to_ndarray(format="gray")) or 0, time.monotonic()))
            if len(seen) == frames:
                break
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_every_frame_arrives_in_order_and_soon(transport: str) -> None:
    with served() as (sink, feeder):
        seen = watch(sink.port, 60, transport=transport)
        numbers = [number for number, _ in seen]
        # From the second keyframe on nothing is missing; before it a client may see a frame that was kept for it.
        assert np.all(np.diff(numbers[FIRST:]) == 1)
        late = [at - feeder.written[number] for number, at in seen[FIRST:]]
        assert np.median(late) < SOON
        assert sink.dropped == 0
        wait_for(lambda: sink.viewers == 0)
    assert "H.264 by " in sink.description
    assert not [thread for thread in threading.enumerate() if thread.name == "saliency-tubes rtsp"]


def test_a_gstreamer_client_that_comes_first_and_three_others() -> None:
    with served() as (sink, _):
        source = f"rtspsrc location=rtsp://127.0.0.1:{sink.port}/live protocols=tcp latency=0"
        pipeline = GST.Gst.parse_launch(f"{source} ! rtph264depay ! h264parse ! fakesink name=out sync=false")
        count = [0]
        out = pipeline.get_by_name("out")
        out.set_property("signal-handoffs", True)
        out.connect("handoff", lambda *_: count.__setitem__(0, count[0] + 1))
        pipeline.set_state(GST.Gst.State.PLAYING)
        results: list[list[tuple[int, float]]] = []
        threads = [threading.Thread(target=lambda: results.append(watch(sink.port, 30))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [len(seen) for seen in results] == [30, 30, 30]
        wait_for(lambda: count[0] > 30)
        pipeline.set_state(GST.Gst.State.NULL)


def test_a_new_client_need_not_wait_for_the_next_keyframe_nor_for_the_source() -> None:
    with served() as (sink, feeder):
        watch(sink.port, 5)
        feeder.paused.set()  # the camera is gone
        time.sleep(0.2)
        seen = watch(sink.port, 2)  # or it would wait for ever
        assert seen[0][0] <= max(feeder.written)


def test_what_was_encoded_is_counted_and_what_was_not_is_not() -> None:
    with served() as (sink, feeder):
        wait_for(lambda: len(feeder.written) > 10)
        assert (sink.frames_written, sink.dropped) == (0, 0)  # nobody watches
        watch(sink.port, 20)
        wait_for(lambda: sink.viewers == 0)
        time.sleep(0.3)
        watched, written = sink.frames_written, len(feeder.written)
        assert 20 <= watched + sink.dropped < written
        feeder.paused.set()
        time.sleep(0.3)
        watched = sink.frames_written
        watch(sink.port, 10)  # the last picture, sent again
        assert sink.frames_written == watched


def test_what_the_encoder_loses_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = gst_encode.encoder
    slow = "identity sleep-time=100000 ! "
    monkeypatch.setattr(gst_encode, "encoder", lambda *args, **named: slow + encoder(*args, **named))
    with served() as (sink, feeder):
        assert sink.encode is not None
        pushed: list[float] = []
        push = sink.encode.push
        monkeypatch.setattr(
            sink.encode, "push", lambda *args, counts: (pushed.append(counts), push(*args, counts=counts))
        )
        watch(sink.port, 10)
        feeder.stop()
    assert sink.frames_written >= 5
    assert sink.drops["encoder too slow"] >= 10
    assert sum(pushed) == sink.frames_written + sink.drops["encoder too slow"] + sink.drops.get("at the end", 0)


BAD = {"stuck": 2, "storm": 50, "slow": 10_000}
"""those of rtspclients.py: of each kind that never goes, a second, bytes a second"""


@contextmanager
def bad_clients(port: int, kinds: Iterable[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(clients(kind, port, BAD[kind]))
        yield


def well_served(sink: GstRtspSink, seconds: float) -> float:
    """Watches from a process of its own; no frame is lost on the way, none has another's time. The longest pause."""
    with clients("watch", sink.port, seconds) as process:
        out, _ = process.communicate(timeout=seconds + 20)
    numbers, pts, moments = (np.diff(column[FIRST:]) for column in np.array(json.loads(out)).T)
    assert len(numbers) > seconds * RATE / 2
    assert np.all(numbers > 0)
    assert np.sum(numbers - 1) <= sink.drops.get("encoder too slow", 0)  # on a machine that is busy
    assert np.median(pts) == pytest.approx(STEP, abs=30)
    assert np.all(pts > 0)
    return float(moments.max())


def test_bad_clients_cost_a_good_one_no_frame() -> None:
    with served() as (sink, _):
        with bad_clients(sink.port, BAD):
            wait_for(lambda: sink.viewers > 5)
            well_served(sink, 3)
        wait_for(lambda: sink.viewers == 0)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [*([kind] for kind in BAD), BAD], ids=[*BAD, "all"])
def test_bad_clients_stall_nobody(kinds: Iterable[str]) -> None:
    with served() as (sink, feeder):
        with bad_clients(sink.port, kinds):
            assert well_served(sink, 10) < SOON
        assert feeder.slowest < SOON
        wait_for(lambda: sink.viewers == 0)


def test_whoever_never_asks_for_a_stream_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst_rtsp_server, "SESSION_SECONDS", 1)
    with served() as (sink, _), ExitStack() as stack:
        address = ("127.0.0.1", sink.port)
        silent, half, curious = (stack.enter_context(socket.create_connection(address, 10)) for _ in range(3))
        request = f"DESCRIBE rtsp://127.0.0.1:{sink.port}/live RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()
        half.sendall(request[:40])
        curious.sendall(request)
        assert b" 200 OK" in curious.recv(8192)
        while curious.recv(8192):
            pass
        assert (silent.recv(1), half.recv(1)) == (b"", b"")
        wait_for(lambda: sink.viewers == 0)


def test_whoever_falls_silent_is_sent_away_in_a_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst_rtsp_server, "SESSION_SECONDS", 1)
    closed_in: list[str] = []

    class Server(gst_rtsp_server.RtspServer):
        def _begin_session(self, client: Any, session: Any) -> None:
            super()._begin_session(client, session)
            session.set_property("extra-timeout", 0)  # GStreamer waits for 5 s more

        def _gone(self, client: Any) -> None:
            closed_in.append(threading.current_thread().name)
            super()._gone(client)

    monkeypatch.setattr(gst_rtsp_sink, "RtspServer", Server)
    monkeypatch.setattr(gst_rtsp_server, "MAX_CONNECTIONS", 1)
    with served() as (sink, _), socket.create_connection(("127.0.0.1", sink.port), 10) as silent:
        head = f"SETUP rtsp://127.0.0.1:{sink.port}/live/stream=0 RTSP/1.0\r\nCSeq: 1\r\n"
        silent.sendall(f"{head}Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n".encode())
        assert b" 200 OK" in silent.recv(8192)
        assert silent.recv(8192) == b""
        wait_for(lambda: sink.viewers == 0)
        wait_for(lambda: _can_watch(sink.port))
    assert "saliency-tubes rtsp" not in closed_in


def test_one_connection_cannot_take_everything(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Sessions cost threads and files, and a process without files is ended by GLib; bodies cost memory."""
    with served() as (sink, _):
        address = ("127.0.0.1", sink.port)
        setup = f"SETUP rtsp://127.0.0.1:{sink.port}/live/stream=0 RTSP/1.0\r\nCSeq: 1\r\n"
        with socket.create_connection(address, 10) as greedy:
            begun = 0
            with suppress(OSError):
                for _ in range(20):
                    greedy.sendall(f"{setup}Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n".encode())
                    if b" 200 OK" not in greedy.recv(8192):
                        break
                    begun += 1
        assert 1 <= begun <= gst_rtsp_server.MAX_SESSIONS + 1
        with socket.create_connection(address, 10) as large:
            large.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 400000000\r\n\r\n")
            assert b" 413 " in large.recv(8192)

        def fail() -> None:
            raise ZeroDivisionError("oh")

        ran = threading.Event()
        server = sink.server
        assert server is not None
        monkeypatch.setattr(server, "_ticks", [fail, ran.set])
        assert ran.wait(5)
        ran.clear()
        assert ran.wait(5)  # the timer lives on
        assert [record.getMessage() for record in caplog.records].count(
            f"RTSP on port {sink.port}: ZeroDivisionError: oh"
        ) == 1
        monkeypatch.undo()
        wait_for(lambda: _can_watch(sink.port))


def test_one_too_many_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst_rtsp_server, "MAX_CONNECTIONS", 2)
    with served() as (sink, _), ExitStack() as stack:
        address = ("127.0.0.1", sink.port)
        for _ in range(2):
            stack.enter_context(socket.create_connection(address, 10))
        assert stack.enter_context(socket.create_connection(address, 10)).recv(1) == b""
        stack.close()
        wait_for(lambda: _can_watch(sink.port))


def _can_watch(port: int) -> bool:
    with suppress(av.FFmpegError):  # no place is free yet
        return bool(watch(port, 1))
    return False


class TestPassword:
    def test_right_wrong_and_none(self, capfd: pytest.CaptureFixture[str]) -> None:
        with served(user="eva", password="hush hush") as (sink, _):
            assert len(watch(sink.port, 3, login="eva:hush%20hush@")) == 3
            for login in ("", "eva:wrong@", "adam:hush%20hush@"):
                with pytest.raises(av.FFmpegError):
                    watch(sink.port, 1, login=login)
            assert "hush" not in f"{sink.name} {sink.notes} {sink.description}"
        out, err = capfd.readouterr()
        assert "hush" not in out + err

    def test_from_the_environment_and_from_the_address(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with served("rtsp://eva:secret@:0/live") as (sink, _):
            assert sink.name == "rtsp://127.0.0.1:0/live"
            with pytest.raises(av.FFmpegError):
                watch(sink.port, 1)
            assert watch(sink.port, 1, login="eva:secret@")
        monkeypatch.setenv("SALIENCY_TUBES_RTSP_USER", "eva")
        monkeypatch.setenv("SALIENCY_TUBES_RTSP_PASSWORD", "other")
        with served() as (sink, _):
            assert watch(sink.port, 1, login="eva:other@")


OTHER = "127.0.0.2"
"""an address of this machine that a server at 127.0.0.1 does not answer at"""


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((OTHER, port)) == 0


def test_it_listens_to_this_machine_alone_unless_told_otherwise_and_then_says_so() -> None:
    for uri, listen in (("rtsp://@:0/live", "127.0.0.1"), ("rtsp://@127.0.0.1:0/live", "0.0.0.0")):
        with served(uri, listen=listen) as (sink, _):
            assert not answers(sink.port)
            assert sink.notes == ()
    for uri, listen in (("rtsp://@:0/live", "0.0.0.0"), ("rtsp://@0.0.0.0:0/live", "127.0.0.1")):
        with served(uri, listen=listen) as (sink, _):
            assert answers(sink.port)
            assert "no password" in sink.notes[0]
        with served(uri, listen=listen, user="eva", password="hush") as (sink, _):
            assert sink.notes == ()


def test_two_streams_share_a_port_and_a_taken_port_is_one_line() -> None:
    port = free_port()
    with served(f"rtsp://@:{port}/a") as (first, _):
        with served(f"rtsp://@:{port}/b"):
            assert watch(port, 3, "a")
            assert watch(port, 3, "b")
            twice = GstRtspSink(Address.parse(f"rtsp://@:{port}/a"), SinkOptions())
            with pytest.raises(SinkError, match=f"/a is already served on port {port}$"):
                twice.open(INFO)
            twice.close()
        with served(f"rtsp://@:{port}/b"):  # once more
            assert watch(port, 3, "b")
        assert watch(port, 3, "a")
        with pytest.raises(SinkError, match="another user name"):
            GstRtspSink(Address.parse(f"rtsp://eva:x@:{port}/c"), SinkOptions()).open(INFO)
        assert first.state == "running"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=rf"cannot listen on 127\.0\.0\.1 port {port}"):
            GstRtspSink(Address.parse(f"rtsp://@:{port}/a"), SinkOptions()).open(INFO)


@pytest.mark.parametrize("layout", list(Layout))
def test_any_layout_and_odd_sizes(layout: Layout) -> None:
    info = make_info(width=65, height=33, rate=Fraction(30), layout=layout)
    sink = GstRtspSink(Address.parse("rtsp://@:0/live"), SinkOptions())
    sink.open(info)
    assert "padded to 66x34" in sink.notes[0]
    stop = threading.Event()
    color = np.array([200, 60, 30], np.uint8)

    def feed() -> None:
        index = 0
        while not stop.wait(1 / 30):
            index += 1
            draw = lambda i, size: np.broadcast_to(color, (size[1], size[0], 3)).copy()  # noqa: E731
            sink.write(make_shown(index, index * 427, info, draw))

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        with av.open(f"rtsp://127.0.0.1:{sink.port}/live", options=FAST, timeout=(8, 8)) as container:
            frame = next(container.decode(video=0))
            assert (frame.width, frame.height) == (66, 34)
            matrix = "bt709" if layout is Layout.RGB else info.color.matrix
            rgb = frame.reformat(format="rgb24", src_colorspace="ITU709" if matrix == "bt709" else "ITU601")
            np.testing.assert_allclose(rgb.to_ndarray().reshape(-1, 3).mean(axis=0), color, atol=8)
    finally:
        stop.set()
        thread.join()
        sink.close()


def test_nobody_watching_costs_no_encoding() -> None:
    with served() as (sink, _):
        given = []
        assert sink.encode is not None
        give = sink.encode._give
        sink.encode._give = lambda *what: (given.append(what), give(*what))  # type: ignore[func-returns-value]
        time.sleep(0.5)
        assert given == []
        watch(sink.port, 3)
        assert given


def test_an_encoder_that_fails_twice_is_started_twice_and_that_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gst_encode, "MEND_EVERY", 0.5)
    with served() as (sink, _):
        encode = sink.encode
        assert encode is not None
        for _ in range(2):  # the second time before it may be started again
            failed = encode._pipeline
            broken = GST.GLib.Error.new_literal(GST.Gst.StreamError.quark(), "out of luck", 8)
            failed.post_message(GST.Gst.Message.new_error(failed, broken, ""))
            wait_for(lambda failed=failed: encode._pipeline is not failed)  # type: ignore[misc]
        assert sink.state == "retrying"
        assert sink.notes == ("the encoder failed and is started anew: out of luck",)
        assert watch(sink.port, 3)
        assert sink.state == "running"


def test_a_pipeline_that_cannot_be_made_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst_encode, "encoder", lambda *_, **__: "nosuchelement ! h264parse")
    with pytest.raises(SinkError, match=r'^rtsp://127\.0\.0\.1:0/live: no element "nosuchelement"$'):
        GstRtspSink(Address.parse("rtsp://@:0/live"), SinkOptions()).open(INFO)


def test_hardware_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = Chosen("x264enc", (("nvh264enc", "no session"), ("v4l2h264enc", ABSENT)))
    monkeypatch.setattr(gst_encode, "choose_encoder", lambda _: chosen)
    with served() as (sink, _):
        assert sink.notes == ("nvh264enc does not work here: no session",)
