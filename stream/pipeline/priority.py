"""Priorities of threads: on a busy machine the network waits, because the picture must leave in time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

NICENESS = 5
"""Niceness of threads that may wait. Such a thread gets a quarter of a core that a thread of niceness 0 wants too."""


def step_back() -> None:
    """Lowers the priority of this thread and of those it starts from now on, unless it is as low already. Does nothing
    on systems but Linux."""
    with suppress(AttributeError, OSError):  # the system has no such call, or does not allow it
        own = threading.get_native_id()
        if os.getpriority(os.PRIO_PROCESS, own) < NICENESS:
            os.setpriority(os.PRIO_PROCESS, own, NICENESS)


def made_behind(make: Callable[[], T]) -> T:
    """Calls `make` in a thread of lower priority and returns its result. Threads that a runtime starts there inherit
    the priority."""
    with ThreadPoolExecutor(1, "saliency-tubes loading", initializer=step_back) as pool:
        return pool.submit(make).result()
