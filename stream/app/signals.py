"""Handles signals also while a library keeps the main thread: Python's own handlers run only when it returns."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from ...engine.errors import unforeseen
from ..telemetry.log import say


@contextmanager
def leaving_at(count: int, numbers: Sequence[int]) -> Iterator[None]:
    """While the block lasts, the process ends at once when it gets the `count`th of these signals. For the main thread.

    Its exit code is 128 + the signal's number, and nothing is finished. For the signals before, handlers run as usual.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wait() -> None:
        heard = 0
        while received := os.read(reading, 1):  # empty: the other end is closed
            heard += received[0] in numbers
            if heard >= count:
                os._exit(128 + received[0])

    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = threading.Thread(target=wait, name="saliency-tubes signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        os.close(writing)
        thread.join()
        os.close(reading)


@contextmanager
def calling_at_sighup(work: Callable[[], None] | None) -> Iterator[None]:
    """While the block lasts, SIGHUP calls `work`, in a thread of its own, because a handler may interrupt anything,
    such as a line of the log. None: the signal has its usual effect. For the main thread.
    """
    if work is None:
        yield
        return
    asked: SimpleQueue[bool] = SimpleQueue()  # the only queue that may be used in handlers that interrupt each other

    def wait() -> None:
        while asked.get():
            try:
                work()
            except Exception as error:  # the next signal must still be heard
                say("reload", f"failed: {unforeseen(error)}", level=logging.ERROR)

    thread = threading.Thread(target=wait, name="saliency-tubes reload", daemon=True)
    previous = signal.signal(signal.SIGHUP, lambda number, frame: asked.put(True))
    thread.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)
        asked.put(False)
        thread.join()
