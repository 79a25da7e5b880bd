"""Durations that are summed up for ever: nothing goes down, and whoever reads meanwhile finds them whole."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.stream.telemetry.histogram import BOUNDS, Buckets, Histogram
from saliency_tubes.stream.telemetry.stopwatch import RECENT, Stopwatch


@given(st.lists(st.floats(0, 100)))
def test_each_duration_is_in_one_bucket_and_all_that_are_wider(seconds: list[float]) -> None:
    tally = Buckets()
    before = tally.histogram
    for one in seconds:
        tally.add(one)
        after = tally.histogram
        assert all(b >= a for a, b in zip(before.counts, after.counts, strict=True))
        assert after.sum >= before.sum
        before = after
    for bound, count in before.cumulative:
        assert count == sum(one <= bound for one in seconds)
    assert before.count == len(seconds)


def test_bounds() -> None:
    tally = Buckets()
    tally.add(BOUNDS[3])
    assert tally.histogram.cumulative[3] == (BOUNDS[3], 1)  # a bucket counts its own bound, as Prometheus has it
    assert tally.histogram.cumulative[2][1] == 0
    assert Histogram().cumulative[-1] == (float("inf"), 0)


def test_a_stopwatch_forgets_durations_and_not_how_many_there_were() -> None:
    watch = Stopwatch()
    for _ in range(3 * RECENT):
        watch.add("infer", 0.02)
    assert len(watch.recent()["infer"]) == RECENT
    assert watch.histograms()["infer"].count == 3 * RECENT
    assert abs(watch.histograms()["infer"].sum - watch.totals()["infer"]) < 1e-9


def test_threads_lose_none() -> None:
    watch, count = Stopwatch(), 2000
    threads = [threading.Thread(target=lambda: [watch.add("x", 0.001) for _ in range(count)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert watch.histograms()["x"].count == 4 * count
