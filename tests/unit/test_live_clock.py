"""Times of a live stream: even, increasing, never ahead of the clock, whatever the source's own clock does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.stream.media.live_clock import TOLERANCE, LiveClock


def test_jitter_of_arrival_does_not_show() -> None:
    clock, noise = LiveClock(), np.random.default_rng(0)
    stamps = [clock.stamp(i / 30, 1000 + i / 30 + abs(noise.normal(0, 0.01))) for i in range(300)]
    late = np.diff(stamps)[100:]
    assert np.abs(late - 1 / 30).max() < 2e-3


def test_a_clock_that_runs_slower_is_followed() -> None:
    clock = LiveClock()
    for i in range(20_000):
        now = 5 + i / 30 * 1.001
        stamp = clock.stamp(i / 30, now)
    assert now - stamp < 0.05


@pytest.mark.parametrize("jump", [-1000.0, 1000.0, 0.0])
def test_a_jump_of_the_pts_is_none_of_the_stamps(jump: float) -> None:
    clock = LiveClock()
    before = [clock.stamp(i / 25, 10 + i / 25) for i in range(50)]
    after = [clock.stamp(jump + i / 25, 20 + i / 25) for i in range(50)]
    assert after[0] == pytest.approx(20, abs=TOLERANCE)
    assert np.all(np.diff([*before, *after]) > 0)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 10)), min_size=1, max_size=60))
def test_stamps_increase_and_are_never_ahead(arrivals: list[tuple[float, float]]) -> None:
    clock, now, last = LiveClock(), 100.0, -1.0
    for pts, step in arrivals:
        now += step
        stamp = clock.stamp(pts, now)
        assert last < stamp <= max(now, last) + 1e-4
        last = stamp
