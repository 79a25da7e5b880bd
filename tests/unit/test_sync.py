"""Which explanation belongs to which frame, against brute force."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.engine.types import Crop, Explanation, Frame, Scale, Span, Tube
from saliency_tubes.stream.pipeline.sync import Aligned, Delayed, Gaps, Live, Placed
from stubs import even_pool

BASE = Fraction(1, 25)
PICTURE = Picture(Layout.RGB, (np.zeros((1, 1, 3), np.uint8),))


def frame(index: int, pts: int | None = None, base: Fraction = BASE) -> Frame:
    return Frame(index, index if pts is None else pts, base, PICTURE)


def explanation(
    start: int,
    clip_length: int = 16,
    stride: int = 1,
    slices: int = 8,
    trusted: tuple[int, int] | None = None,
    pts: int = -1,
) -> Explanation:
    span = Span(start, clip_length, stride)
    cells = np.ones((slices, 1, 1), np.float32)
    tube = Tube(cells, span, Crop(), even_pool(cells), trusted or (0, slices))
    first = start if pts < 0 else pts
    return Explanation(start, (), (), tube, Scale(0, 1), (first, first + span.last - start), BASE)


def windows_of(count: int, clip_length: int, stride: int, hop: int) -> list[Explanation]:
    """Those that a window gives, the one over the tail included."""
    extent = (clip_length - 1) * stride + 1
    starts = [start for start in range(0, count, hop) if start + extent <= count]
    last = max(0, count - extent)
    return [explanation(start, clip_length, stride) for start in sorted({*starts, last})]


def run(count: int, windows: list[Explanation], hop: int, late: int = 0) -> list[Placed]:
    """Frames and windows in the order of a pipeline; each window comes `late` frames after its last one."""
    aligned, out, waiting = Aligned(hop), [], list(windows)
    for index in range(count):
        aligned.push(frame(index))
        while waiting and waiting[0].tube.span.last + late <= index:
            out += aligned.explain(waiting.pop(0))
    for window in waiting:
        out += aligned.explain(window)
    return out + list(aligned.finish())


def brute_force(index: int, windows: list[Explanation], hop: int) -> dict[int, float]:
    """Shares by the window's start: of the neighbouring windows around the frame, linear over `hop` frames."""
    centers = [window.tube.span.center for window in windows]
    after = next((i for i, center in enumerate(centers) if center >= index), len(centers) - 1)
    before = max(0, after - 1)
    seen = [i for i in sorted({before, after}) if index in windows[i].tube.span]
    if len(seen) == 2:
        share = float(np.interp(index, [centers[before], centers[before] + hop], [0, 1]))
        shares = {before: 1 - share, after: share}
    else:
        shares = dict.fromkeys(seen, 1.0)
    return {windows[i].tube.span.start: share for i, share in shares.items() if share > 0}


cases = st.tuples(st.integers(1, 120), st.integers(1, 12), st.integers(1, 3)).flatmap(
    lambda case: st.tuples(*map(st.just, case), st.integers(1, case[1] * case[2]))
)


class TestAligned:
    @settings(max_examples=200, deadline=None)
    @given(cases, st.integers(0, 30))
    def test_against_brute_force(self, case, late):
        count, clip_length, stride, hop = case
        half = hop <= clip_length * stride / 2
        windows = windows_of(count, clip_length, stride, hop)
        placed = run(count, windows, hop, late)
        assert [one.frame.index for one in placed] == list(range(count))
        for one in placed:
            shares = {part.tube.span.start: share for part, share in one.parts}
            expected = brute_force(one.frame.index, windows, hop)
            if half:  # further apart, the change may be quicker than from centre to centre
                assert shares == pytest.approx(expected), one.frame.index
            assert bool(shares) >= bool(expected)
            assert (one.at, one.age, one.opacity) == (one.frame.index, 0, 1)
            assert not one.parts or sum(shares.values()) == pytest.approx(1)

    @settings(max_examples=200, deadline=None)
    @given(cases)
    def test_nothing_jumps_where_windows_overlap_by_half(self, case):
        count, clip_length, stride, hop = case
        hop = max(1, min(hop, clip_length * stride // 2))
        windows = windows_of(count, clip_length, stride, hop)
        placed = run(count, windows, hop)
        for one, two in pairwise(placed):
            before = {part.tube.span.start: share for part, share in one.parts}
            now = {part.tube.span.start: share for part, share in two.parts}
            steps = [abs(now.get(key, 0) - before.get(key, 0)) for key in {*before, *now}]
            assert max(steps) <= 1 / hop + 1e-9

    def test_nothing_jumps_where_windows_overlap_by_a_quarter(self):
        """Windows of 16 frames every 12: 4 frames see both, and the picture should pass over in these 4."""
        placed = run(60, windows_of(60, 16, 1, 12), 12)
        shares = [{part.tube.span.start: share for part, share in one.parts}.get(12, 0) for one in placed]
        assert max(abs(np.diff(shares))) <= 1 / 3 + 1e-9

    def test_linear_between_two_centres(self):
        first, second = explanation(0), explanation(8)
        placed = run(24, [first, second], 8)
        for index in range(8, 16):  # centres 7.5 and 15.5
            shares = {part.tube.span.start: share for part, share in placed[index].parts}
            assert shares == {0: pytest.approx((15.5 - index) / 8), 8: pytest.approx((index - 7.5) / 8)}
        assert placed[7].parts == ((first, 1.0),)
        assert placed[16].parts == ((second, 1.0),)

    def test_frames_wait_no_longer_than_they_must(self):
        aligned = Aligned(8)
        for index in range(16):
            aligned.push(frame(index))
        # those up to the first window's centre need no second window
        assert [one.frame.index for one in aligned.explain(explanation(0))] == list(range(8))
        for index in range(16, 24):
            aligned.push(frame(index))
        assert [one.frame.index for one in aligned.explain(explanation(8))] == list(range(8, 16))
        assert [one.frame.index for one in aligned.finish()] == list(range(16, 24))
        assert list(aligned.finish()) == []

    def test_frames_that_no_window_saw_get_nothing(self):
        placed = run(60, [explanation(0, 8), explanation(30, 8)], 30)
        drawn = [one.frame.index for one in placed if one.parts]
        assert drawn == [*range(8), *range(30, 38)]
        assert len(placed) == 60

    def test_no_window_at_all(self):
        placed = run(5, [], 1)
        assert [one.frame.index for one in placed] == [0, 1, 2, 3, 4]
        assert not any(one.parts for one in placed)


class TestDelayed:
    @settings(max_examples=300, deadline=None)
    @given(cases, st.data())
    def test_whatever_windows_the_model_had_no_time_for(self, case, data):
        count, clip_length, stride, hop = case
        windows = windows_of(count, clip_length, stride, hop)
        kept = [window for window in windows if data.draw(st.booleans())]
        delayed = Delayed(hop, Gaps())
        for window in kept:
            delayed.explain(window)
        for index in range(count):
            parts = delayed.place(frame(index)).parts
            assert bool(parts) == any(index in window.tube.span for window in kept)
            assert not parts or sum(share for _, share in parts) == pytest.approx(1)


class TestLive:
    def test_before_the_first_window(self):
        placed = Live().place(frame(7), None)
        assert (placed.parts, placed.at, placed.age, placed.opacity) == ((), 7, 0, 1)

    @given(
        start=st.integers(0, 200),
        behind=st.integers(0, 400),
        rate=st.sampled_from([Fraction(25), Fraction(30_000, 1001), Fraction(50), Fraction(12)]),
        trusted=st.sampled_from([(0, 8), (1, 7), (0, 1), (3, 5)]),
        stride=st.integers(1, 3),
    )
    def test_position_age_and_opacity_are_exact(self, start, behind, rate, trusted, stride):
        base, tick = Fraction(1, 90_000), Fraction(90_000) / rate
        window = explanation(start, 16, stride, 8, trusted, pts=round(start * tick))
        index = start + 15 * stride + behind
        placed = Live(max_age=2.0, fade=0.5).place(frame(index, round(index * tick), base), window)
        # slice i of 8 has its centre between samples 2 i and 2 i + 1
        at = start + (2 * (trusted[1] - 1) + 0.5) * stride
        age = (index - at) / float(rate)
        assert placed.at == pytest.approx(at)
        assert placed.age == pytest.approx(age, rel=1e-3)
        opacity = min(1.0, max(0.0, 1 - (placed.age - 2) / 0.5))
        assert placed.opacity == pytest.approx(opacity)
        assert placed.parts == (((window, 1.0),) if opacity > 0 else ())

    def test_it_holds_then_fades_then_is_gone(self):
        live, window = Live(max_age=1.0, fade=1.0), explanation(0, trusted=(0, 8))
        at = window.tube.span.slice_center(7, 8)
        seen = [live.place(frame(index), window) for index in range(16, 90)]
        for placed in seen:
            age = (placed.frame.index - at) / 25
            assert placed.opacity == pytest.approx(min(1, max(0, 2 - age)))
        assert seen[0].opacity == 1
        assert seen[-1].parts == ()
        assert all(one.opacity >= two.opacity for one, two in pairwise(seen))

    def test_a_frame_before_the_trusted_slice_is_drawn_from_its_own_place(self):
        placed = Live().place(frame(5), explanation(0))
        assert (placed.at, placed.age, placed.opacity) == (5, 0, 1)

    def test_an_explanation_that_overtook_its_frame(self):
        """The draw stage may be a few frames behind the window: no negative age."""
        placed = Live().place(frame(3), explanation(10))
        assert (placed.at, placed.age) == (3, 0)
        assert placed.parts

    def test_variable_rates(self):
        """Seconds come from the frames' own times: here a frame every 1/5 s, not 1/25."""
        window = explanation(0, pts=0)
        placed = Live(max_age=100).place(frame(100, 500), window)
        at = window.tube.span.slice_center(7, 8)
        assert placed.age == pytest.approx((100 - at) / 5)

    @pytest.mark.parametrize("wrong", [(0, 1), (1, 0), (-1, 1), (float("-inf"), 1)])
    def test_wrong_times(self, wrong):
        with pytest.raises(ValueError, match="positive seconds, got"):
            Live(*wrong)
