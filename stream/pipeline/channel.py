"""A queue of limited length between threads, which can be ended and stopped from outside."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The pipeline is being stopped: raised in threads that wait at a channel."""


class Channel(Generic[T]):
    """First in, first out, at most `capacity` items, from one writer or several.

    If it is full, the writer waits; with `newest_wins` the oldest item is dropped instead, and counted in `dropped`.
    """

    def __init__(self, capacity: int, newest_wins: bool = False, writers: int = 1) -> None:
        if capacity < 1 or writers < 1:
            raise ValueError(f"capacity and writers must be 1 or more, got {capacity}, {writers}")
        self.dropped = 0
        self._items: deque[T] = deque()
        self._capacity, self._newest_wins = capacity, newest_wins
        self._changed = threading.Condition()
        self._writers = writers
        self._stopped = False

    def put(self, item: T) -> None:
        """Adds an item. Raises Stopped when the channel is stopped."""
        with self._changed:
            if self._newest_wins and len(self._items) == self._capacity:
                self._items.popleft()
                self.dropped += 1
            self._changed.wait_for(lambda: self._stopped or len(self._items) < self._capacity)
            if self._stopped:
                raise Stopped
            self._items.append(item)
            self._changed.notify_all()

    def newest(self, item: T) -> T:
        """`item`, or the newest of those that came meanwhile; the older ones are dropped and counted."""
        with self._changed:
            if self._items:
                self.dropped += len(self._items)
                item = self._items[-1]
                self._items.clear()
                self._changed.notify_all()
            return item

    def __len__(self) -> int:
        """How many items wait now."""
        return len(self._items)

    @property
    def ended(self) -> bool:
        """Whether every writer is done."""
        return self._writers <= 0

    def end(self) -> None:
        """One writer is done. After the last one, readers get the items there are, then leave their loops."""
        with self._changed:
            self._writers -= 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Raises Stopped in every thread that waits here, now or later."""
        with self._changed:
            self._stopped = True
            self._items.clear()  # nobody gets them any more: what they hold is let go
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yields items until the channel ends. Raises Stopped when it is stopped."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._writers <= 0 or bool(self._items))
                if self._stopped:
                    raise Stopped
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
