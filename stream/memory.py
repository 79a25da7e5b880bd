"""The process's memory over weeks."""

from __future__ import annotations

import ctypes
from contextlib import suppress

ARENAS = 2
"""pools that all threads allocate from"""
_M_ARENA_MAX = -8
"""glibc's name for the setting, in malloc.h"""


def share_arenas() -> None:
    """Lets threads share a few pools of memory, before they are started. Does nothing where the C library is not glibc.

    It would give each thread its own, up to eight a core, and every one keeps what it held at its highest. A frame is
    allocated in one thread and freed in another: the pools fill up one after the other, over hours, as a leak does.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)
