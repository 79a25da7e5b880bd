"""Pinned memory of the host that is used again: for pictures on their way to a GPU and back."""

from __future__ import annotations

import ctypes
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .resources import CudaEvent

if TYPE_CHECKING:
    from .driver import Gpu


class PinnedRing:
    """Arrays that are used in turn; each waits until the GPU has read it. For one thread at a time."""

    def __init__(self, gpu: Gpu, count: int) -> None:
        self._gpu = gpu
        self._turn: deque[tuple[npt.NDArray[np.uint8], CudaEvent | None]] = deque(
            (np.empty(0, np.uint8), None) for _ in range(count)
        )

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """`size` bytes or more to be written to, and then given to `reading`. Within `Gpu.entered`."""
        array, read = self._turn.popleft()
        if read is not None:
            read.synchronize()  # returns at once, unless all the others are being copied too
        return array if array.size >= size else self._gpu.pinned((size,))

    def reading(self, array: npt.NDArray[np.uint8], until: CudaEvent) -> None:
        """Says that the GPU reads the array until the event."""
        self._turn.append((array, until))


class PinnedArrays:
    """Arrays that are lent until they and all views of them are garbage. Any thread may take and drop them."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._kept: tuple[int, deque[npt.NDArray[np.uint8]]] = (0, deque())
        """the size in bytes of the arrays that nobody has, and those"""

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """`size` bytes. Within `Gpu.entered`."""
        kept, free = self._kept
        if size != kept:  # pictures of another size: those of the old one are let go
            free = deque()
            self._kept = (size, free)
        try:
            array = free.popleft()
        except IndexError:
            array = self._gpu.pinned((size,))
        # NumPy's views refer to the first object that is no array: this one, whose end is the end of them all.
        holder: Any = (ctypes.c_ubyte * size).from_address(array.ctypes.data)
        weakref.finalize(holder, free.append, array)
        return np.frombuffer(holder, np.uint8)
