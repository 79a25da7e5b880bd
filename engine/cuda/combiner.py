"""Work of many threads done together: flat combining (Hendler, Incze, Shavit, Tzafrir, SPAA 2010).

A thread that has work while another one is busy with such work leaves it in a list, and goes on; the other one does all
that is in the list in one go before it leaves. So nobody waits for company, and a thread that is alone is done at once.
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
        """why it could not be done"""

    def check(self) -> None:
        """Raises the error of a task that could not be done: a copy each time, since an exception carries the traceback
        of one thread."""
        if self.error is not None:
            raise copy(self.error)


SomeTask = TypeVar("SomeTask", bound=Task)


class Combiner(Generic[SomeTask]):
    """Gathers the tasks of threads that come at the same time. Any thread may call its methods."""

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
        """Tasks wait while the block lasts, and after it until `settle` or the next task. For tests and benchmarks."""
        return self._lock

    def add(self, task: SomeTask) -> None:
        """Does the task now, with all others that wait; or leaves it to the thread that is doing others, which does it
        next. Raises nothing of the task: ask `Task.check` once it is done."""
        self._waiting.append(task)
        # Whoever has the lock looks once more after he has let go of it, so that no task is forgotten.
        while self._waiting and self._lock.acquire(blocking=False):
            try:
                self._do_all()
            finally:
                self._lock.release()

    def settle(self) -> None:
        """Returns when all tasks that were added before are done."""
        with self._lock:
            self._do_all()

    def _do_all(self) -> None:
        """Does all tasks that wait."""
        tasks = list[SomeTask]()
        try:
            while self._waiting:
                tasks.append(self._waiting.popleft())
            if tasks:
                self._work(tasks)
        except BaseException as error:
            for task in tasks:
                if task.error is None:
                    task.error = copy(error)  # without its traceback, which would keep the task and all that it holds
            if not isinstance(error, Exception):
                raise  # an interruption of this thread
        finally:
            for task in tasks:
                task.done = True
