"""How old live evidence gets, against frames and windows played through `Live`; and the window chosen by it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.manifest import WindowSpec
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.engine.runtimes.models import find_model, read_manifest
from saliency_tubes.engine.types import Crop, Explanation, Frame, Scale, Span, Tube
from saliency_tubes.stream.app.young import MOST_SPARE, SPARE, fit, spare_for, worst_age
from saliency_tubes.stream.pipeline.sync import Live
from stubs import even_pool, make_manifest

PICTURE = Picture(Layout.RGB, (np.zeros((1, 1, 3), np.uint8),))
I3D = read_manifest(find_model("i3d"))


def explanation(start: int, clip_length: int, stride: int, window: WindowSpec, base: Fraction) -> Explanation:
    span, cells = Span(start, clip_length, stride), np.ones((len(window.slice_weights), 1, 1), np.float32)
    tube = Tube(cells, span, Crop(), even_pool(cells), window.trusted)
    return Explanation(0, (), (), tube, Scale(0, 1), (start, span.last), base)


def oldest(window: WindowSpec, clip_length: int, stride: int, rate: int, seconds: float) -> float:
    """Played: frames leave at once, and the model takes the newest window whenever it is free."""
    base, extent = Fraction(1, rate), (clip_length - 1) * stride + 1
    live, newest, busy, ages = Live(max_age=1e6), None, None, []
    for index in range(extent - 1, extent + int(6 * seconds * rate) + 20):
        now = index / rate
        if busy is not None and busy[0] <= now:
            # It is free between two frames, and takes the window of the frame before.
            newest, free = busy[1], busy[0]
            busy = (free + seconds, explanation(index - extent, clip_length, stride, window, base))
        if busy is None:
            busy = (now + seconds, explanation(index - extent + 1, clip_length, stride, window, base))
        placed = live.place(Frame(index, index, base, PICTURE), newest)
        ages += [placed.age] if placed.parts else []
    return max(ages)


@settings(max_examples=60, deadline=None)
@given(
    clip_length=st.sampled_from([16, 32, 64]),
    stride=st.integers(1, 3),
    rate=st.sampled_from([10, 25, 30, 60]),
    seconds=st.floats(0.05, 2.0),
)
def test_no_tube_is_older_and_some_nearly_are(clip_length: int, stride: int, rate: int, seconds: float):
    window = I3D.windows[clip_length]
    said = worst_age(window, clip_length, stride, rate, seconds)
    assert said - 3 / rate - 1e-6 <= oldest(window, clip_length, stride, rate, seconds) <= said + 1e-6


ZEN4_F32, ZEN4_BF16 = {32: 0.5}, {32: 0.277}


@pytest.mark.parametrize(
    ("seconds", "max_age", "clip_length"),
    [
        ({16: 0.05}, 2.0, 64),
        (ZEN4_BF16, 2.0, 32),
        (ZEN4_F32, 2.0, 32),
        ({64: 1.011}, 2.0, 32),
        ({16: 0.5}, 2.0, 16),
        ({16: 5.0}, 2.0, 16),  # none is young enough: the shortest
        (ZEN4_BF16, 2.5, 64),
        (ZEN4_BF16, 1.0, 16),
        ({16: 0.2, 64: 0.1}, 2.0, 64),  # each as measured
    ],
)
def test_the_longest_window_whose_tubes_are_young(seconds: dict[int, float], max_age: float, clip_length: int):
    found = fit(I3D, 1, 30.0, max_age, seconds)
    assert found.clip_length == clip_length
    assert found.age <= max_age or clip_length == 16


def test_streams_that_share_a_model_have_less_of_it():
    assert [fit(I3D, 1, 30.0, 2.0, {16: 0.06 * streams}).clip_length for streams in (1, 2, 4, 8)] == [64, 64, 32, 16]


@pytest.mark.parametrize(
    ("streams", "cores", "spare"),
    [(1, 16.0, SPARE), (1, 1.5, SPARE), (1, 1.0, 2.0), (2, 2.0, 2.0), (3, 2.0, 4.0), (4, 2.0, MOST_SPARE),
     (99, 2.0, MOST_SPARE), (8, 16.0, SPARE), (1, 0.25, MOST_SPARE)],
)  # fmt: skip
def test_the_fewer_cores_streams_leave_the_slower_the_model_is_taken_to_be(streams: int, cores: float, spare: float):
    assert spare_for(streams, cores) == pytest.approx(spare)


def test_a_model_that_gets_less_of_the_processor_gets_shorter_windows():
    assert [fit(I3D, 1, 30.0, 2.0, {16: 0.1}, spare).clip_length for spare in (1.5, 2.5, 5.0)] == [64, 32, 16]


def test_a_slow_camera_has_older_tubes():
    assert [
        fit(I3D, stride, rate, 2.0, {16: 0.1}).clip_length for stride, rate in ((1, 30.0), (1, 8.0), (4, 25.0))
    ] == [
        *(64, 16, 16),
    ]


def test_reasons():
    chosen = fit(I3D, 1, 30.0, 2.0, ZEN4_BF16)
    behind = (32 - 0.5 - 2.5 * 8) / 30
    assert chosen.age == pytest.approx(behind + 1 / 30 + 2 * SPARE * 0.277)
    assert chosen.in_words == "a tube is 1.2 s old at the worst; 64 frames would make it 2.1 s, older than max-age 2 s"
    assert fit(I3D, 1, 30.0, 2.0, {16: 0.05}).in_words == "a tube is 1.0 s old at the worst"
    slow = fit(I3D, 1, 30.0, 2.0, {16: 1.0}).in_words
    assert slow == ("a tube may be 3.1 s old, older than max-age 2 s: the model is too slow here, and tubes will fade")
    edge = fit(make_manifest(), 1, 30.0, 2.0, {8: 0.6}).in_words
    assert "2.0 s old, older than max-age 2 s" not in edge
