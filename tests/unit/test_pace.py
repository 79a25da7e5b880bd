"""When frames are due: against times written out by hand."""

from fractions import Fraction

from saliency_tubes.stream.media.pace import Pace
from saliency_tubes.stream.media.timeline import leap


def delays(pace: Pace, *frames: tuple[float, float]) -> list[float]:
    """frames: presentation time and arrival, in seconds."""
    return [round(pace.delay(seconds, now), 6) for seconds, now in frames]


def test_frames_are_due_as_far_apart_as_their_times_are():
    assert delays(Pace(), (5.0, 100.0), (5.5, 100.0), (6.0, 100.5), (6.5, 101.5)) == [0, 0.5, 0.5, 0]


def test_frames_make_up_for_a_late_one():
    assert delays(Pace(), (0.0, 100.0), (0.5, 102.0), (1.0, 102.0), (2.5, 102.0)) == [0, 0, 0, 0.5]


def test_or_are_as_late_as_it_was():
    assert delays(Pace(forgives=True), (0.0, 100.0), (0.5, 102.0), (1.0, 102.0), (2.5, 104.0)) == [0, 0, 0.5, 0]


def test_a_leap_is_not_waited_for_and_is_told():
    pace = Pace(leap=60)
    leapt = []
    waits = []
    for seconds, now in ((0.0, 100.0), (60.0, 100.0), (1000.0, 160.0), (1000.5, 160.0)):
        waits.append(pace.delay(seconds, now))
        leapt.append(pace.leapt)
    assert waits == [0, 60, 0, 0.5]
    assert leapt == [False, False, True, False]


def test_a_gap_starts_anew_and_is_no_leap():
    pace = Pace(leap=60)
    assert [pace.delay(0.0, 100.0), pace.delay(500.0, 101.0, anew=True), pace.delay(500.25, 101.0)] == [0, 0, 0.25]
    assert not pace.leapt


def test_a_recording_may_stand_still_for_a_while_and_no_day_is_waited_for():
    pace, now, waits = Pace(leap(Fraction(25))), 100.0, []
    for seconds in (0.0, 0.04, 86_400.0, 86_400.04, 86_430.04):
        waits.append(pace.delay(seconds, now))
        now += waits[-1]
    assert [round(wait, 6) for wait in waits] == [0, 0.04, 0, 0.04, 30]
