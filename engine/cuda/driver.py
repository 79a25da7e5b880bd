"""The driver's side of the CUDA kernels: programs, memory and launches on a GPU, through NVIDIA's cuda-bindings.

engine/runtimes/device.py has another, simpler `Gpu` for TensorRT, with one stream and memory that lives as long as it
does. Here work is queued on the callers' streams, and memory is allocated and freed as needed.
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
"""Maximum number of arrays on the GPU that are kept for later frames."""
SLOTS = 8
"""Maximum number of uploads in progress; the next one waits for the oldest."""


def why_not(index: int = 0) -> str | None:
    """One line that says why the kernels cannot run here; None if they can."""
    device = find_device(index)
    if isinstance(device, str):
        return device
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
    """One GPU's primary context, which torch, cupy and TensorRT use too. It is made current for the time of a call.

    For one thread at a time. Raises UsageError where `why_not` names a reason, ModelError with CUDA's own message where
    CUDA fails. `close` frees everything.
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
        device = find_device(index)
        assert isinstance(device, Device)  # otherwise why_not has named the reason
        return device

    @property
    def architecture(self) -> int:
        return int(self.device.compute_capability.replace(".", ""))

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Makes the GPU current for the calling thread while the block lasts; afterwards the previous one is again."""
        if self._context is None:
            raise UsageError("the GPU was given back: close was called")
        self._given(self._cuda.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            self._cuda.cuCtxPopCurrent()

    def function(self, program: str, name: str) -> Any:
        """A kernel of kernels/PROGRAM.cu. Call this, and all methods below, within `entered`."""
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
        """arguments: for each parameter of the kernel an array of one element; copied before this returns."""
        addresses = np.array([argument.ctypes.data for argument in arguments], np.uint64)
        self._given(self._cuda.cuLaunchKernel(function, *grid, *block, 0, stream, addresses.ctypes.data, 0))

    def allocate(self, size: int) -> int:
        pointer = int(self._given(self._cuda.cuMemAlloc(size)))
        self._memory.add(pointer)
        return pointer

    def upload(self, array: npt.NDArray[Any], stream: int) -> View:
        """A copy of the array on the GPU, complete when this returns; the caller owns it."""
        array = np.ascontiguousarray(array)
        pointer = self.allocate(array.nbytes)
        self.write(pointer, array, stream)
        self.wait(stream)  # the next reader may be on another stream
        return View(pointer, array.shape, contiguous(array.dtype, array.shape), array.dtype, device=self.device.index)

    def write(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """Queues a copy of a contiguous array. The array may be changed as soon as this returns."""
        self._given(self._cuda.cuMemcpyHtoDAsync(pointer, array.ctypes.data, array.nbytes, stream))

    def read(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """Fills an array from the GPU."""
        self._given(self._cuda.cuMemcpyDtoHAsync(array.ctypes.data, pointer, array.nbytes, stream))
        self.wait(stream)

    def wait(self, stream: int) -> None:
        self._given(self._cuda.cuStreamSynchronize(stream))

    def kept(self, key: Hashable, make: Callable[[], npt.NDArray[Any]], stream: int) -> View:
        """The array on the GPU for this key, uploaded now if it was not before. It lives until a later `trim`."""
        if key not in self._kept:
            self._kept[key] = self.upload(make(), stream)
        self._kept.move_to_end(key)
        return self._kept[key]

    def trim(self) -> None:
        """Frees the least recently used arrays if more than MOST_KEPT are kept. To be called before a draw collects the
        arrays that it needs, so that none of those is freed."""
        if len(self._kept) > MOST_KEPT:
            self._given(self._cuda.cuCtxSynchronize())  # queued launches may still read the arrays
            while len(self._kept) > MOST_KEPT // 2:
                self.free(self._kept.popitem(last=False)[1].pointer)

    @contextmanager
    def staged(self, data: bytes, stream: int) -> Iterator[int]:
        """The address on the GPU of a copy of `data`, for kernels launched on the stream within the block. Waits only
        if SLOTS uploads are in progress."""
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
        self._given(self._cuda.cuEventSynchronize(slot.event))  # returns at once if the event was never recorded
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
        """Waits for the GPU and frees everything. Errors of a GPU that has failed before are ignored."""
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
    """Memory for one upload, and the event of its last use."""

    def __init__(self, event: Any) -> None:
        self.event = event
        self.pointer = self.size = 0


def scalar(value: Any, kind: str) -> npt.NDArray[Any]:
    """A kernel's parameter as an array of one element. kind: "u8" for a pointer, "i4" for an int."""
    return np.array([value], kind)
