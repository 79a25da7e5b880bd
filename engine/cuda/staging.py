"""Copies between any memory of the host and the GPU, by way of pinned memory.

CUDA copies in the background from and to pinned memory only: from any other it may read after the call has returned, or
keep the caller waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .resources import CudaEvent, Memory

SLOTS = 8
"""Maximum number of uploads in progress; the next one waits for the oldest."""


class Copier(Protocol):
    """What is needed of a `driver.Gpu`."""

    def allocate(self, size: int) -> Memory: ...

    def pinned(self, shape: tuple[int, ...], dtype: Any = ...) -> npt.NDArray[Any]: ...

    def send(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None: ...

    def fetch(self, array: npt.NDArray[Any], pointer: int, stream: int) -> None: ...

    def record(self, stream: int) -> CudaEvent: ...


class _Slot:
    """Memory for one copy, and the event of its last use."""

    def __init__(self) -> None:
        self.host: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        """pinned"""
        self.memory: Memory | None = None
        self.used: CudaEvent | None = None

    def filled(self, array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """The pinned bytes of an array."""
        part = self.host[: array.nbytes]
        part.view(array.dtype).reshape(array.shape)[...] = array
        return part


class Staging:
    """Pinned memory for copies, used in turn. Any thread may use it."""

    def __init__(self, gpu: Copier) -> None:
        self._gpu = gpu
        self._slots: deque[_Slot] = deque()

    def write(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """As `Gpu.write`."""
        slot = self._take(array.nbytes, on_gpu=False)
        self._gpu.send(pointer, slot.filled(array), stream)
        self._give(slot, stream)

    def read(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """As `Gpu.read`."""
        slot = self._take(array.nbytes, on_gpu=False)
        found = slot.host[: array.nbytes]
        self._gpu.fetch(found, pointer, stream)
        slot.used = self._gpu.record(stream)
        slot.used.synchronize()
        array[...] = found.view(array.dtype).reshape(array.shape)
        self._slots.append(slot)

    @contextmanager
    def staged(self, data: bytes, stream: int) -> Iterator[int]:
        """As `Gpu.staged`."""
        if not data:
            yield 0
            return
        slot = self._take(len(data), on_gpu=True)
        assert slot.memory is not None
        self._gpu.send(slot.memory.pointer, slot.filled(np.frombuffer(data, np.uint8)), stream)
        try:
            yield slot.memory.pointer
        finally:
            self._give(slot, stream)

    def clear(self) -> None:
        self._slots.clear()

    def _take(self, size: int, on_gpu: bool) -> _Slot:
        """A slot that nobody uses, of that size or more."""
        slot = _Slot()
        with suppress(IndexError):  # there is none, or another thread took it
            oldest = self._slots[0].used
            if len(self._slots) >= SLOTS or (oldest is not None and oldest.done()):
                slot = self._slots.popleft()
                if slot.used is not None:
                    slot.used.synchronize()
        if slot.host.size < size:
            slot.host = self._gpu.pinned((size,))
        if on_gpu and (slot.memory is None or slot.memory.size < size):
            slot.memory = self._gpu.allocate(size)
        return slot

    def _give(self, slot: _Slot, stream: int) -> None:
        slot.used = self._gpu.record(stream)
        self._slots.append(slot)
