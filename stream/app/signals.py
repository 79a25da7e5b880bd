"""Signals that are heard while a library keeps the main thread: Python's own handlers wait until it comes back."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def leaving_at(count: int, numbers: Sequence[int]) -> Iterator[None]:
    """In the main thread, while the block lasts: the process ends at once when it gets so many of these signals.

    Its exit code is 128 + the signal's number, and nothing is finished. Handlers run as ever for those before.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wait() -> None:
        heard = 0
        while received := os.read(reading, 1):  # nothing: the other end is closed
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
