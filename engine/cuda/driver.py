"""The driver's side of the CUDA kernels: programs, memory and launches on a GPU, through NVIDIA's cuda-bindings.

Beside engine/runtimes/device.py, whose `Gpu` is TensorRT's: here work goes on streams of others, and memory comes and
goes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..runtimes.device import Device, find_device, given
from .memory import View, contiguous
from .program import INSTALL, build, load_nvrtc

MOST_KEPT = 512
"""arrays on the GPU that are kept for the next frame"""
SLOTS = 8
"""uploads that may be under way before one is waited for"""


def why_not(index: int = 0) -> str | None:
    """In one line, why the kernels cannot run here; None where they can."""
    found = find_device(index)
    if isinstance(found, str):
        return found
    try:
        import_module("cuda.bindings.driver")
        load_nvrtc()
    except UsageError as error:
        return str(error)
    except Exception as error:
        return f"NVIDIA's cuda-bindings cannot be loaded ({error}): {INSTALL}"
    return None


def stream_of(stream: Any) -> int:
    """The handle of a stream: an int, or an object with `__cuda_stream__` (cuda.core, cupy), `cuda_stream` (torch) or
    `handle`. 0, or None, is the default stream. TypeError for anything else."""
    if stream is None:
        return 0
    if hasattr(stream, "__cuda_stream__"):
        told = stream.__cuda_stream__
        return int((told() if callable(told) else told)[1])
    for name in ("cuda_stream", "handle"):
        if hasattr(stream, name):
            return int(getattr(stream, name))
    if isinstance(stream, bool) or not hasattr(stream, "__int__"):
        raise TypeError(f"a stream must be an int or have __cuda_stream__, got {type(stream).__name__}")
    return int(stream)


class Driver:
    """One GPU's primary context, which torch, cupy and TensorRT use too; made the thread's own for each call only.

    For one thread at a time. Raises UsageError where `why_not` has something to say, ModelError with CUDA's own words
    where CUDA fails. `close` gives everything back.
    """

    def __init__(self, index: int = 0) -> None:
        reason = why_not(index)
        if reason is not None:
            raise UsageError(f"the CUDA overlay cannot run: {reason}")
        self.device = self._find(index)
        self._cuda: Any = import_module("cuda.bindings.driver")
        self._modules: dict[str, Any] = {}
        self._functions: dict[str, Any] = {}
        self._kept: OrderedDict[Hashable, View] = OrderedDict()
        self._slots: list[_Slot] = []
        self._turn = 0
        self._memory: set[int] = set()
        self._given(self._cuda.cuInit(0))
        self._handle = self._given(self._cuda.cuDeviceGet(index))
        self._context: Any = self._given(self._cuda.cuDevicePrimaryCtxRetain(self._handle))

    @staticmethod
    def _find(index: int) -> Device:
        found = find_device(index)
        assert isinstance(found, Device)  # or why_not had said why
        return found

    @property
    def architecture(self) -> int:
        return int(self.device.compute_capability.replace(".", ""))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within it the GPU is the calling thread's; what was the thread's before is so again after it."""
        if self._context is None:
            raise UsageError("the GPU was given back: close was called")
        self._given(self._cuda.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            self._cuda.cuCtxPopCurrent()

    def function(self, program: str, name: str) -> Any:
        """A kernel of kernels/PROGRAM.cu. Within `entered`, as all that follows."""
        if name not in self._functions:
            if program not in self._modules:
                self._modules[program] = self._given(self._cuda.cuModuleLoadData(build(program, self.architecture)))
            self._functions[name] = self._given(self._cuda.cuModuleGetFunction(self._modules[program], name.encode()))
        return self._functions[name]

    def launch(
        self,
        function: Any,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Sequence[npt.NDArray[Any]],
        stream: int,
    ) -> None:
        """arguments: an array of one element for each parameter; they are copied before this returns."""
        addresses = np.array([argument.ctypes.data for argument in arguments], np.uint64)
        self._given(self._cuda.cuLaunchKernel(function, *grid, *block, 0, stream, addresses.ctypes.data, 0))

    def allocate(self, size: int) -> int:
        pointer = int(self._given(self._cuda.cuMemAlloc(size)))
        self._memory.add(pointer)
        return pointer

    def upload(self, array: npt.NDArray[Any], stream: int) -> View:
        """An array of one's own on the GPU, complete when this returns."""
        array = np.ascontiguousarray(array)
        pointer = self.allocate(array.nbytes)
        self.write(pointer, array, stream)
        self.wait(stream)  # another stream may be the next to read it
        return View(pointer, array.shape, contiguous(array.dtype, array.shape), array.dtype, device=self.device.index)

    def write(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """Queues a copy of an array without gaps. The driver copies it first: the array is free when this returns."""
        self._given(self._cuda.cuMemcpyHtoDAsync(pointer, array.ctypes.data, array.nbytes, stream))

    def read(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """Fills an array from the GPU."""
        self._given(self._cuda.cuMemcpyDtoHAsync(array.ctypes.data, pointer, array.nbytes, stream))
        self.wait(stream)

    def wait(self, stream: int) -> None:
        self._given(self._cuda.cuStreamSynchronize(stream))

    def kept(self, key: Hashable, make: Callable[[], npt.NDArray[Any]], stream: int) -> View:
        """An array that was uploaded before, or is now; it lives until a later `trim`."""
        if key not in self._kept:
            self._kept[key] = self.upload(make(), stream)
        self._kept.move_to_end(key)
        return self._kept[key]

    def trim(self) -> None:
        """Frees the least lately used of what is kept, where there is more than MOST_KEPT. Before a call collects what
        it needs, so that nothing of that can go."""
        if len(self._kept) > MOST_KEPT:
            self._given(self._cuda.cuCtxSynchronize())  # a queued launch may still read them
            while len(self._kept) > MOST_KEPT // 2:
                self.free(self._kept.popitem(last=False)[1].pointer)

    @contextmanager
    def staged(self, data: bytes, stream: int) -> Iterator[int]:
        """The address on the GPU of some bytes, for what is launched on the stream within. Not waited for but where
        SLOTS of them are under way."""
        if not data:
            yield 0
            return
        slot = self._slot(len(data))
        self.write(slot.pointer, np.frombuffer(data, np.uint8), stream)
        try:
            yield slot.pointer
        finally:
            self._given(self._cuda.cuEventRecord(slot.event, stream))

    def _slot(self, size: int) -> _Slot:
        if len(self._slots) < SLOTS:
            self._slots.append(_Slot(self._given(self._cuda.cuEventCreate(_NO_TIMING))))
        slot = self._slots[self._turn % len(self._slots)]
        self._turn += 1
        self._given(self._cuda.cuEventSynchronize(slot.event))  # never recorded: nothing to wait for
        if slot.size < size:
            if slot.size:
                self.free(slot.pointer)
                slot.size = 0
            slot.pointer, slot.size = self.allocate(size), size
        return slot

    def free(self, pointer: int) -> None:
        self._memory.discard(pointer)
        self._given(self._cuda.cuMemFree(pointer))

    def close(self) -> None:
        """Waits for the GPU and gives everything back. What a GPU that has failed says to that is of no use."""
        if self._context is None:
            return
        cuda = self._cuda
        cuda.cuCtxPushCurrent(self._context)
        cuda.cuCtxSynchronize()
        for slot in self._slots:
            cuda.cuEventDestroy(slot.event)
        for pointer in self._memory:
            cuda.cuMemFree(pointer)
        for module in self._modules.values():
            cuda.cuModuleUnload(module)
        cuda.cuCtxPopCurrent()
        cuda.cuDevicePrimaryCtxRelease(self._handle)
        for held in (self._memory, self._slots, self._kept, self._modules, self._functions):
            held.clear()
        self._context = None

    def _given(self, result: tuple[Any, ...]) -> Any:
        return given(self._cuda, result)


_NO_TIMING = 2
"""CU_EVENT_DISABLE_TIMING, cuda.h"""


class _Slot:
    """Memory for one upload, and when it was last read."""

    def __init__(self, event: Any) -> None:
        self.event = event
        self.pointer = self.size = 0


def scalar(value: Any, kind: str) -> npt.NDArray[Any]:
    """A kernel's parameter: pointer "u8", int "i4"."""
    return np.array([value], kind)
