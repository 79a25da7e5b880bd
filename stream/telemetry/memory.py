"""The process's memory over weeks: what nobody uses any more is found, and goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ARENAS = 2
"""pools that all threads allocate from"""
TIDY_EVERY = 5.0
"""seconds: what lies free in between is all that resident memory wanders by. It takes one or two milliseconds, and
fifteen the first time"""
_M_ARENA_MAX = -8
"""glibc's name for the setting, in malloc.h"""


@contextmanager
def kept_small(every: float = TIDY_EVERY) -> Iterator[None]:
    """While the block lasts. To be entered before threads are started.

    Python looks for reference cycles after so many new objects. In a steady run as many go as come, and it never looks:
    a decoded frame in a cycle, which counts as five objects and weighs as much as a picture, stays for good. So it is
    made to look, now and then, at what is younger than the first time.

    glibc would give each thread a pool of its own, up to eight a core. A frame is allocated in one thread and freed in
    another, and encoders come and go with every segment: pools fill with holes, one after the other, over hours, and
    grow as if there were a leak. So there are few of them, and their holes are given back. Other libraries are left
    alone.
    """
    trim = _few_pools()
    done = threading.Event()

    def work() -> None:
        while not done.wait(every):
            gc.collect()
            if not gc.get_freeze_count():
                gc.freeze()  # modules and functions, for the most part: to look through them takes the longest
            trim()

    thread = threading.Thread(target=work, name="saliency-tubes memory", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        gc.unfreeze()


class _Mallinfo(ctypes.Structure):
    """glibc's struct mallinfo2: bytes, but for those that count."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated_bytes() -> float:
    """What malloc has given out and not got back: resident memory without the holes, which come and go by megabytes.

    Python's own small objects lie elsewhere. nan where the C library does not say (glibc before 2.33, others).
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return math.nan
    library.mallinfo2.restype = _Mallinfo
    told = library.mallinfo2()
    return float(told.uordblks + told.hblkhd)


def _few_pools() -> Callable[[], object]:
    """Sets how many there are; what gives their holes back."""
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        return lambda: None
    library.mallopt(_M_ARENA_MAX, ARENAS)
    return lambda: library.malloc_trim(0)
