"""A queue of items for an output, and the thread that takes them. Adding never waits: the oldest items are dropped."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue of limited length and its reader, a thread. If it is full, the oldest item is dropped and counted.

    After `end` nothing more is accepted, and the reader gets the items that still wait, as long as there is time.
    """

    def __init__(
        self,
        *capacities: int,
        lost: Callable[[str, int], None],
        weigh: Callable[[T], int] = lambda item: 1,
    ) -> None:
        """capacities: maximum number of items in each lane; those of the first lane are taken first. lost: called with
        the reason and the number of dropped items. weigh: how much an item counts in that number."""
        if not capacities or min(capacities) < 1:
            raise ValueError(f"each lane must hold 1 item or more, got {capacities}")
        self.changed = threading.Condition()
        """Held while the queue changes. To be notified when something changes that a reader's `due` depends on."""
        self._lanes: tuple[deque[T], ...] = tuple(deque() for _ in capacities)
        self._capacities, self._lost, self._weigh = capacities, lost, weigh
        self._deadline: float | None = None
        """monotonic time until which waiting items are given out; None before `end`"""
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        """Number of items that wait now."""
        return sum(len(lane) for lane in self._lanes)

    @property
    def started(self) -> bool:
        """Whether the reader was started and not yet joined."""
        return self._thread is not None

    @property
    def ending(self) -> bool:
        """Whether `end` was called."""
        return self._deadline is not None

    @property
    def time_left(self) -> float:
        """Seconds until the waiting items are given up; inf before `end`, never less than 0."""
        return math.inf if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def start(self, work: Callable[[], None], name: str) -> None:
        """Starts the reader: `work` calls `take` until that returns None. name: of the output."""
        self._deadline = None
        self._thread = threading.Thread(target=work, name=f"saliency-tubes {name[:40]}", daemon=True)
        self._thread.start()

    def put(self, item: T, otherwise: str = "too slow", lane: int = 0) -> None:
        """Adds an item. otherwise: the reason if the lane's oldest item is dropped for it."""
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
        """The next item, as soon as one is due. None: after `end`, no items or no time are left.

        due: seconds until an item may be taken; inf while that depends on something else. Called with `changed` held.
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
        """Waits, in the reader. Returns False if no time is left.

        It returns early after `end`; with into_the_end only if less time is left than the pause takes.
        """
        over = time.monotonic() + seconds
        with self.changed:
            self.changed.wait_for(
                lambda: self._deadline is not None and not (into_the_end and self._deadline > over),
                min(seconds, threading.TIMEOUT_MAX),
            )
        return self.time_left > 0

    def settle(self, done: Callable[[], bool], seconds: float = math.inf) -> None:
        """Waits until `done()`, which is called with `changed` held, at most for `seconds` or the time left after
        `end`."""
        with self.changed:
            left = min(seconds, self.time_left)
            self.changed.wait_for(done, None if left == math.inf else left)

    def end(self, seconds: float) -> None:
        """Accepts no more items, and gives out the waiting ones for so many seconds at most; an earlier end stays."""
        with self.changed:
            deadline = time.monotonic() + seconds
            self._deadline = deadline if self._deadline is None else min(deadline, self._deadline)
            self.changed.notify_all()

    def close(self, drain: float, longer: float = math.inf) -> bool:
        """Ends within `drain` seconds, and waits for the reader, for `longer` seconds more. False: it has not
        returned."""
        thread, self._thread = self._thread, None
        self.end(drain)
        if thread is None:
            return True
        thread.join(None if longer == math.inf else drain + longer)
        return not thread.is_alive()

    def lose_all(self, reason: str) -> None:
        """Drops all items that wait."""
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
