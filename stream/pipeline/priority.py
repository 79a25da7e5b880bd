"""Who waits for whom on a busy machine: the network for the picture, which must leave in time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

NICENESS = 5
"""of threads that may wait: beside one of niceness 0 they get a quarter of a core that both want"""


def step_back() -> None:
    """Lets other threads go before this one, and before those it starts from now on. Does nothing but on Linux."""
    with suppress(AttributeError, OSError):  # no such call, or not allowed
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def made_behind(make: Callable[[], T]) -> T:
    """What `make` gives, made in a thread that stepped back: a runtime's own threads start there, and stay behind."""
    with ThreadPoolExecutor(1, "saliency-tubes loading", initializer=step_back) as pool:
        return pool.submit(make).result()
