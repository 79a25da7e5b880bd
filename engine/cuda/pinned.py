"""Pinned memory of the host that is used again: for pictures on their way to a GPU and back."""

from __future__ import annotations

import ctypes
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .resources import CudaEvent

if TYPE_CHECKING:
    from .driver import Gpu


class PinnedSlot:
    """One array of a ring."""

    def __init__(self) -> None:
        self.array: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self.read: CudaEvent | None = None
        """until when the GPU reads it"""


class PinnedRing:
    """Arrays that are used in turn; each waits until the GPU has read it. For one thread at a time."""

    def __init__(self, gpu: Gpu, count: int) -> None:
        self._gpu = gpu
        self._turn = deque(PinnedSlot() for _ in range(count))

    @contextmanager
    def taken(self, size: int) -> Iterator[PinnedSlot]:
        """A slot whose array has `size` bytes or more. Within the block it is written to, its copy to the GPU is
        queued, and its `read` is set. Within `Gpu.entered`."""
        slot = self._turn.popleft()
        try:
            if slot.read is not None:
                slot.read.synchronize()  # returns at once, unless all the others are being copied too
            if slot.array.size < size:
                slot.array = self._gpu.pinned((size,))
            slot.read = None
            yield slot
        finally:
            if slot.read is None:  # after an error: a copy may have been queued, and nobody knows when it is done
                slot = PinnedSlot()
            self._turn.append(slot)


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
