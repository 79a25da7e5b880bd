"""Keeps the process's memory small over weeks: finds what nobody uses any more, and returns it to the system."""

from __future__ import annotations

import ctypes
import gc
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ARENAS = 2
"""Number of malloc's pools that all threads share."""
TIDY_EVERY = 5.0
"""Seconds between two clean-ups. Resident memory grows in between by what is freed. A clean-up takes one or two
milliseconds, and fifteen the first time."""
_M_ARENA_MAX = -8
"""M_ARENA_MAX of glibc's malloc.h."""


@contextmanager
def kept_small(every: float = TIDY_EVERY) -> Iterator[None]:
    """Cleans up memory every `every` seconds while the block lasts. Enter it before any thread is started.

    Python looks for reference cycles when the number of objects has grown enough. In a steady run it does not grow, so
    Python never looks, and a decoded frame in a cycle, which counts as five objects and has the size of a picture, is
    never freed. So Python is made to look now and then, at the objects that were made after the first time.

    glibc would give each thread a pool of its own, up to eight for each core. A frame is allocated in one thread and
    freed in another, and encoders come and go with every segment. So over hours the pools fill with holes, one after
    the other, and grow as if there were a leak. Therefore the number of pools is limited, and free memory in them is
    returned to the system. With other C libraries than glibc nothing is changed.
    """
    trim = _few_pools()
    done = threading.Event()

    def work() -> None:
        while not done.wait(every):
            gc.collect()
            if not gc.get_freeze_count():
                gc.freeze()  # mostly modules and functions; looking through them takes the longest
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
    """glibc's struct mallinfo2: bytes, but for the fields that are counts."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def allocated_bytes() -> float:
    """Bytes that were allocated by malloc and not freed: resident memory without the holes, which vary by megabytes.

    Python's own small objects are not included. nan if the C library does not tell (glibc before 2.33, others).
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        return math.nan
    library.mallinfo2.restype = _Mallinfo
    told = library.mallinfo2()
    return float(told.uordblks + told.hblkhd)


def _few_pools() -> Callable[[], object]:
    """Sets the number of pools. Returns a function that returns their free memory to the system."""
    library = ctypes.CDLL(None)
    if not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        return lambda: None
    library.mallopt(_M_ARENA_MAX, ARENAS)
    return lambda: library.malloc_trim(0)
