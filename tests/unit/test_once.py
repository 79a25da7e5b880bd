"""Values that are made once for a key, whoever else asks meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from saliency_tubes.engine.cuda.once import Once
from waiting import LONG


def test_a_value_is_made_once_and_who_asks_for_another_does_not_wait():
    once, begun, go_on, made = Once[str, str](), threading.Event(), threading.Event(), list[str]()

    def slow() -> str:
        begun.set()
        assert go_on.wait(LONG)
        made.append("slow")
        return "slow"

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(once.get, "slow", slow) for _ in range(3)]
        assert begun.wait(LONG)
        assert pool.submit(once.get, "quick", lambda: "quick").result(LONG) == "quick"
        assert not any(one.done() for one in waiting)
        go_on.set()
        assert [one.result(LONG) for one in waiting] == ["slow"] * 3
    assert made == ["slow"]
    assert len(once) == 2


def test_an_error_is_the_makers_and_the_next_one_tries_itself():
    once, begun, go_on = Once[str, int](), threading.Event(), threading.Event()

    def fails() -> int:
        begun.set()
        assert go_on.wait(LONG)
        raise ValueError("no")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(once.get, "key", fails)
        assert begun.wait(LONG)
        second = pool.submit(once.get, "key", lambda: 7)
        go_on.set()
        with pytest.raises(ValueError, match="no"):
            first.result(LONG)
        assert second.result(LONG) == 7
    assert once.get("key", lambda: 8) == 7


def test_the_oldest_are_trimmed_but_those_that_are_pinned():
    once = Once[int, int]()
    once.get(0, lambda: 0, pin=True)
    for number in range(1, 6):
        once.get(number, lambda number=number: number)
    once.get(1, lambda: -1)  # which is asked for again, and is the newest now
    once.trim(3)
    assert [once.get(number, lambda: -1) for number in (0, 1, 5, 2)] == [0, 1, 5, -1]
    assert once.clear() == [0, 1, 5, -1]
    once.get(0, lambda: 9)
    once.trim(0)
    assert len(once) == 0
