"""A GPU by way of NVIDIA's cuda-bindings: its context, streams, memory, programs and launches.

Everything in this project that uses a GPU uses it through the one `Gpu` of that index.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, suppress
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelError, UsageError
from ..runtimes.device import Device, find_device
from .memory import View, contiguous
from .once import Once
from .program import INSTALL, build, load_nvrtc
from .resources import NUMBERS, CudaEvent, Memory, Moment, Stream, given, pinned_array
from .staging import Staging

MOST_KEPT = 512
"""Maximum number of arrays on the GPU that are kept for later frames."""
LEGACY_STREAM, PER_THREAD_STREAM = 1, 2
"""CUDA's two default streams as handles: CU_STREAM_LEGACY, which 0 means too, and CU_STREAM_PER_THREAD."""


def why_not(index: int = 0) -> str | None:
    """One line that says why the kernels cannot run here; None if they can."""
    device = find_device(index)
    if isinstance(device, str):
        return device
    try:
        _bindings()
        load_nvrtc()
    except UsageError as error:
        return str(error)
    return None


def _bindings() -> Any:
    """The module cuda.bindings.driver. Raises UsageError, in one line, if it is not installed."""
    try:
        return import_module("cuda.bindings.driver")
    except Exception as error:  # not installed, or for another CUDA than this driver's
        wrong = "are not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        raise UsageError(f"NVIDIA's cuda-bindings {wrong}: {INSTALL}") from None


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


class Gpu:
    """A GPU's primary context, which torch, cupy and TensorRT use too. `of` opens it.

    Any thread may call any method; those that take or give work, memory or events are called within `entered`. Raises
    ModelError with CUDA's own message where CUDA fails.
    """

    @classmethod
    def of(cls, index: int = 0) -> Gpu:
        """The GPU of that number, from 0, opened now if this process has not used it before.

        It stays open: others rely on the same context. Raises UsageError, in one line, where `why_not` names a reason.
        """
        with _OPENING:
            if index not in GPUS:
                GPUS[index] = cls(index)
            return GPUS[index]

    def __init__(self, index: int) -> None:
        """For `of` alone."""
        reason = why_not(index)
        if reason is not None:
            raise UsageError(f"GPU {index} cannot be used: {reason}")
        device = find_device(index)
        assert isinstance(device, Device)  # otherwise why_not has named the reason
        self.cuda: Any = _bindings()
        self.device = device
        self.dropped: deque[tuple[str, int, list[Moment]]] = deque()
        """memory that is garbage, to be freed: the function that does, the address, the events to wait for"""
        self._spare: deque[Any] = deque()
        self._modules = Once[str, Any]()
        self._functions: dict[tuple[str, str], Any] = {}
        self._kept = Once[Hashable, View]()
        """pinned are those that a CUDA graph reads"""
        self._staging = Staging(self)
        self._given(self.cuda.cuInit(0))
        handle = self._given(self.cuda.cuDeviceGet(index))
        self._context: Any = self._given(self.cuda.cuDevicePrimaryCtxRetain(handle))
        attribute = self.cuda.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED
        self._entered = _Entered(self.cuda, self._context)
        self.integrated = bool(self._given(self.cuda.cuDeviceGetAttribute(attribute, handle)))
        """whether it has no memory of its own but uses the host's, as a Jetson does"""

    @property
    def name(self) -> str:
        """cuda:0"""
        return f"cuda:{self.device.index}"

    @property
    def architecture(self) -> int:
        """87 for compute capability 8.7"""
        return int(self.device.compute_capability.replace(".", ""))

    def entered(self) -> AbstractContextManager[None]:
        """Makes the GPU current for the calling thread while the block lasts; afterwards the previous one is again."""
        return self._entered

    # Streams and events

    def stream(self, priority: str = "low") -> Stream:
        """A new stream. priority: high, whose kernels start before those that wait on other streams, or low."""
        least, greatest = self._given(self.cuda.cuCtxGetStreamPriorityRange())
        chosen = {"low": least, "high": greatest}[priority]
        return Stream(self, self._given(self.cuda.cuStreamCreateWithPriority(_NON_BLOCKING, chosen)))

    def record(self, stream: int, number: int | None = None) -> CudaEvent:
        """The moment at which all that is queued on a stream so far is done. number: `Stream.number`, if it is one of
        ours."""
        event = CudaEvent(self.cuda, self._spare, next(NUMBERS) if number is None else number)
        self._given(self.cuda.cuEventRecord(event.handle, stream))
        return event

    def wait(self, stream: int) -> None:
        """Waits until all that is queued on a stream so far is done; the thread sleeps."""
        self.record(stream).synchronize()

    def follow(self, view: View, stream: int) -> None:
        """Lets the stream wait for the work that makes an array of another library's, on the GPU: this returns at once.

        An array says of itself on which stream that is: `stream` of `__cuda_array_interface__`; by DLPack its library
        does the waiting. For an array that says nothing, its work must be queued before on the same stream.
        """
        if view.dlpack is not None:
            view.dlpack.__dlpack__(stream=stream or LEGACY_STREAM)
        elif view.stream is not None and view.stream != (stream or LEGACY_STREAM):
            event = self.record(view.stream)
            self._given(self.cuda.cuStreamWaitEvent(stream, event.handle, 0))

    # Memory

    def memory_left(self) -> tuple[int, int]:
        """Bytes of the GPU's memory that are free, and all of them."""
        free, total = self._given(self.cuda.cuMemGetInfo())
        return int(free), int(total)

    def allocate(self, size: int) -> Memory:
        """New memory of `size` bytes."""
        self.collect()
        return Memory(self, int(self._given(self.cuda.cuMemAlloc(size))), size)

    def pinned(self, shape: tuple[int, ...], dtype: Any = np.uint8) -> npt.NDArray[Any]:
        """A new array of zeros in the host's memory that the GPU can copy by itself."""
        self.collect()
        return pinned_array(self, shape, dtype)

    def collect(self) -> None:
        """Frees memory that is garbage and no longer used."""
        waiting, synchronized = [], False
        try:
            while self.dropped:
                try:
                    waiting.append(self.dropped.popleft())
                except IndexError:  # another thread took it
                    break
                free, pointer, uses = waiting[-1]
                if not all(use.done() for use in uses):
                    continue
                if not uses and not synchronized:  # nobody has said what still uses it
                    self._given(self.cuda.cuCtxSynchronize())
                    synchronized = True
                waiting.pop()
                self._given(getattr(self.cuda, free)(pointer))
        finally:  # also after an error that passes, as while a graph is captured
            self.dropped.extend(waiting)

    def send(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """Queues a copy to the GPU. array: of `pinned`, contiguous, and unchanged until the copy is done."""
        self._given(self.cuda.cuMemcpyHtoDAsync(pointer, array.ctypes.data, array.nbytes, stream))

    def fetch(self, array: npt.NDArray[Any], pointer: int, stream: int) -> None:
        """Queues a copy to the host. array: of `pinned`, contiguous, and not read until the copy is done."""
        self._given(self.cuda.cuMemcpyDtoHAsync(array.ctypes.data, pointer, array.nbytes, stream))

    def write(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """Queues a copy to the GPU of any array, which may be changed as soon as this returns."""
        self._staging.write(pointer, array, stream)

    def read(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """Fills any array from the GPU, and waits for that."""
        self._staging.read(pointer, array, stream)

    def staged(self, data: bytes, stream: int) -> AbstractContextManager[int]:
        """The address on the GPU of a copy of `data`, for kernels launched on the stream within the block. Waits only
        if many uploads are in progress."""
        return self._staging.staged(data, stream)

    def upload(self, array: npt.NDArray[Any], stream: int) -> View:
        """A copy of the array on the GPU, complete when this returns, which lives as long as the view."""
        array = np.ascontiguousarray(array)
        memory = self.allocate(array.nbytes)
        self.write(memory.pointer, array, stream)
        self.wait(stream)  # the next reader may be on another stream
        strides = contiguous(array.dtype, array.shape)
        return View(memory.pointer, array.shape, strides, array.dtype, device=self.device.index, owner=memory)

    def kept(self, key: Hashable, make: Callable[[], npt.NDArray[Any]], stream: int) -> View:
        """The array on the GPU for this key, uploaded now if it was not before; other keys do not wait for that.

        It lives as long as the view, so hold that until what reads the array is queued; and until a later `trim`, if it
        is not read by a CUDA graph that is being captured. Raises ModelError if it had to be uploaded for such a graph.
        """
        captured = self.is_capturing(stream)

        def made() -> View:
            if captured:
                raise ModelError("a graph is being captured: draw one such frame before, so that its tables exist")
            return self.upload(make(), stream)

        return self._kept.get(key, made, pin=captured)

    def trim(self) -> None:
        """Drops the least recently used arrays if more than MOST_KEPT are kept, but none that a graph reads."""
        if len(self._kept) <= MOST_KEPT:
            return
        self._kept.trim(MOST_KEPT // 2)
        self.collect()

    def is_capturing(self, stream: int) -> bool:
        """Whether a CUDA graph is made of what is queued on the stream, instead of doing it."""
        if stream in (0, LEGACY_STREAM):  # which cannot be captured, and must not be asked while another one is
            return False
        return bool(int(self._given(self.cuda.cuStreamIsCapturing(stream))))

    # Programs

    def function(self, program: str, name: str) -> Any:
        """A kernel of kernels/PROGRAM.cu, compiled now if it was not before; only who asks for the same program waits
        for that."""
        found = self._functions.get((program, name))
        if found is None:
            module = self._modules.get(program, lambda: self._loaded(program))
            made = self._given(self.cuda.cuModuleGetFunction(module, name.encode()))
            found = self._functions.setdefault((program, name), made)  # of several threads', the first one's
        return found

    def _loaded(self, program: str) -> Any:
        return self._given(self.cuda.cuModuleLoadData(build(program, self.architecture)))

    def launch(
        self,
        function: Any,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: Arguments,
        stream: int,
    ) -> None:
        """Queues a kernel. The arguments are copied before this returns."""
        self._given(self.cuda.cuLaunchKernel(function, *grid, *block, 0, stream, arguments.pointer, 0))

    def clear(self) -> None:
        """Waits for the GPU and frees what is kept here, and what is garbage; what is needed again is made again.

        For tests, and for programs that are done with the GPU. Errors of a GPU that has failed before are ignored.
        """
        self._kept.clear()
        self._staging.clear()
        self._functions.clear()
        with suppress(ModelError), self.entered():
            self.cuda.cuCtxSynchronize()
            for module in self._modules.clear():
                self.cuda.cuModuleUnload(module)
            self.collect()  # which gives events back
            while self._spare:
                self.cuda.cuEventDestroy(self._spare.pop())

    def _given(self, result: tuple[Any, ...]) -> Any:
        return given(self.cuda, result)


class _Entered(AbstractContextManager[None]):
    """`Gpu.entered`. It keeps nothing, so that one serves all blocks; a generator would cost each frame more than the
    two calls."""

    def __init__(self, cuda: Any, context: Any) -> None:
        self._cuda, self._context = cuda, context

    def __enter__(self) -> None:
        given(self._cuda, self._cuda.cuCtxPushCurrent(self._context))

    def __exit__(self, *_: object) -> None:
        self._cuda.cuCtxPopCurrent()


GPUS: dict[int, Gpu] = {}
"""The GPUs that this process has opened. Their primary contexts are never given back: TensorRT and others use the same
ones, and the last release destroys what all of them have there."""
_OPENING = threading.Lock()
_NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: such a stream does not wait for the default one, cuda.h"""


class Arguments:
    """The parameters of a kernel: an array for each, with the bytes of one. They may be changed between launches."""

    def __init__(self, *parameters: npt.NDArray[Any]) -> None:
        self._parameters = parameters
        self._addresses = np.array([parameter.ctypes.data for parameter in parameters], np.uint64)
        self.pointer = int(self._addresses.ctypes.data)
        """the address of their addresses, as `cuLaunchKernel` takes it"""
