"""The newest few arrays of one kind on a GPU, each sent there once, for what a `FrameQueue` draws."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .frames import FrameQueue
    from .resources import CudaEvent, Memory

Note = TypeVar("Note")
_SMALLEST = 4096
"""bytes of a slot's memory"""


class _Slot(Generic[Note]):
    """Memory on the host and on the GPU for one array."""

    host: npt.NDArray[np.uint8]
    """pinned"""
    memory: Memory
    key: object
    note: Note
    copied: CudaEvent


class Uploads(Generic[Note]):
    """Keeps the `count` arrays that were asked for last. For one thread at a time.

    All that reads them must be given to `frames`: a slot is written again behind it, so nothing waits. Only if the
    copy of `count` arrays ago is still not done does the host wait for it. Memory is asked for when an array is larger
    than all before it, and otherwise not.
    """

    def __init__(self, frames: FrameQueue, count: int) -> None:
        self._frames, self._gpu, self._stream, self._count = frames, frames.gpu, frames.stream, count
        self._slots = OrderedDict[int, _Slot[Note]]()
        self._capacity = _SMALLEST
        self._outgrown = list[npt.NDArray[np.uint8]]()
        """pinned memory that became too small: to free it, the GPU would have to be waited for"""

    def find(self, key: object, make: Callable[[], tuple[npt.NDArray[Any], Note]]) -> tuple[int, Note]:
        """The address of the array that belongs to the object `key`, and what is noted of it.

        make: gives both where they are not there. It is the object that counts and not what it equals.
        """
        slot = self._slots.get(id(key))
        if slot is None:
            with self._gpu.entered():
                slot = self._sent(key, *make())
        else:
            self._slots.move_to_end(id(key))
        return slot.memory.pointer, slot.note

    def _sent(self, key: object, array: npt.NDArray[Any], note: Note) -> _Slot[Note]:
        slot = self._slots.popitem(last=False)[1] if len(self._slots) == self._count else None
        if slot is not None:
            self._frames.settle()  # what reads the slot may still wait to be queued
        if slot is not None and not slot.copied.done():
            slot.copied.synchronize()
        while self._capacity < array.nbytes:
            self._capacity *= 2
        if slot is None or slot.memory.size < array.nbytes:
            self._drop(slot)
            slot = _Slot()
            slot.host, slot.memory = self._gpu.pinned((self._capacity,)), self._gpu.allocate(self._capacity)
        part = slot.host[: array.nbytes]
        part.view(array.dtype)[...] = array.ravel()
        self._gpu.send(slot.memory.pointer, part, self._stream.handle)
        slot.key, slot.note, slot.copied = key, note, self._stream.record()  # the key is held: its id stays its own
        self._slots[id(key)] = slot
        return slot

    def _drop(self, slot: _Slot[Note] | None) -> None:
        if slot is not None:
            slot.memory.used_until(self._stream.record())
            self._outgrown.append(slot.host)

    def close(self) -> None:
        """Gives the memory back once the stream has done what is queued. To be called within `Gpu.entered`."""
        self._frames.settle()
        while self._slots:
            self._drop(self._slots.popitem()[1])
        self._outgrown.clear()
