"""Damaged frames: which they are, and that no window has one in it."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.engine.preprocess import HostSampler
from saliency_tubes.engine.types import Clip, Frame
from saliency_tubes.stream.media.damage import AMONG, FEW, HEALED, Breaks, Damage
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.pipeline.window import Window
from stubs import MemorySink, StubRunner, StubSource

GARBAGE = 255
SPEC = InputSpec((1, 1), (0, 0, 0), (1, 1, 1), "stretch")


def frame(index: int, damaged: bool = False) -> Frame:
    """One pixel: its number, or garbage."""
    plane = np.array([[[GARBAGE if damaged else index % 200] * 3]], np.uint8)
    return Frame(index, index, Fraction(1, 25), Picture(Layout.RGB, (plane,)), damaged=damaged)


def shown(clip: Clip) -> list[int]:
    return [int(one.pixels[0, 0, 0]) for one in clip.samples]


class TestDamage:
    def test_it_lasts_until_the_next_key_frame(self) -> None:
        damage = Damage()
        kinds = [("key", False), ("", False), ("", True), ("", False), ("key", False), ("", False)]
        found = [damage.shown_in(time, kind == "key", guessed) for time, (kind, guessed) in enumerate(kinds)]
        assert found == [False, False, True, True, False, False]

    def test_frames_decoded_before_are_sound_and_the_key_frame_before_ends_nothing(self) -> None:
        damage = Damage()
        damage.lost(5.0)  # a packet, while three earlier frames wait to be shown
        damage.lost(7.0)
        found = [damage.shown_in(time, time in (4, 6, 8), False) for time in (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)]
        assert found == [False, False, True, True, True, False, False]

    def test_without_times_a_key_frame_ends_it(self) -> None:
        damage = Damage()
        damage.lost(None)
        assert [damage.shown_in(None, key, False) for key in (False, True, False)] == [True, False, False]
        assert [damage.shown_in(None, True, guessed) for guessed in (True, False)] == [True, False]  # as of MJPEG

    def test_a_stream_that_renews_itself_without_key_frames_heals(self) -> None:
        damage = Damage()
        damage.lost(1.0)
        assert damage.shown_in(1.0 + HEALED, False, False)
        assert not damage.shown_in(1.1 + HEALED, False, False)


class TestBreaks:
    def test_few_are_no_gap(self) -> None:
        breaks = Breaks()
        frames = [frame(index, index % AMONG < FEW) for index in range(4 * AMONG)]
        assert not any(breaks.mark(one).gap for one in frames)

    def test_many_are_one_until_a_sound_one_has_come(self) -> None:
        breaks = Breaks()
        marked = [breaks.mark(frame(index, 10 <= index < 30)) for index in range(40)]
        assert [one.index for one in marked if one.gap] == list(range(10 + FEW, 31))
        assert breaks.mark(replace(frame(40), gap=True)).gap


@given(st.lists(st.booleans(), min_size=1, max_size=120), st.integers(2, 9), st.integers(1, 3), st.integers(1, 9))
def test_no_window_has_garbage_in_it(damaged, clip_length, stride, hop) -> None:
    window, breaks, clips = Window(HostSampler(SPEC), clip_length, stride, hop), Breaks(), []
    for index, bad in enumerate(damaged):
        one = breaks.mark(frame(index, bad))
        clips += [window.cut() if one.gap else None, window.push(one)]
    for clip in filter(None, [*clips, window.flush()]):
        pictures, first = shown(clip), clip.span.start
        assert GARBAGE not in pictures
        last = clip.span.last - clip.repeated * stride
        assert clip.damaged == sum(damaged[first : last + 1])
        for place, picture in enumerate(pictures[: clip_length - clip.repeated]):
            index = first + place * stride
            good = next(one for one in range(index, -1, -1) if not damaged[one])
            assert picture == good, "each damaged frame shows the one before it"
            assert index - good <= FEW


class Damaged(StubSource):
    """Some frames are white garbage."""

    def __init__(self, damaged: set[int], frames: int = 80) -> None:
        super().__init__(frames)
        self._damaged = damaged

    def __iter__(self):
        for one in super().__iter__():
            if one.index in self._damaged:
                luma, *chroma = one.picture.planes
                picture = replace(one.picture, planes=(np.full_like(luma, 235), *chroma))
                one = replace(one, image=picture, damaged=True)
            yield one


@pytest.mark.parametrize("sync", ["aligned", "live"])
def test_every_frame_is_drawn_and_none_is_explained(sync) -> None:
    damaged = {10, 11, *range(40, 60)}
    sink = MemorySink()
    options = Options(sync=sync, hop=2)
    with Pipeline(Damaged(damaged), StubRunner(), [sink], options) as pipeline:
        drawn = list(pipeline)
    assert [one.frame.index for one in drawn] == sorted(one.frame.index for one in drawn)
    summary = pipeline.summary
    assert summary.frames_read == 80 == summary.frames_written + summary.frames_dropped
    assert pipeline.snapshot().frames_damaged == len(damaged)
    events = [json.loads(line) for line in sink.lines]
    assert events
    for event in events:
        first, last = event["frames"]
        assert event.get("damaged", 0) == len(damaged & set(range(first, last + 1)))
        assert "damaged" not in event or event["damaged"] > 0
        assert not first <= 50 <= last, "no window reaches across many"
        assert event["top"][0]["class"] == "bright"
        assert event["top"][0]["logit"] < 5, "the white frames were explained"
    if sync == "aligned":
        assert summary.frames_dropped == 0
        assert any("damaged" in event for event in events)
        for one in drawn[-20:]:
            assert all(part.tube.span.start >= 60 for part, _ in one.parts), "drawn across the gap"
