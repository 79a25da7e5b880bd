"""What an output has yet to take, and the thread that takes it. Newest wins: nobody waits to put something in."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A bounded queue and its one reader, a thread. What there is no room for is lost, the oldest first, and counted.

    `end` begins the end: nothing more is taken in, and the reader gets what still waits for as long as there is time.
    """

    def __init__(
        self,
        *capacities: int,
        lost: Callable[[str, int], None],
        weigh: Callable[[T], int] = lambda item: 1,
    ) -> None:
        """capacities: items that wait at most, in each lane; the first lane's go first. lost: is told the reason and
        the number of items lost. weigh: what an item counts for in that number."""
        if not capacities or min(capacities) < 1:
            raise ValueError(f"each lane must hold 1 item or more, got {capacities}")
        self.changed = threading.Condition()
        """Held while the queue changes. Whoever changes what a reader's `due` depends on notifies it."""
        self._lanes: tuple[deque[T], ...] = tuple(deque() for _ in capacities)
        self._capacities, self._lost, self._weigh = capacities, lost, weigh
        self._deadline: float | None = None
        """monotonic seconds until which what waits is given out; None before the end"""
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """How many items wait now."""
        return sum(len(lane) for lane in self._lanes)

    @property
    def started(self) -> bool:
        """Whether it has a reader that was not joined."""
        return self._thread is not None

    @property
    def ending(self) -> bool:
        """Whether `end` was called."""
        return self._deadline is not None

    @property
    def time_left(self) -> float:
        """Seconds until what still waits is given up; inf before the end, never less than 0."""
        return math.inf if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def start(self, work: Callable[[], None], name: str) -> None:
        """Starts the reader: `work` calls `take` until that gives None. name: of the output."""
        self._deadline = None
        self._thread = threading.Thread(target=work, name=f"saliency-tubes {name[:40]}", daemon=True)
        self._thread.start()

    def put(self, item: T, otherwise: str = "too slow", lane: int = 0) -> None:
        """Adds an item. otherwise: why the oldest of its lane is lost, where there is no room."""
        with self.changed:
            if self.ending:
                self._lose("at the end", item)
                return
            queue = self._lanes[lane]
            if len(queue) == self._capacities[lane]:
                self._lose(otherwise, queue.popleft())
            queue.append(item)
            self.changed.notify_all()

    def take(self, due: Callable[[T], float] = lambda item: 0.0) -> T | None:
        """The next item, once there is one that is due. None: the end, with nothing left or no time left.

        due: seconds until the item at hand may be taken, inf while that depends on something else that changes; it is
        called with `changed` held.
        """
        with self.changed:
            while True:
                queue = next((lane for lane in self._lanes if lane), None)
                if self.ending and (queue is None or not self.time_left):
                    return None
                wait = math.inf if queue is None else due(queue[0])
                if queue is not None and wait <= 0:
                    return queue.popleft()
                self._wait(min(wait, self.time_left))

    def pause(self, seconds: float, into_the_end: bool = False) -> bool:
        """Waits, in the reader. False: there is no time left for anything more.

        It returns early when the end begins; into_the_end: only where the end leaves less time than the pause takes.
        """
        over = time.monotonic() + seconds
        with self.changed:
            self.changed.wait_for(
                lambda: self._deadline is not None and not (into_the_end and self._deadline > over),
                min(seconds, threading.TIMEOUT_MAX),
            )
        return self.time_left > 0

    def settle(self, done: Callable[[], bool], seconds: float = math.inf) -> None:
        """Waits until `done`, called with `changed` held, for so long or as long as the end leaves time."""
        with self.changed:
            left = min(seconds, self.time_left)
            self.changed.wait_for(done, None if left == math.inf else left)

    def end(self, seconds: float) -> None:
        """Begins the end, or brings it nearer: what waits is given out for so many seconds at most."""
        with self.changed:
            deadline = time.monotonic() + seconds
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
            self.changed.notify_all()

    def close(self, drain: float, longer: float = math.inf) -> bool:
        """Ends within `drain` seconds, and waits for the reader, `longer` beyond them. False: it is not back."""
        thread, self._thread = self._thread, None
        self.end(drain)
        if thread is None:
            return True
        thread.join(None if longer == math.inf else drain + longer)
        return not thread.is_alive()

    def lose_all(self, reason: str) -> None:
        """Whatever waits is lost."""
        with self.changed:
            left = [item for lane in self._lanes for item in lane]
            for lane in self._lanes:
                lane.clear()
            self._lose(reason, *left)

    def _lose(self, reason: str, *items: T) -> None:
        count = sum(self._weigh(item) for item in items)
        if count:
            self._lost(reason, count)

    def _wait(self, seconds: float) -> None:
        self.changed.wait(None if seconds == math.inf else min(seconds, threading.TIMEOUT_MAX))
