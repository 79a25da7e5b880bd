"""Work of many threads that is done together: nothing is lost, a thread's work keeps its order, errors go to their
owner."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.cuda.combiner import Combiner, Task

SOON = 20
"""seconds after which a thread that hangs is a failure"""


class Numbered(Task):
    __slots__ = ("bad", "number", "owner")

    def __init__(self, owner: int, number: int, bad: bool = False) -> None:
        super().__init__()
        self.owner, self.number, self.bad = owner, number, bad


class Worker:
    """Does tasks, and keeps what it was given."""

    def __init__(self, breaks: int = 0) -> None:
        """breaks: every so many rounds the work as a whole fails."""
        self.rounds: list[list[tuple[int, int]]] = []
        self._breaks, self._inside = breaks, threading.Lock()

    def __call__(self, tasks: Sequence[Numbered]) -> None:
        assert self._inside.acquire(blocking=False), "two threads work at the same time"
        try:
            self.rounds.append([(task.owner, task.number) for task in tasks])
            for task in tasks:
                if task.bad:
                    task.error = ValueError(task.owner, task.number)
            if self._breaks and len(self.rounds) % self._breaks == 0:
                raise OSError(len(self.rounds))
        finally:
            self._inside.release()


def together(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert not any(thread.is_alive() for thread in threads)


@settings(max_examples=60, deadline=None)
@given(plans=st.lists(st.lists(st.booleans(), max_size=8), min_size=1, max_size=8), breaks=st.sampled_from([0, 2, 3]))
def test_each_is_done_once_in_its_threads_order_and_is_told_its_own_error(plans: list[list[bool]], breaks: int) -> None:
    """plans: for each thread, which of its tasks cannot be done."""
    worker = Worker(breaks)
    combiner, given = Combiner(worker), list[Numbered]()

    def stream(owner: int, plan: list[bool]) -> None:
        for number, bad in enumerate(plan):
            task = Numbered(owner, number, bad)
            combiner.add(task)
            if number % 2:
                combiner.settle()
                assert task.done
            given.append(task)

    together([threading.Thread(target=stream, args=each) for each in enumerate(plans)])
    done = [task for tasks in worker.rounds for task in tasks]
    assert sorted(done) == [(owner, number) for owner, plan in enumerate(plans) for number in range(len(plan))]
    for owner in range(len(plans)):
        assert [number for other, number in done if other == owner] == list(range(len(plans[owner])))
    round_of = {task: index for index, tasks in enumerate(worker.rounds, 1) for task in tasks}
    assert len(given) == len(done)
    assert all(task.done for task in given), "a task is forgotten"
    errors = list[BaseException]()
    for task in given:
        owner, number, error = task.owner, task.number, None
        try:
            task.check()
        except (ValueError, OSError) as told:
            error = told
            errors.append(told)
        at = round_of[owner, number]
        broken = breaks > 0 and at % breaks == 0
        expected = (owner, number) if plans[owner][number] else (at,) if broken else None
        assert (None if error is None else error.args) == expected
    assert len({id(error) for error in errors}) == len(errors), "threads share an exception"


def test_those_that_come_while_another_works_do_not_wait_and_are_done_in_one_go() -> None:
    entered, go_on = threading.Event(), threading.Event()
    rounds: list[int] = []

    def work(tasks: Sequence[Numbered]) -> None:
        rounds.append(len(tasks))
        if len(rounds) == 1:
            entered.set()
            assert go_on.wait(SOON)

    combiner = Combiner(work)
    first = threading.Thread(target=combiner.add, args=(Numbered(0, 0),))
    first.start()
    assert entered.wait(SOON)
    others = [Numbered(owner, 0) for owner in range(1, 9)]
    together([threading.Thread(target=combiner.add, args=(task,)) for task in others])
    assert combiner.waiting == len(others)
    go_on.set()
    first.join(SOON)
    assert rounds == [1, 8]
    assert all(task.done for task in others)


def test_a_thread_that_is_alone_works_at_once() -> None:
    worker = Worker()
    combiner = Combiner(worker)
    for number in range(3):
        combiner.add(Numbered(0, number))
    assert worker.rounds == [[(0, 0)], [(0, 1)], [(0, 2)]]


def test_an_interruption_is_told_to_all_and_leaves_nothing_behind() -> None:
    """As of Ctrl-C in the thread that works for others."""

    def work(tasks: Sequence[Numbered]) -> None:
        raise KeyboardInterrupt

    combiner = Combiner(work)
    for _ in range(2):
        task = Numbered(0, 0)
        with pytest.raises(KeyboardInterrupt):
            combiner.add(task)
        with pytest.raises(KeyboardInterrupt):
            task.check()
    assert combiner.waiting == 0
