"""The types between rooms: checked when made, and their small sums."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.engine.types import (
    ClassScore,
    Clip,
    Crop,
    Explanation,
    Frame,
    HostOutputs,
    HostSample,
    Scale,
    Shown,
    Span,
    Tube,
)
from stubs import even_pool

EIGHT = Span(0, 8)
SAMPLE = HostSample(np.zeros((2, 2, 3), np.uint8))
PICTURE = Picture(Layout.RGB, (np.zeros((2, 2, 3), np.uint8),))
spans = st.builds(Span, st.integers(0, 1000), st.integers(1, 64), st.integers(1, 8))


def tube(slices: int = 2, span: Span = EIGHT) -> Tube:
    cells = np.zeros((slices, 2, 2), np.float32)
    return Tube(cells, span, Crop(), even_pool(cells), (0, slices))


def tube_with(cells=(2, 3, 2), pool=(2, 3, 2), trusted=(0, 2)) -> Tube:
    return Tube(np.zeros(cells, np.float32), EIGHT, Crop(), np.ones(pool, np.float32), trusted)


def explanation(name: str = "a", *more: str) -> Explanation:
    explained = tuple(ClassScore(i, one, 0.5, 1.0) for i, one in enumerate((name, *more)))
    return Explanation(0, explained, explained, tube(), Scale(0, 1), (0, 7), Fraction(1, 25))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Frame(-1, 0, Fraction(1), PICTURE),
        lambda: Frame(0, 0, Fraction(0), PICTURE),
        lambda: Frame(0, 0, Fraction(1), PICTURE, Fraction(-1)),
        lambda: Crop(0.5, 0, 0.5, 1),
        lambda: Crop(0, 1, 1, 0),
        lambda: Crop(float("nan"), 0, 1, 1),
        lambda: Span(-1, 8),
        lambda: Span(0, 0),
        lambda: Span(0, 8, 0),
        lambda: Clip((SAMPLE,), Span(0, 2), Crop(), (0, 1), Fraction(1)),
        lambda: Clip((), Span(0, 2), Crop(), (0, 1), Fraction(1)),
        lambda: Clip(
            (SAMPLE, HostSample(np.zeros((2, 3, 3), np.uint8))),
            Span(0, 2),
            Crop(),
            (0, 1),
            Fraction(1),
        ),
        lambda: Clip((SAMPLE,) * 2, Span(0, 2), Crop(), (0, 1), Fraction(1), repeated=2),
        lambda: Clip((SAMPLE,) * 2, Span(0, 2), Crop(), (0, 1), Fraction(1), repeated=-1),
        lambda: HostOutputs(np.zeros((1, 5), np.float32), np.zeros((2, 2, 2, 2), np.float32)),
        lambda: HostOutputs(np.zeros(5, np.float32), np.zeros((2, 2, 2), np.float32)),
        lambda: tube_with(cells=(2, 2), pool=(2, 2)),
        lambda: tube_with(cells=(2, 0, 2), pool=(2, 0, 2)),
        lambda: tube_with(pool=(2,)),
        lambda: tube_with(pool=(1, 2, 3)),
        lambda: tube_with(pool=(2, 1, 1)),
        lambda: tube_with(trusted=(1, 1)),
        lambda: tube_with(trusted=(0, 3)),
        lambda: Scale(1, 1),
        lambda: Scale(0, float("inf")),
        lambda: Scale(float("nan"), 1),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line_that_shows_the_value(make):
    with pytest.raises(ValueError, match="got") as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_frames_time_is_exact():
    # 90 kHz, more than a day in: float pts * float time_base would be off by more than half a tick
    frame = Frame(3, 10**10 + 1, Fraction(1, 90_000), PICTURE)
    assert frame.time == float(Fraction(10**10 + 1, 90_000))


@given(spans, st.integers(-50, 2000))
def test_a_window_sees_the_frames_its_samples_stand_for(span, frame):
    sampled = [span.start + i * span.stride for i in range(span.clip_length)]
    assert span.last == sampled[-1]
    assert span.center == np.mean(sampled)
    nearest = min(abs(frame - one) for one in sampled)
    if nearest != span.stride / 2:  # the very ends are tried in test_window
        assert (frame in span) == (nearest < span.stride / 2)
    if frame in sampled:
        assert frame in span
    if frame <= span.start - span.stride or frame >= span.last + span.stride:
        assert frame not in span


@given(spans, st.integers(1, 16))
def test_slices_share_the_window_evenly(span, slices):
    centers = [span.slice_center(i, slices) for i in range(slices)]
    # the same from first principles: slice i covers T / t samples, a sample the stride around it
    edge = span.start - span.stride / 2
    extent = span.clip_length * span.stride
    assert centers == pytest.approx([edge + extent * (i + 0.5) / slices for i in range(slices)])
    assert np.mean(centers) == pytest.approx(span.center)
    for i, center in enumerate(centers):
        assert center in span
        assert span.slice_at(center, slices) == pytest.approx(i, abs=1e-9)


def test_labels_and_shares():
    assert explanation("juggling").label == "juggling"
    assert explanation("juggling", "yoga").label == "juggling vs yoga"
    frame = Frame(0, 0, Fraction(1, 25), PICTURE)
    assert Shown(frame, ()).explanation is None
    weak, strong = explanation("weak"), explanation("strong")
    assert Shown(frame, ((weak, 0.4), (strong, 0.6))).explanation is strong
    assert Shown(frame, ()).rgb.shape == (2, 2, 3)


def test_a_tube_keeps_its_pool_cell_by_cell():
    assert tube_with().pool.shape == (2, 3, 2)  # what the refusals above differ from in one value each


def test_types_are_frozen():
    for value, name in ((Span(0, 8), "start"), (Crop(), "left"), (tube(), "span"), (explanation(), "window")):
        with pytest.raises(AttributeError):
            setattr(value, name, 1)
