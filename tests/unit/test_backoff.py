"""Delays between attempts: doubled, bounded, and longer where credentials are refused."""

import pytest
from saliency_tubes.stream.net.backoff import Backoff, Delays


def test_delays_double_up_to_the_longest():
    backoff = Backoff(Delays(1, 30))
    assert [backoff.next() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next() == 1


def test_the_thousandth_attempt_has_a_delay_as_well():
    assert Delays(0.001, 1e9).after(5000) == Delays(0.001, 1e9).after(11)


def test_a_refusal_has_delays_of_its_own_and_other_failures_between_do_not_start_them_anew():
    backoff = Backoff(Delays(1, 8), Delays(10, 600))
    assert [backoff.next(refused) for refused in (True, True, False, True, False)] == [10, 20, 4, 40, 8]
    backoff.admitted()
    assert [backoff.next(True), backoff.next()] == [10, 8]


def test_chance_stays_within_the_spread_and_above_the_least():
    backoff = Backoff(Delays(4, 4), Delays(1, 30, least=1.0), spread=(0.5, 1.5), seed=1)
    usual = [backoff.next() for _ in range(200)]
    assert 2 <= min(usual) < 2.2
    assert 5.8 < max(usual) <= 6
    backoff.admitted()
    assert all(first >= 1 for first in (Backoff(Delays(1, 1), Delays(1, 30, 1), (0.5, 1.5), seed).next(True)
                                        for seed in range(50)))  # fmt: skip


def test_the_same_seed_gives_the_same_delays():
    one, other = (Backoff(Delays(1, 30), spread=(0.5, 1.5), seed=7) for _ in range(2))
    assert [one.next() for _ in range(5)] == [other.next() for _ in range(5)]


@pytest.mark.parametrize("wrong", [(0, 1), (2, 1), (1, 2, 3), (1, 2, -1), (float("nan"), 1)])
def test_wrong_delays(wrong):
    with pytest.raises(ValueError, match="got Delays"):
        Delays(*wrong)
