"""Values that are made once for each key, by the first thread that asks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Once(Generic[Key, Value]):
    """A value is made outside of any lock: threads that ask for the same key wait for it, and all others do not. If
    making it fails, the error goes to the thread that made it, and the next one tries itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: OrderedDict[Key, Value] = OrderedDict()
        self._making: dict[Key, threading.Event] = {}
        self._pinned: set[Key] = set()

    def __len__(self) -> int:
        return len(self._made)

    def get(self, key: Key, make: Callable[[], Value], *, pin: bool = False) -> Value:
        """The key's value. pin: it is never trimmed."""
        while True:
            with self._lock:
                if key in self._made:
                    self._made.move_to_end(key)
                    if pin:
                        self._pinned.add(key)
                    return self._made[key]
                other = self._making.get(key)
                if other is None:
                    mine = self._making[key] = threading.Event()
            if other is None:
                return self._make(key, make, mine, pin)
            other.wait()

    def trim(self, most: int) -> None:
        """Drops values that were not asked for for longest, and are not pinned, until `most` are left."""
        with self._lock:
            old = [key for key in self._made if key not in self._pinned]
            dropped = [self._made.pop(key) for key in old[: max(0, len(self._made) - most)]]
        del dropped  # without the lock, since they may do something when they end

    def clear(self) -> list[Value]:
        """Drops all values, and returns them."""
        with self._lock:
            values = list(self._made.values())
            self._made.clear()
            self._pinned.clear()
        return values

    def _make(self, key: Key, make: Callable[[], Value], mine: threading.Event, pin: bool) -> Value:
        try:
            value = make()
            with self._lock:
                self._made[key] = value
                if pin:
                    self._pinned.add(key)
            return value
        finally:
            with self._lock:
                del self._making[key]
            mine.set()
