"""Work of many threads done together: flat combining (Hendler, Incze, Shavit, Tzafrir, SPAA 2010).

A thread that has work while another one is busy with such work leaves it in a list; the thread whose turn is next does
all that is in the list in one go. So nobody waits for company, and a thread that is alone is done at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from copy import copy
from typing import Generic, TypeVar


class Task:
    """One thread's work."""

    __slots__ = ("done", "error")

    def __init__(self) -> None:
        self.done = False
        self.error: BaseException | None = None
        """why it could not be done; it is raised in the thread whose task this is"""


SomeTask = TypeVar("SomeTask", bound=Task)


class Combiner(Generic[SomeTask]):
    """Gathers the tasks of threads that come at the same time. Any thread may call `do`."""

    def __init__(self, work: Callable[[Sequence[SomeTask]], None]) -> None:
        """work: does all of these tasks, in the order in which they came, and sets `error` of those that it could not
        do; what it raises itself is the error of all of them that have none. One thread at a time calls it."""
        self._work = work
        self._lock = threading.Lock()
        self._waiting = deque[SomeTask]()

    @property
    def waiting(self) -> int:
        """Number of tasks that nobody has begun."""
        return len(self._waiting)

    def busy(self) -> AbstractContextManager[object]:
        """Tasks wait while the block lasts, as if this thread were doing others. For tests and benchmarks."""
        return self._lock

    def do(self, task: SomeTask) -> None:
        """Returns when the task is done, by this thread or by another one. Raises the task's own error, never that of
        another task."""
        self._waiting.append(task)
        try:
            with self._lock:
                if not task.done:  # else who had the lock has done it
                    self._do_all()
        finally:
            if not task.done:  # the thread was interrupted while it waited
                self._forget(task)
        if task.error is not None:
            try:
                raise task.error
            finally:
                task.error = None  # else the error, by its traceback, would keep itself and the task

    def _do_all(self) -> None:
        """Does all tasks that wait: each thread has one at most, so there is an end to them."""
        tasks = list[SomeTask]()
        try:
            while self._waiting:
                tasks.append(self._waiting.popleft())
            self._work(tasks)
        except BaseException as error:
            for task in tasks:
                if task.error is None:
                    task.error = copy(error)  # a copy each: an exception carries the traceback of one thread
        finally:
            for task in tasks:
                task.done = True

    def _forget(self, task: SomeTask) -> None:
        try:
            self._waiting.remove(task)
        except ValueError:  # another thread has just taken it
            return
