"""The process's memory over weeks: what nobody uses any more goes back to the system."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ARENAS = 2
"""pools that all threads allocate from"""
TRIM_EVERY = 30.0
"""seconds; one takes about a millisecond, and no longer than three were seen"""
_M_ARENA_MAX = -8
"""glibc's name for the setting, in malloc.h"""


@contextmanager
def kept_small(every: float = TRIM_EVERY) -> Iterator[None]:
    """While the block lasts. To be entered before threads are started; does nothing where there is no glibc.

    glibc would give each thread a pool of its own, up to eight a core. A frame is allocated in one thread and freed in
    another, and encoders come and go with every segment: pools fill with holes, one after the other, over hours, and
    grow as if there were a leak. So there are few of them, and their holes are given back now and then.
    """
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    library.mallopt(_M_ARENA_MAX, ARENAS)
    done = threading.Event()

    def work() -> None:
        while not done.wait(every):
            library.malloc_trim(0)

    thread = threading.Thread(target=work, name="saliency-tubes memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
