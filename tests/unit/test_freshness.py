"""Evidence that grows too old is told, once, by a scripted clock."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
from holding import held
from saliency_tubes.stream.telemetry.freshness import BEGIN, END, Freshness

RATE = 20


def play(watch: Freshness, ages: Iterable[float | None], start: float = 1000.0, fade: float = 0.5) -> list[bool]:
    """Frames of these ages, RATE a second; what `too_old` is after each."""
    told = []
    for number, age in enumerate(ages):
        watch.show(start + number / RATE, age, age is not None and age < watch.max_age + fade)
        told.append(watch.too_old)
    return told


def saw(low: float, high: float, seconds: float) -> list[float]:
    """Ages that grow from one window to the next."""
    period = max(1, round((high - low) * RATE))
    return [low + number % period / RATE for number in range(round(seconds * RATE))]


def test_young_tubes_are_no_news():
    assert not any(play(Freshness(2.0, 1.0), saw(0.8, 2.0, 60)))


def test_a_hiccup_is_no_news():
    ages = [*saw(0.8, 1.9, 5), *[2.1] * int(BEGIN * RATE), *saw(0.8, 1.9, 5)]
    assert not any(play(Freshness(2.0, 1.0), ages))


def test_it_does_not_flap_with_every_window():
    """Older than max-age for a part of each window only, as where the model is a little too slow."""
    slow = saw(1.4, 2.8, 60)
    told = play(Freshness(2.0, 1.0), [*saw(0.8, 1.6, 10), *slow, *saw(0.8, 1.6, 30)])
    turns = [number for number in range(1, len(told)) if told[number] != told[number - 1]]
    assert len(turns) == 2
    begun, ended = (turn / RATE for turn in turns)
    assert 10 + 0.6 <= begun <= 10 + 0.6 + BEGIN + 0.1
    assert 70 + END - 1.5 <= ended <= 70 + END + 0.1


def test_the_age_goes_on_growing_while_nothing_is_drawn():
    watch = Freshness(2.0, 1.0)
    assert math.isnan(watch.tube_age(1000.0))
    ages = [1.0 + number / RATE for number in range(10 * RATE)]
    for number, age in enumerate(ages):
        now = 1000 + number / RATE
        watch.show(now, age, age < 2.5)
        assert watch.tube_age(now) == pytest.approx(age)
    assert watch.tube_age(1010 + 3) == pytest.approx(11 + 3)  # no frame came since
    watch.show(1013, None, False, gap=True)
    assert watch.tube_age(1014) == pytest.approx(15)  # of the evidence there was before the gap
    watch.show(1015, 0.5, True)
    assert watch.tube_age(1015.02) == 0.5


def test_a_model_that_never_answers_is_told_once_its_first_tube_would_be_too_old():
    told = play(Freshness(2.0, window=3.0), [None] * 20 * RATE)
    assert not any(told[: int((3.0 + 2.0) * RATE)])
    assert all(told[int((3.0 + 2.0 + BEGIN + 0.1) * RATE) :])


def test_a_gap_gives_time_for_a_new_window():
    watch = Freshness(2.0, window=3.0)
    play(watch, saw(0.8, 1.6, 30))
    watch.show(1030.0, None, False, gap=True)
    assert not any(play(watch, [None] * 4 * RATE, start=1030.05))


def test_where_nothing_grows_old_nothing_is_told():
    """Aligned: frames that no window saw are bare, and that is all there is to it."""
    assert not any(play(Freshness(), [None] * 600 + [0.0] * 100))


def test_nothing_grows():
    watch = Freshness(2.0, 1.0)
    play(watch, [1.0] * 100 * RATE)
    before = held(watch)
    play(watch, [1.0] * 100 * RATE, start=1100.0)
    assert abs(held(watch) - before) < 10  # the last second may have begun or not


def test_the_share_drawn_is_of_the_last_minute():
    watch = Freshness(2.0, 1.0)
    assert math.isnan(watch.drawn_ratio(1000.0))
    play(watch, [None] * 30 * RATE)
    assert watch.drawn_ratio(1030.0) == 0
    play(watch, [1.0] * 30 * RATE, start=1030.0)
    assert watch.drawn_ratio(1059.9) == pytest.approx(0.5, abs=0.02)
    play(watch, [1.0] * 40 * RATE, start=1060.0)
    assert watch.drawn_ratio(1099.9) == 1
    assert watch.frames_drawn == 70 * RATE
    assert math.isnan(watch.drawn_ratio(2000.0))  # no frame for long


def test_max_age_may_change():
    watch = Freshness(2.0, 1.0)
    assert not any(play(watch, [1.5] * RATE))
    watch.max_age = 1.0
    assert play(watch, [1.5] * RATE, start=1001.0)[-1]
