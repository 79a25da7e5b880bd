"""The queue of an output that never waits: what is lost is counted, and the end comes in time."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter

import pytest
from saliency_tubes.stream.sinks.mailbox import Mailbox

LONG = 10.0
"""seconds after which what should happen is taken not to"""


class Reader:
    """Takes everything that is due; holds each item while the gate is closed."""

    def __init__(self, *capacities: int, **options: object) -> None:
        self.lost: Counter[str] = Counter()
        self.taken: list[int] = []
        self.gate, self.holds = threading.Event(), threading.Event()
        self.gate.set()
        self.box: Mailbox[int] = Mailbox(*capacities, lost=self._count, **options)  # type: ignore[arg-type]

    def _count(self, reason: str, count: int) -> None:
        self.lost[reason] += count

    def work(self) -> None:
        while (item := self.box.take()) is not None:
            self.holds.set()
            self.gate.wait(LONG)
            self.taken.append(item)

    def held(self) -> None:
        """Starts, and stands still with item 0 in hand."""
        self.gate.clear()
        self.box.start(self.work, "test")
        self.box.put(0)
        assert self.holds.wait(LONG)


def test_the_newest_win_and_the_oldest_are_counted_by_reason() -> None:
    reader = Reader(3)
    for item in range(5):
        reader.box.put(item, "too slow" if item < 4 else "not connected")
    assert (len(reader.box), reader.lost) == (3, {"too slow": 1, "not connected": 1})
    reader.box.start(reader.work, "test")
    assert reader.box.close(LONG)
    assert reader.taken == [2, 3, 4]


def test_lanes_have_their_own_room_and_the_first_goes_first() -> None:
    reader = Reader(10, 2)
    for item in range(4):
        reader.box.put(item, lane=1)
        reader.box.put(10 + item)
    reader.box.start(reader.work, "test")
    assert reader.box.close(LONG)
    assert reader.taken == [10, 11, 12, 13, 2, 3]
    assert reader.lost == {"too slow": 2}


def test_what_does_not_count_is_lost_without_being_counted() -> None:
    reader = Reader(1, weigh=lambda item: item % 2)
    for item in (1, 2, 3, 4):
        reader.box.put(item)
    reader.box.lose_all("at the end")
    assert (len(reader.box), reader.lost) == (0, {"too slow": 2})


def test_an_item_that_is_not_due_is_waited_for() -> None:
    reader = Reader(3)
    due = {1: math.inf}
    found: list[int | None] = []
    thread = threading.Thread(target=lambda: found.append(reader.box.take(lambda item: due[item])))
    reader.box.put(1)
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    with reader.box.changed:
        due[1] = 0.0
        reader.box.changed.notify_all()
    thread.join(LONG)
    assert found == [1]


def test_an_item_becomes_due_by_itself() -> None:
    box: Mailbox[int] = Mailbox(1, lost=lambda reason, count: None)
    box.put(1)
    then = time.monotonic() + 0.1
    assert box.take(lambda item: then - time.monotonic()) == 1
    assert time.monotonic() >= then


def test_at_the_end_what_waits_is_taken_and_nothing_more_goes_in() -> None:
    reader = Reader(10)
    reader.held()
    for item in range(1, 4):
        reader.box.put(item)
    reader.box.end(LONG)
    reader.box.put(9)
    reader.gate.set()
    assert reader.box.close(LONG)
    assert (reader.taken, reader.lost) == ([0, 1, 2, 3], {"at the end": 1})


def test_what_waits_is_left_when_the_time_is_over() -> None:
    reader = Reader(10)
    reader.held()
    reader.box.put(1)
    assert not reader.box.close(0.0, longer=0.05)  # it stands still
    reader.gate.set()
    reader.box.lose_all("at the end")
    assert reader.lost == {"at the end": 1}


def test_the_end_comes_nearer_and_never_goes_away() -> None:
    box: Mailbox[int] = Mailbox(1, lost=lambda reason, count: None)
    assert (box.ending, box.time_left) == (False, math.inf)
    box.end(0.0)
    box.end(LONG)
    assert (box.ending, box.time_left) == (True, 0.0)
    box.put(1)
    assert box.take() is None


@pytest.mark.parametrize("into_the_end", [False, True])
def test_a_pause_that_the_end_has_no_time_for_ends_with_the_run(into_the_end: bool) -> None:
    box: Mailbox[int] = Mailbox(1, lost=lambda reason, count: None)
    over: list[bool] = []
    thread = threading.Thread(target=lambda: over.append(box.pause(100 * LONG, into_the_end)))
    thread.start()
    box.end(10 * LONG)
    thread.join(LONG)
    assert over == [True]  # there is time left for one more attempt


def test_a_pause_that_the_end_has_time_for_is_taken_where_that_is_asked_for() -> None:
    box: Mailbox[int] = Mailbox(1, lost=lambda reason, count: None)
    box.end(LONG)
    start = time.monotonic()
    assert box.pause(0.2, into_the_end=True)
    assert time.monotonic() - start >= 0.2


def test_after_a_pause_that_the_end_outran_there_is_no_time_left() -> None:
    box: Mailbox[int] = Mailbox(1, lost=lambda reason, count: None)
    box.end(0.0)
    assert not box.pause(LONG)


def test_settling_ends_when_it_is_done_or_the_time_is_over() -> None:
    box: Mailbox[int] = Mailbox(1, lost=lambda reason, count: None)
    box.settle(lambda: True)
    box.settle(lambda: False, seconds=0.01)
    box.end(0.01)
    box.settle(lambda: False)


def test_it_can_be_started_again() -> None:
    reader = Reader(2)
    for item in range(2):
        reader.box.start(reader.work, "test")
        reader.box.put(item)
        assert reader.box.close(LONG)
    assert reader.taken == [0, 1]
    assert not reader.box.started


@pytest.mark.parametrize("capacities", [(), (0,), (3, 0)])
def test_wrong_capacities(capacities: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="1 item or more"):
        Mailbox(*capacities, lost=lambda reason, count: None)
