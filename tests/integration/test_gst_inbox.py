"""What GStreamer's appsink drops is counted, frame by frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.gst_feed import available, modules
from saliency_tubes.stream.sources.gst_inbox import CAPACITY, Inbox
from saliency_tubes.stream.sources.open import open_source
from waiting import wait_for

pytestmark = pytest.mark.skipif(not available(), reason="this Python has no GStreamer")


@contextmanager
def camera(frames: int, rate: int = 500) -> Iterator[tuple[Any, Inbox]]:
    """A live pipeline of so many frames, each of which knows its number; its appsink, and an inbox on that."""
    gst, _ = modules()
    pipeline = gst.parse_launch(
        f"videotestsrc is-live=true num-buffers={frames} ! video/x-raw,width=32,height=32,framerate={rate}/1 "
        f"! appsink name=sink sync=false max-buffers={CAPACITY} drop=true"
    )
    sink = pipeline.get_by_name("sink")
    pipeline.set_state(gst.State.PLAYING)
    try:
        yield sink, Inbox(gst, sink)
    finally:
        pipeline.set_state(gst.State.NULL)


def came(sink: Any) -> int:
    return int(sink.get_property("stats").get_value("rendered"))


def take_all(inbox: Inbox, pause: float = 0.0) -> list[int]:
    """The numbers of the frames there are, until none comes for a while."""
    numbers = []
    while (sample := inbox.take(0.3)) is not None:
        numbers.append(sample.get_buffer().offset)
        time.sleep(pause)
    return numbers


def test_every_frame_is_fetched_or_counted() -> None:
    for pause in (0.0, 0.001, 0.005, 0.03):
        with camera(200) as (_, inbox):
            numbers = take_all(inbox, pause)
        assert len(numbers) + inbox.dropped == 200
        assert numbers[-1] == 199
        assert all(a < b for a, b in pairwise(numbers))
    assert inbox.dropped > 100  # the slowest of them


def test_nobody_reads_and_then_somebody_does() -> None:
    with camera(50) as (sink, inbox):
        wait_for(lambda: came(sink) == 50)
        assert inbox.dropped == 0  # not known before somebody looks
        first = inbox.take(1.0)
        assert (first.get_buffer().offset, inbox.dropped) == (50 - CAPACITY, 50 - CAPACITY)
        assert take_all(inbox) == list(range(51 - CAPACITY, 50))


def test_a_late_reader_of_a_source_is_told() -> None:
    source: Any = open_source(
        "gst://videotestsrc is-live=true ! video/x-raw,width=32,height=32,framerate=100/1", SourceOptions()
    )
    frames = iter(source)
    next(frames)
    time.sleep(0.3)
    next(frames)
    assert source.health().dropped >= 10
    source.close()
    assert source.health().dropped >= 10
