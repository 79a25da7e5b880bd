"""Failed logins, without a server and without time."""

from __future__ import annotations

import pytest
from holding import held
from saliency_tubes.stream.net.doorkeeper import ADDRESSES, EVERY, FORGET, FREE, NAMED, PAUSES, Doorkeeper, party


def test_five_are_free_and_then_each_waits_longer() -> None:
    one = Doorkeeper()
    assert [one.failed("a", float(second)) for second in range(FREE)] == [0.0] * FREE
    pauses = [one.failed("a", 10.0) for _ in range(20)]
    assert pauses[:3] == [PAUSES[0], 2 * PAUSES[0], 4 * PAUSES[0]]
    assert pauses[-1] == PAUSES[1]
    assert one.failed("b", 10.0) == 0.0


def test_after_a_while_it_is_forgotten_but_not_by_asking_seldom() -> None:
    one = Doorkeeper()
    for number in range(FREE):
        one.failed("a", number * (FORGET - 1))
    last = (FREE - 1) * (FORGET - 1)
    assert one.failed("a", last + FORGET - 1) == PAUSES[0]
    assert one.failed("a", last + 3 * FORGET) == 0.0


def test_memory_is_bounded_and_the_newest_are_remembered() -> None:
    one, sizes = Doorkeeper(), []
    for number in range(3 * ADDRESSES):
        for _ in range(FREE):
            one.failed(str(number), 0.0)
        one.turned_away(str(number))
        if (number + 1) % ADDRESSES == 0:
            sizes.append(held(one))
    assert sizes[0] == sizes[1] == sizes[2] > 3 * ADDRESSES
    assert one.failed(str(3 * ADDRESSES - 1), 0.0) == PAUSES[0]
    assert one.failed("0", 0.0) == 0.0


def test_one_line_a_minute_whatever_happens() -> None:
    one = Doorkeeper()
    assert one.line(0.0) == ""
    one.failed("192.0.2.1", 0.0)
    assert one.line(0.0) == "failed logins: 1 from 192.0.2.1"
    for number in range(NAMED + 3):
        for _ in range(number + 1):
            one.failed(f"192.0.2.{number}", 1.0)
    one.turned_away("192.0.2.7")
    assert one.line(EVERY - 0.1) == ""
    line = one.line(EVERY)
    assert line.startswith("failed logins: 8 from 192.0.2.7, 7 from 192.0.2.6, ")
    assert "and others from 3 more addresses; connections for which there was no place: 1 from 192.0.2.7" in line
    assert one.line(10 * EVERY) == ""  # nothing new


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("odd", "odd"),
    ],
)
def test_whom_an_address_counts_for(address: str, expected: str) -> None:
    assert party(address) == expected
