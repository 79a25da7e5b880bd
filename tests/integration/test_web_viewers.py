"""Many viewers of the web server: those that read slowly, those that do not read, those that come and go."""

from __future__ import annotations

import gc
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace

import numpy as np
import pytest
from pages import Page
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.media.av_encoder import LooseEncoder
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.web import WebSink
from saliency_tubes.stream.telemetry.stats import resident_bytes
from saliency_tubes.stream.web import audience, av_video, messages, server
from saliency_tubes.stream.web.audience import Viewer
from saliency_tubes.stream.web.history import History
from stubs import make_event
from videos import make_info, make_shown
from waiting import wait_for
from websockets.exceptions import ConnectionClosed, InvalidStatus

INFO = make_info(width=320, height=240)
NOISE = np.random.default_rng(0).integers(0, 256, (8, 240, 320), np.uint8)
"""which no encoder can make small: a frame is some 50 kB"""


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebSink]:
    monkeypatch.setattr(server, "STALLED", 2.0)
    made = WebSink(Address.parse("web://:0"), SinkOptions(live=True))
    made.open(INFO)
    yield made
    made.close()


def noise(index: int) -> Shown:
    made = make_shown(0, index * 512, INFO)
    made.frame.picture.planes[0][...] = NOISE[index % len(NOISE)]
    parts = ((make_event(index // 10).explanation, 1.0),)
    frame = replace(made.frame, index=index)
    return replace(made, frame=frame, parts=parts, plain=frame.picture.copy())


def narrow(port: int) -> socket.socket:
    """A connection whose other side takes little more than what is read from it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    made.connect(("127.0.0.1", port))
    return made


def in_thread(work: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        with suppress(ConnectionClosed, TimeoutError):  # it was cut, or nothing more comes
            work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_slow_viewers_and_stopped_ones_change_nothing_for_others(
    sink: WebSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reads 10 kB/s and sees a key frame now and then, one reads nothing and is cut, one sees everything."""
    monkeypatch.setattr(audience, "MOST_BYTES", 1 << 20)
    with ExitStack() as stack:
        keen = stack.enter_context(Page.open(sink.port))
        slow = stack.enter_context(Page.open(sink.port, sock=narrow(sink.port), max_queue=1))
        stopped = stack.enter_context(Page.open(sink.port, sock=narrow(sink.port), max_queue=1))
        wait_for(lambda: sink.viewers == 3)
        wait_for(lambda: sink.wants_plain)
        over = threading.Event()

        def read_slowly() -> None:
            while not over.is_set():
                slow.read(timeout=2.0)
                time.sleep(len(slow.messages[-1][1]) / 1e5)  # ten times as fast, so that the test need not be so long

        reading = in_thread(read_slowly)
        count = 0
        while sink.viewers == 3 or count < 200:
            sink.write(noise(count))
            keen.until("media")
            count += 1
        for _ in range(50):  # a key frame or two more
            sink.write(noise(count))
            keen.until("media")
            count += 1
        wait_for(lambda: slow.all("skip"))
        over.set()
        reading.join()
        assert sink.viewers == 2
        assert stopped.messages == []
    assert [told["frames"][0]["i"] for told in keen.all("media")] == list(range(count))
    assert keen.all("skip") == []
    kinds = [(told["type"], told.get("key")) for told, _ in slow.messages if told["type"] in ("media", "skip")]
    assert all(kinds[at + 1] == ("media", True) for at, (kind, _) in enumerate(kinds[:-1]) if kind == "skip")
    told = {window["n"] for window in slow.all("window")}
    named = {number for media in slow.all("media") for number, _ in media["frames"][0]["parts"]}
    assert named <= told


def test_there_is_a_limit_to_viewers(sink: WebSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "VIEWERS", 2)
    with Page.open(sink.port), Page.open(sink.port):
        wait_for(lambda: sink.viewers == 2)
        with pytest.raises(InvalidStatus) as caught, Page.open(sink.port):
            pass
        assert caught.value.response.status_code == 503
    wait_for(lambda: sink.viewers == 0)
    with Page.open(sink.port) as page:
        assert page.read()["type"] == "hello"


@pytest.mark.slow
def test_viewers_that_come_and_go_leave_nothing(sink: WebSink) -> None:
    def come_and_go(count: int, first: int) -> None:
        for index in range(first, first + count):
            with Page.open(sink.port) as page:
                wait_for(lambda: sink.wants_plain)
                sink.write(noise(index))
                page.until("media")
            wait_for(lambda: sink.viewers == 0)

    come_and_go(50, 0)
    gc.collect()
    before, threads = resident_bytes(), threading.active_count()
    come_and_go(200, 50)
    gc.collect()
    assert resident_bytes() - before < 8e6
    assert threading.active_count() == threads
    assert not [one for one in gc.get_objects() if isinstance(one, Viewer)]


def test_a_connection_that_asks_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ASKING", 0.3)
    made = WebSink(Address.parse("web://:0"), SinkOptions(live=True))
    made.open(INFO)
    try:
        with socket.create_connection(("127.0.0.1", made.port), timeout=20) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection(("127.0.0.1", made.port), timeout=20) as endless:
            endless.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX:")
            with suppress(ConnectionResetError):
                assert endless.recv(1) == b""
        with socket.create_connection(("127.0.0.1", made.port), timeout=20) as second:
            second.sendall(b"GET /api/streams HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET ")
            with suppress(ConnectionResetError):
                while second.recv(1 << 16):
                    pass
    finally:
        made.close()


def test_connections_beyond_the_limit_are_refused_and_others_go_on(
    sink: WebSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 4)
    with ExitStack() as stack:
        page = stack.enter_context(Page.open(sink.port))
        page.until("hello")
        idle = [stack.enter_context(socket.create_connection(("127.0.0.1", sink.port), timeout=20)) for _ in range(8)]

        def is_refused(connection: socket.socket) -> bool:
            connection.settimeout(0.5)
            try:
                return connection.recv(1) == b""
            except ConnectionResetError:
                return True
            except TimeoutError:
                return False

        wait_for(lambda: sum(map(is_refused, idle)) == 5)
        wait_for(lambda: sink.wants_plain)
        sink.write(noise(0))
        page.until("media")


class Broken(LooseEncoder):
    def encode(self, frame: Frame, key: bool) -> list[tuple[int, bool, bytes]]:
        raise OSError(5, "it went up in smoke")


def test_where_the_encoder_fails_there_are_pictures(sink: WebSink, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, Page.open(sink.port) as page:
        patch.setattr(av_video, "LooseEncoder", Broken)
        wait_for(lambda: sink.wants_plain)
        sink.write(noise(0))
        assert page.until("video")["why_no_video"] == "H.264: it went up in smoke"
        assert not sink.wants_plain
        with Page.open(sink.port) as second:
            hello = second.until("hello")
            assert (hello["video"], hello["why_no_video"]) == ("none", "H.264: it went up in smoke")
        with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/streams/live.jpg", timeout=20) as picture:
            assert picture.read(2) == b"\xff\xd8"
    wait_for(lambda: sink.viewers == 0)
    with Page.open(sink.port) as page:  # it is tried again for those who come when all have left
        wait_for(lambda: sink.wants_plain)
        sink.write(noise(1))
        page.until("media")


def test_an_error_that_nobody_foresaw_costs_one_frame(
    sink: WebSink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("what is this")

    with Page.open(sink.port) as page:
        wait_for(lambda: sink.wants_plain)
        with monkeypatch.context() as patch:
            patch.setattr(messages, "frame", fail)
            for index in range(3):
                sink.write(noise(index))
                wait_for(lambda index=index: sink.drops.get("error") == index + 1)  # type: ignore[misc]
        sink.write(noise(3))
        page.until("media", lambda told: told["frames"][0]["i"] == 3)
    said = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert said == ["the web server failed at a frame of live: LookupError: what is this"]


def test_an_error_in_a_request_is_told_once_and_costs_that_request(
    sink: WebSink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("what is this")

    monkeypatch.setattr(History, "message", fail)
    for _ in range(3):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/api/streams/live/history", timeout=20)
        assert caught.value.code == 500
        assert b"Traceback" not in caught.value.read()
    said = [record.message for record in caplog.records if record.levelname == "ERROR"]
    assert said == ["the web server failed at a request: LookupError('what is this')"]
