"""Where frames are missing: no clip, no tube and no scale of before is used after."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.engine.preprocess import HostSampler
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Clip, Crop, Explanation, Frame, Scale, Span, Tube
from saliency_tubes.stream.pipeline.hysteresis import Hysteresis
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.pipeline.sync import Aligned, Delayed, Gaps, Live
from saliency_tubes.stream.pipeline.window import Window
from stubs import MemorySink, StubRunner, StubSource, even_pool

SPEC = InputSpec((1, 1), (0, 0, 0), (1, 1, 1), "stretch")


def frame(index: int, gap: bool = False) -> Frame:
    plane = np.array([[[index % 256, index // 256, 9]]], np.uint8)
    return Frame(index, index, StubSource().info.time_base, Picture(Layout.RGB, (plane,)), gap=gap)


def explanation(start: int, clip_length: int = 8, stride: int = 1) -> Explanation:
    cells = np.ones((2, 1, 1), np.float32)
    tube = Tube(cells, Span(start, clip_length, stride), Crop(), even_pool(cells), (0, 2))
    return Explanation(start, (), (), tube, Scale(0, 1), (start, start + clip_length - 1), frame(0).time_base)


def numbers(clip: Clip) -> list[int]:
    return [int(one.pixels[0, 0, 0]) + 256 * int(one.pixels[0, 0, 1]) for one in clip.samples]


class TestWindow:
    @settings(max_examples=200, deadline=None)
    @given(
        st.integers(1, 6),
        st.integers(1, 3),
        st.integers(1, 9),
        st.integers(1, 80),
        st.sets(st.integers(1, 79), max_size=5),
    )
    def test_no_clip_mixes_before_and_after(self, clip_length, stride, hop, count, gaps):
        window, clips = Window(HostSampler(SPEC), clip_length, stride, hop), []
        for index in range(count):
            if index in gaps:
                clips.append(window.cut())
            clips.append(window.push(frame(index, index in gaps)))
        clips.append(window.flush())
        for clip in filter(None, clips):
            seen = numbers(clip)
            assert not any(min(seen) < gap <= max(seen) for gap in gaps)
            assert clip.span.start == seen[0]
            if any(gap < count for gap in gaps):
                assert clip.repeated == 0

    def test_a_gap_starts_anew_even_without_cut(self):
        window = Window(HostSampler(SPEC), 4, 1, 1)
        clips = [window.push(frame(index, index == 6)) for index in range(12)]
        assert [numbers(clip)[0] for clip in clips if clip] == [0, 1, 2, 6, 7, 8]

    def test_the_last_frames_before_a_gap_are_seen(self):
        window = Window(HostSampler(SPEC), 4, 1, 3)
        for index in range(6):
            window.push(frame(index))
        clip = window.cut()
        assert clip is not None
        assert numbers(clip) == [2, 3, 4, 5]
        assert window.cut() is None

    def test_another_stride_from_a_gap_on(self):
        window, clips = Window(HostSampler(SPEC), 4, 1, 1), []
        for index in range(20):
            if index == 6:
                clips.append(window.cut(2))
            clips.append(window.push(frame(index, index == 6)))
        assert [numbers(clip) for clip in clips if clip][2:4] == [[2, 3, 4, 5], [6, 8, 10, 12]]
        assert {clip.span.stride for clip in clips if clip and clip.span.start >= 6} == {2}

    def test_fewer_than_a_window_between_gaps_are_not_explained(self):
        window = Window(HostSampler(SPEC), 4, 1, 1)
        for index in range(3):
            window.push(frame(index))
        assert window.cut() is None
        window.push(frame(3, gap=True))
        assert window.flush() is None


class TestSync:
    def test_a_gap_ends_the_frames_that_waited(self):
        aligned = Aligned(4)
        for index in range(10):
            assert aligned.push(frame(index)) == []
        first = list(aligned.explain(explanation(0)))
        ended = aligned.push(frame(10, gap=True))
        assert [one.frame.index for one in (*first, *ended)] == list(range(10))
        assert [bool(one.parts) for one in ended] == [index < 8 for index in range(4, 10)]
        after = list(aligned.explain(explanation(10)))
        assert [one.frame.index for one in after] == [10]
        assert after[0].parts[0][0].window == 10  # and not of the one before

    def test_gaps_are_remembered_so_long_as_they_can_matter(self):
        gaps = Gaps(remembered=3)
        for index in (5, 9, 20, 30):
            gaps.add(index)
        assert [gaps.between(8, 9), gaps.between(9, 8), gaps.between(9, 19), gaps.between(19, 20)] == [
            True, True, False, True,
        ]  # fmt: skip
        assert not gaps.between(4, 5)  # forgotten

    def test_live_draws_nothing_from_before_a_gap(self):
        gaps = Gaps()
        live, newest = Live(gaps=gaps), explanation(0)
        assert live.place(frame(9), newest).parts
        gaps.add(10)
        assert live.place(frame(9), newest).parts
        assert not live.place(frame(10, gap=True), newest).parts
        assert live.place(frame(20), explanation(11)).parts

    def test_delayed_is_aligned_where_every_window_came_in_time(self):
        hop, windows = 4, [explanation(start) for start in range(0, 33, 4)]
        aligned, delayed = Aligned(hop), Delayed(hop, Gaps())
        expected = []
        for index in range(40):
            aligned.push(frame(index))
        for window in windows:
            expected += aligned.explain(window)
            delayed.explain(window)
        expected += aligned.finish()
        for one in expected:
            placed = delayed.place(one.frame)
            assert [(part.window, share) for part, share in placed.parts] == [
                (part.window, share) for part, share in one.parts
            ]

    @pytest.mark.parametrize("stride", [1, 2])
    def test_delayed_keeps_windows_to_their_side_of_a_gap(self, stride):
        gaps = Gaps()
        delayed = Delayed(4, gaps)
        before, after = explanation(0, 4, stride), explanation(8, 4, stride)
        gaps.add(8)
        delayed.explain(before)
        delayed.explain(after)
        for index in range(16):
            for part, _ in delayed.place(frame(index)).parts:
                assert part is (before if index < 8 else after)


class TestHysteresis:
    def logits(self, *probabilities: float) -> np.ndarray:
        return np.log(np.array(probabilities, np.float32))

    def test_a_rival_must_lead_for_some_windows_in_a_row(self):
        held = Hysteresis(3, margin=0.5)
        a, b = self.logits(0.5, 0.4, 0.1), self.logits(0.4, 0.5, 0.1)
        assert [held.choose(one) for one in (a, b, b, a, b, b, b, a)] == [0, 0, 0, 0, 0, 0, 1, 1]

    def test_a_clear_lead_counts_at_once(self):
        held = Hysteresis(3, margin=0.5)
        assert [held.choose(one) for one in (self.logits(0.5, 0.4), self.logits(0.1, 0.8))] == [0, 1]

    def test_two_rivals_in_turn_win_nothing(self):
        held = Hysteresis(2, margin=0.9)
        rivals = [self.logits(0.3, 0.4, 0.3), self.logits(0.3, 0.3, 0.4)]
        assert [held.choose(one) for one in (self.logits(0.5, 0.3, 0.2), *rivals, *rivals)] == [0] * 5

    def test_one_window_is_no_hysteresis_and_reset_forgets(self):
        held = Hysteresis(1)
        assert [held.choose(one) for one in (self.logits(0.6, 0.4), self.logits(0.4, 0.6))] == [0, 1]
        slow = Hysteresis(9, margin=1)
        slow.choose(self.logits(0.6, 0.4))
        slow.reset()
        assert slow.choose(self.logits(0.4, 0.6)) == 1

    def test_what_is_no_number_changes_nothing_at_once(self):
        held = Hysteresis(3)
        held.choose(self.logits(0.6, 0.4))
        assert held.choose(np.array([np.nan, np.nan], np.float32)) in (0, 1)


class Holed(StubSource):
    """Frames are missing before some of its own."""

    live = True

    def __init__(self, gaps: set[int], frames: int = 60, pause: float = 0.0) -> None:
        super().__init__(frames)
        self.info = replace(self.info, rate=Fraction(100))
        self._gaps, self._pause = gaps, pause

    def __iter__(self) -> Iterator[Frame]:
        for one in super().__iter__():
            time.sleep(self._pause)
            yield replace(one, gap=one.index in self._gaps)


@pytest.mark.parametrize(
    "options",
    [
        Options(target=Target(0), hop=2),
        Options(target=Target(0), sync="live"),
        Options(hop=3, delay=0.3),
    ],
    ids=["aligned", "live", "delayed"],
)
def test_the_pipeline_over_gaps(options):
    gaps = {20, 23, 41}
    sink, shown = MemorySink(), []
    with Pipeline(Holed(gaps, pause=0.01 if options.hop != 2 else 0), StubRunner(), [sink], options) as pipeline:
        shown = list(pipeline)
    summary = pipeline.summary
    assert summary.frames_read == 60 == summary.frames_written + summary.frames_dropped
    assert sink.indices == sorted(sink.indices)
    for one in shown:
        for part, _ in one.parts:
            span = part.tube.span
            for other in (span.start, span.last):
                low, high = sorted((other, one.frame.index))
                assert not any(low < gap <= high for gap in gaps), f"frame {one.frame.index} drawn from {span}"
    assert any(one.parts for one in shown if one.frame.index < 20)
    assert any(one.parts for one in shown if one.frame.index >= 41)
    if options.sync == "aligned":
        unseen = [one.frame.index for one in shown if not one.parts]
        assert set(range(20, 23)) <= set(unseen)  # fewer than a window


def test_live_the_stride_follows_the_rate_of_the_camera():
    class Faster(StubSource):
        """Twice as many frames a second from the twentieth on."""

        def __iter__(self):
            for one in super().__iter__():
                yield replace(one, gap=True, rate=Fraction(60)) if one.index == 20 else one

    sink, options = MemorySink(), Options(sync="live", replan=lambda rate: round(rate / 30))
    with Pipeline(Faster(80), StubRunner(), [sink], options) as pipeline:
        list(pipeline)
    strides = {(event := json.loads(line))["stride"]: event["frames"][0] for line in sink.lines}
    assert set(strides) == {1, 2}
    assert strides[2] >= 20
