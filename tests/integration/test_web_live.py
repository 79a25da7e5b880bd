"""The web server's WebSocket over real sockets: video, evidence and facts as data."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from pages import Page, WatchedSink
from saliency_tubes.engine.picture import Picture
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.pipeline.options import Options
from saliency_tubes.stream.pipeline.pipeline import Pipeline
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sinks.web import WebSink
from stubs import MemorySink, StubRunner, StubSource, make_event
from videos import make_info, make_shown
from waiting import wait_for
from websockets.exceptions import ConnectionClosedError, InvalidStatus

INFO = make_info(width=64, height=48, time_base=Fraction(1, 12_800))
TICKS = 512
"""from one frame to the next: 25 a second"""


@contextmanager
def opened(uri: str = "web://:0", info: VideoInfo = INFO) -> Iterator[WebSink]:
    sink = open_sink(uri, SinkOptions(live=True))
    assert isinstance(sink, WebSink)
    sink.open(info)
    try:
        yield sink
    finally:
        sink.close()


def give(sink: WebSink, index: int, info: VideoInfo = INFO, **changes: Any) -> Shown:
    """A frame, as the pipeline gives it: drawn on, and plain where that is wanted."""
    made = make_shown(index, index * TICKS, info)
    plain = made.frame.picture.copy() if sink.wants_plain else None
    shown = replace(made, plain=plain, **changes)
    sink.write(shown)
    return shown


def test_a_page_gets_each_frame_with_its_time() -> None:
    with opened() as sink, Page.open(sink.port) as page:
        wait_for(lambda: sink.wants_plain)
        given = []
        for index in range(60):
            given.append(give(sink, index))
            page.until("media")
        assert [told["type"] for told, _ in page.messages[:3]] == ["hello", "history", "init"]
        frames = page.decoded()
    assert [frame.pts for frame in frames] == [index * 40_000 for index in range(60)]
    assert all(frame.time_base == Fraction(1, 1_000_000) for frame in frames)
    assert [told["frames"][0]["t"] for told in page.all("media")] == [index / 25 for index in range(60)]
    assert [at for at, told in enumerate(page.all("media")) if told["key"]] == [0, 25, 50]
    (init,) = page.all("init")
    assert (init["width"], init["height"]) == (64, 48)
    assert init["codec"].startswith("avc1.")
    for shown, frame in zip(given, frames, strict=True):
        luma = frame.to_ndarray(format="yuv420p")[: frame.height].astype(int)
        assert np.abs(luma - shown.frame.picture.planes[0]).mean() < 3


def test_who_comes_later_begins_at_the_last_key_frame() -> None:
    with opened() as sink, Page.open(sink.port) as first:
        wait_for(lambda: sink.wants_plain)
        for index in range(35):
            give(sink, index)
            first.until("media")
        with Page.open(sink.port) as second:
            second.until("media", lambda told: told["frames"][0]["i"] == 34)
            give(sink, 35)
            second.until("media", lambda told: told["frames"][0]["i"] == 35)
            assert [told["frames"][0]["i"] for told in second.all("media")] == list(range(25, 36))
            assert [frame.pts for frame in second.decoded()] == [index * 40_000 for index in range(25, 36)]


def test_a_window_comes_before_the_frames_that_are_drawn_from_it() -> None:
    with opened() as sink, Page.open(sink.port) as page:
        wait_for(lambda: sink.wants_plain)
        explanation = make_event(3).explanation
        give(sink, 0, parts=((explanation, 1.0),), at=-2.5, opacity=0.75, age=0.5)
        sink.event(make_event(4))
        page.until("window", lambda told: told["n"] == 4)
        kinds = [told["type"] for told, _ in page.messages]
        assert kinds.index("window") < kinds.index("media")
        first, second = page.all("window")
        assert (first["n"], second["n"]) == (3, 4)
        (frame,) = page.all("media")[0]["frames"]
        assert (frame["parts"], frame["at"], frame["opacity"], frame["age"]) == ([[3, 1.0]], -2.5, 0.75, 0.5)
        assert (first["shape"], first["maps"], first["explained"][0]["id"]) == ([2, 4, 4], [7], 7)
        (payload, _) = page.payloads("window")
        assert np.frombuffer(payload, "<f4").reshape(2, 2, 4, 4).tolist() == np.ones((2, 2, 4, 4)).tolist()


def test_nothing_is_encoded_or_copied_while_nobody_watches_or_all_have_paused() -> None:
    with opened() as sink:
        for index in range(10):
            assert give(sink, index).plain is None
        assert (sink.frames_written, sink.wants_classes) == (0, 0)
        with Page.open(sink.port) as page:
            wait_for(lambda: sink.wants_plain)
            assert sink.wants_classes == 5
            give(sink, 10)
            page.until("media")
            page.say(type="pause")
            wait_for(lambda: not sink.wants_plain)
            for index in range(11, 21):
                assert give(sink, index).plain is None
            assert (sink.frames_written, sink.wants_classes) == (1, 0)
            page.say(type="play")
            wait_for(lambda: sink.wants_plain)
            give(sink, 21)
            page.until("media")
            assert page.all("media")[-1]["key"]
            assert len(page.all("init")) == 2
            assert sink.frames_written == 2
        wait_for(lambda: not sink.wants_plain)
        assert sink.viewers == 0


def test_a_size_that_changes_begins_a_new_video() -> None:
    larger = make_info(width=96, height=50)
    with opened() as sink, Page.open(sink.port) as page:
        wait_for(lambda: sink.wants_plain)
        give(sink, 0)
        page.until("media")
        give(sink, 1, larger)
        page.until("media")
        assert [(told["width"], told["height"]) for told in page.all("init")] == [(64, 48), (96, 50)]
        (frame,) = page.decoded()
        assert (frame.width, frame.height, frame.pts) == (96, 50, 40_000)


@pytest.mark.parametrize("message", ["", "[]", "{}", '{"type":"pause","x":1}', '{"type":"behind","seconds":"1"}', "\0"])
def test_a_message_that_is_none_ends_the_connection(message: str) -> None:
    with opened() as sink, Page.open(sink.port) as page:
        page.connection.send(message)
        with pytest.raises(ConnectionClosedError) as caught:
            page.until("never")
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008
        wait_for(lambda: sink.viewers == 0)


def test_a_message_that_is_too_long_ends_the_connection() -> None:
    with opened() as sink, Page.open(sink.port) as page:
        page.connection.send("x" * 1025)
        with pytest.raises(ConnectionClosedError) as caught:
            page.until("never")
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


def test_other_pages_and_other_names_are_refused() -> None:
    with opened() as sink:
        own = f"http://127.0.0.1:{sink.port}"
        with Page.open(sink.port, origin=own) as page:
            assert page.read()["type"] == "hello"
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
            with pytest.raises(InvalidStatus) as caught, Page.open(sink.port, origin=origin):
                pass
            assert caught.value.response.status_code == 403
        for name, status in (("door", 404), ("..", 404)):
            with pytest.raises(InvalidStatus) as caught, Page.open(sink.port, name):
                pass
            assert caught.value.response.status_code == status


def test_the_end_of_a_stream_is_told() -> None:
    with opened() as sink, ExitStack() as stack:
        page = stack.enter_context(Page.open(sink.port))
        page.until("hello")
        closing = threading.Thread(target=sink.close)
        closing.start()
        assert page.until("bye")["why"] == "the stream has ended"
        closing.join()


def test_the_video_is_the_sources_while_another_output_gets_the_drawn_one() -> None:
    """And what a page is told of a stream comes from its pipeline."""
    watched, other = WatchedSink(), MemorySink()
    with Pipeline(StubSource(60), StubRunner(), [watched, other], Options(hop=4)) as pipeline:
        shown = list(pipeline)
    assert all(one.plain is None for one in shown)  # in no queue where nobody looks at it
    source = [bytes_of(frame.picture) for frame in StubSource(60)]
    assert [bytes_of(one) for one in watched.given if one is not None] == source
    assert all(drawn != plain for drawn, plain in zip(other.pictures, source, strict=True))
    page = watched.page
    (hello,) = page.all("hello")
    assert (hello["classes"], hello["model"], hello["clip_length"], hello["sync"]) == (5, "Stub", 8, "aligned")
    windows = page.all("window")
    assert [told["n"] for told in windows] == list(range(len(windows)))
    for told, payload in zip(windows, page.payloads("window"), strict=True):
        maps = np.frombuffer(payload, "<f4").reshape(len(told["maps"]) + 1, *told["shape"])
        logits = {score["id"]: score["logit"] for score in told["top"]}
        assert set(told["maps"]) == {0, 1}
        for number, cells in zip(told["maps"], maps[1:], strict=True):
            assert cells.mean() == pytest.approx(logits[number], abs=1e-4)  # the stub's bias is 0, its pool even
        assert np.array_equal(maps[0], maps[1 + told["maps"].index(told["explained"][0]["id"])])


def bytes_of(picture: Picture) -> tuple[bytes, ...]:
    return tuple(plane.tobytes() for plane in picture.planes)
