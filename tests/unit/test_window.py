"""The sliding window against its definition, written out."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.engine.preprocess import HostSampler
from saliency_tubes.engine.types import Clip, Crop, Frame
from saliency_tubes.stream.pipeline.window import Window

SPEC = InputSpec((1, 1), (0, 0, 0), (1, 1, 1), "stretch")
BASE = Fraction(1, 90_000)


def frame(index: int, pts: int | None = None) -> Frame:
    """One pixel that carries the frame's number."""
    plane = np.array([[[index % 256, index // 256, 9]]], np.uint8)
    return Frame(index, 3600 * index if pts is None else pts, BASE, Picture(Layout.RGB, (plane,)))


def numbers(clip: Clip) -> list[int]:
    return [int(one.pixels[0, 0, 0]) + 256 * int(one.pixels[0, 0, 1]) for one in clip.samples]


def run(window: Window, count: int, pts: list[int] | None = None) -> tuple[list[tuple[int, Clip]], Clip | None]:
    """The clips with the number of the frame that completed each, and the one of the flush."""
    found = []
    for index in range(count):
        clip = window.push(frame(index, pts[index] if pts else None))
        if clip is not None:
            found.append((index, clip))
    return found, window.flush()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 40), st.integers(0, 80))
def test_which_frames_are_in_which_clip(clip_length, stride, hop, count):
    found, rest = run(Window(HostSampler(SPEC), clip_length, stride, hop), count)
    extent = (clip_length - 1) * stride + 1
    # window k starts at k * hop, and is complete with its last sample
    starts = [start for start in range(0, count, hop) if start + extent <= count]
    assert [index for index, _ in found] == [start + extent - 1 for start in starts]
    for start, (_, clip) in zip(starts, found, strict=True):
        expected = [start + i * stride for i in range(clip_length)]
        assert numbers(clip) == expected
        assert (clip.span.start, clip.span.clip_length, clip.span.stride) == (start, clip_length, stride)
        assert clip.span.last == expected[-1]
        assert clip.pts == (3600 * expected[0], 3600 * expected[-1])
        assert (clip.time_base, clip.repeated) == (BASE, 0)
    complete = bool(starts) and starts[-1] + extent == count
    assert (rest is None) == (count == 0 or complete)
    if rest is not None:
        first = max(0, count - extent)
        wanted = [first + i * stride for i in range(clip_length)]
        inside = [one for one in wanted if one < count]
        assert rest.span.start == first
        assert rest.repeated == clip_length - len(inside)
        assert numbers(rest)[: len(inside)] == inside
        assert all(first <= number < count for number in numbers(rest))
        assert rest.pts[0] == 3600 * first


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.data())
def test_windows_and_flush_see_every_frame(clip_length, stride, data):
    """Where windows are no further apart than they are long, as aligned mode asks for."""
    hop = data.draw(st.integers(1, clip_length * stride))
    count = data.draw(st.integers(1, 80))
    found, rest = run(Window(HostSampler(SPEC), clip_length, stride, hop), count)
    spans = [clip.span for _, clip in found] + ([rest.span] if rest else [])
    unseen = [index for index in range(count) if not any(index in span for span in spans)]
    if stride % 2 or hop < clip_length * stride:
        assert not unseen
    else:  # half-way between two windows side by side
        assert all(any(abs(index - span.center) == clip_length * stride / 2 for span in spans) for index in unseen)


def test_no_frame_is_lost_between_windows_side_by_side():
    found, _ = run(Window(HostSampler(SPEC), 16, 2, 32), 64)
    spans = [clip.span for _, clip in found]
    assert len(spans) == 2
    assert [index for index in range(63) if not any(index in span for span in spans)] == []


@pytest.mark.parametrize(("count", "repeated"), [(1, 7), (5, 3), (7, 1)])
def test_a_short_video_repeats_its_last_frame_and_says_so(count, repeated):
    found, rest = run(Window(HostSampler(SPEC), 8, 1, 4), count)
    assert not found
    assert rest is not None
    assert numbers(rest) == [*range(count), *[count - 1] * repeated]
    assert rest.repeated == repeated
    assert rest.pts == (0, 3600 * (count - 1))


def test_a_short_video_repeats_its_last_sample():
    """With a stride, the last sample taken: `frames` of an event and its `pts` are then of the same frame."""
    _, rest = run(Window(HostSampler(SPEC), 4, 3, 4), 5)
    assert rest is not None
    assert numbers(rest) == [0, 3, 3, 3]
    assert rest.repeated == 2
    assert rest.pts[1] == 3600 * (rest.span.last - rest.repeated * rest.span.stride)


def test_a_full_window_at_the_very_end_is_not_given_twice():
    found, rest = run(Window(HostSampler(SPEC), 4, 1, 2), 8)
    assert [clip.span.start for _, clip in found] == [0, 2, 4]
    assert rest is None


def test_an_empty_stream():
    assert Window(HostSampler(SPEC), 4, 1, 2).flush() is None


def test_flushing_twice_gives_one_clip():
    window = Window(HostSampler(SPEC), 4, 1, 2)
    window.push(frame(0))
    assert window.flush() is not None
    assert window.flush() is None


@settings(max_examples=50)
@given(st.lists(st.integers(1, 9000), min_size=12, max_size=30), st.integers(1, 3))
def test_pts_of_variable_rates_are_passed_on(steps, stride):
    pts = np.cumsum(steps).tolist()
    found, rest = run(Window(HostSampler(SPEC), 4, stride, 3), len(pts), pts)
    for _, clip in [*found, *([(0, rest)] if rest else [])]:
        assert clip.pts == (pts[clip.span.start], pts[clip.span.last])


def test_neighbouring_windows_share_their_samples():
    """Converted once, kept once."""
    found, _ = run(Window(HostSampler(SPEC), 4, 1, 1), 6)
    (_, one), (_, two) = found[:2]
    assert all(a is b for a, b in zip(one.samples[1:], two.samples[:-1], strict=True))


def test_the_crop_is_told():
    spec = InputSpec((2, 2), (0, 0, 0), (1, 1, 1), "center", 2)
    window = Window(HostSampler(spec), 1, 1, 1)
    wide = Picture(Layout.RGB, (np.zeros((2, 4, 3), np.uint8),))
    clip = window.push(Frame(0, 0, BASE, wide))
    assert clip is not None
    assert clip.crop == Crop(0.25, 0, 0.75, 1)


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-4, 1, 1)])
def test_wrong_lengths(wrong):
    with pytest.raises(ValueError, match="1 or more, got"):
        Window(HostSampler(SPEC), *wrong)


def test_how_much_video_a_clip_spans():
    window = Window(HostSampler(SPEC), 8, 2, 1)
    assert window.spans(Fraction(28)) == pytest.approx(0.5)
    window.cut(stride=4)
    assert window.spans(Fraction(28)) == pytest.approx(1.0)
