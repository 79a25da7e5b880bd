"""What a GPU lends: events, streams and memory. `driver.Gpu` makes them.

They may become garbage in any thread and at any moment, also within a call of the driver. So none of them then calls
CUDA: each puts what it holds into a queue, from which the `Gpu` takes it when it next needs some.
"""

from __future__ import annotations

import ctypes
import weakref
from collections import deque
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import ModelError

if TYPE_CHECKING:
    from types import ModuleType

_NOT_READY = 600
"""CUDA_ERROR_NOT_READY, cuda.h"""


def given(cuda: Any, result: tuple[Any, ...]) -> Any:
    """What a function of cuda.bindings.driver returned beside its status code: None, one value, or a tuple of several.
    Raises ModelError with CUDA's message if that code is not 0."""
    if result[0]:
        _, text = cuda.cuGetErrorString(result[0])
        raise ModelError(f"the GPU says: {text.decode() if text else f'error {int(result[0])}'}")
    count = len(result)
    return None if count == 1 else result[1] if count == 2 else result[1:]


class Moment(Protocol):
    """A moment in the work of a stream: a `CudaEvent`, or one of work that waits to be queued."""

    @property
    def handle(self) -> Any:
        """CUDA's own. Raises ModelError for work that was refused."""
        ...

    @property
    def stream(self) -> int:
        """`Stream.number` of the stream that it is recorded on"""
        ...

    @property
    def refused(self) -> bool:
        """Whether the work could not be queued, so that there is nothing to wait for."""
        ...

    def done(self) -> bool:
        """Whether the stream has come this far, or never will. Raises ModelError if its work has failed."""
        ...

    def synchronize(self) -> None:
        """Waits until the stream has come this far. Raises ModelError if its work was refused or has failed."""
        ...


class CudaEvent:
    """A moment in the work of a stream. A thread that waits for it sleeps. It returns to its GPU when it is garbage."""

    __slots__ = ("_cuda", "_spare", "handle", "stream")
    refused = False

    def __init__(self, cuda: ModuleType, spare: deque[Any], stream: int) -> None:
        self.stream = stream
        """`Stream.number` of the stream that it is recorded on; another library's stream has a new number each time"""
        self._cuda: Any = cuda
        self._spare = spare
        try:
            self.handle = spare.pop()
        except IndexError:
            self.handle = given(cuda, self._cuda.cuEventCreate(_BLOCKING_SYNC | _DISABLE_TIMING))

    def done(self) -> bool:
        """Whether the stream has come this far. Raises ModelError if its work has failed."""
        result = self._cuda.cuEventQuery(self.handle)
        if int(result[0]) == _NOT_READY:
            return False
        given(self._cuda, result)
        return True

    def synchronize(self) -> None:
        """Waits until the stream has come this far. Raises ModelError if its work has failed."""
        given(self._cuda, self._cuda.cuEventSynchronize(self.handle))

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._spare.append(self.handle)


_BLOCKING_SYNC, _DISABLE_TIMING = 1, 2
"""CU_EVENT_BLOCKING_SYNC: a waiting thread sleeps, where by default it would keep a core busy. CU_EVENT_DISABLE_TIMING.
cuda.h"""


class Lender(Protocol):
    """What streams and memory need of a `driver.Gpu`."""

    cuda: Any
    dropped: deque[tuple[str, int, list[Moment]]]

    def entered(self) -> Any: ...

    def record(self, stream: int, number: int | None = ...) -> CudaEvent: ...


NUMBERS = count(1)
"""of streams. CUDA gives the handle of a stream that is closed to another one, a number is never given again."""


class Stream:
    """A queue of work on a GPU, which waits for no other stream by itself. Its methods are called within `Gpu.entered`,
    but `close`."""

    def __init__(self, gpu: Lender, raw: Any) -> None:
        self._gpu, self._raw = gpu, raw
        self.handle = int(raw)
        """the address of CUDA's own object"""
        self.number = next(NUMBERS)

    def wait(self, event: Moment | None) -> None:
        """Lets what is queued from now on wait for the event, on the GPU: this returns at once. None: for nothing; so
        is an event of this stream, which works in order."""
        if event is None:
            return
        handle = event.handle  # work that waits to be queued is queued by this, also on this stream
        if event.stream != self.number:
            given(self._gpu.cuda, self._gpu.cuda.cuStreamWaitEvent(self.handle, handle, 0))

    def record(self) -> CudaEvent:
        """The moment at which all that is queued so far is done."""
        return self._gpu.record(self.handle, self.number)

    def synchronize(self) -> None:
        """Waits until all that is queued so far is done. Raises ModelError if some of it failed."""
        self.record().synchronize()

    def close(self) -> None:
        """Destroys the stream once its work is done; this does not wait for it."""
        raw, self._raw = self._raw, None
        if raw is not None:
            with self._gpu.entered():
                self._gpu.cuda.cuStreamDestroy(raw)


class Memory:
    """Memory on a GPU. It is freed by `close`, or some time after it has become garbage."""

    def __init__(self, gpu: Lender, pointer: int, size: int) -> None:
        self._gpu = gpu
        self.pointer, self.size = pointer, size
        """address; bytes"""
        self._uses: list[Moment] = []

    def used_until(self, event: Moment) -> None:
        """Says that work which ends at the event uses this memory: it is not freed before."""
        if len(self._uses) >= _MOST_USES:
            with suppress(ModelError):  # then all are kept: whoever waits for them is told
                self._uses = [use for use in self._uses if not use.done()]
        self._uses.append(event)

    def close(self) -> None:
        """Waits for the events of `used_until`, and frees the memory. Where a wait fails it is freed when it is
        garbage."""
        if not self.pointer:
            return
        with self._gpu.entered():
            for use in self._uses:
                use.synchronize()
            pointer, self.pointer = self.pointer, 0
            if pointer:  # no other thread was faster
                given(self._gpu.cuda, self._gpu.cuda.cuMemFree(pointer))

    def __del__(self) -> None:
        if self.pointer:
            self._gpu.dropped.append(("cuMemFree", self.pointer, self._uses))


def pinned_array(gpu: Lender, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
    """An array of zeros in memory of the host that the GPU can copy by itself, while the CPU does something else.

    It is freed some time after the array and all its views have become garbage, and after all that is queued by then.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    address = int(given(gpu.cuda, gpu.cuda.cuMemHostAlloc(size, _PORTABLE)))
    memory = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(memory, gpu.dropped.append, ("cuMemFreeHost", address, []))
    array = np.frombuffer(memory, dtype).reshape(shape)
    array[...] = 0
    return array


_MOST_USES = 8
"""Events of memory that are kept before those that have passed are left out."""
_PORTABLE = 1
"""CU_MEMHOSTALLOC_PORTABLE: pinned for every GPU, cuda.h"""
