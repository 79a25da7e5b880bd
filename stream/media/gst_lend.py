"""GStreamer's buffers, lent to pictures on a GPU without a copy, and given back when the GPU is done with them."""

from __future__ import annotations

import ctypes
from collections import deque
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from ...engine.errors import ModelError

if TYPE_CHECKING:
    from ...engine.cuda.driver import Gpu
    from ...engine.cuda.resources import Moment

READ, WRITE, CUDA = 1, 2, 1 << 17
"""GST_MAP_READ, GST_MAP_WRITE, GST_MAP_CUDA"""


class _Map(ctypes.Structure):
    """GstMapInfo, gst/gstmemory.h"""

    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("maxsize", ctypes.c_size_t),
        ("user_data", ctypes.c_void_p * 4),
        ("reserved", ctypes.c_void_p * 4),
    )


@cache
def _core() -> Any:
    """GStreamer's own functions: those of its Python binding would copy what they map, from wherever it lies."""
    library = ctypes.CDLL("libgstreamer-1.0.so.0")
    library.gst_memory_map.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Map), ctypes.c_int)
    library.gst_memory_unmap.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Map))
    return library


class Lent:
    """A mapped GstBuffer. It goes back when this is garbage and all work on the memory is done."""

    def __init__(self, gpu: Gpu, buffer: Any, flags: int, home: deque[_Held]) -> None:
        """Raises ValueError for a buffer that cannot be mapped."""
        self._held = None
        mapped = _Map()
        if not _core().gst_memory_map(hash(buffer.peek_memory(0)), ctypes.byref(mapped), flags):
            raise ValueError("a buffer of GStreamer's cannot be mapped")
        self.address = int(mapped.data)
        """of the mapped memory; on the GPU if the flags say so"""
        self.scarce = False
        """whether few of its kind are left: a copy should be taken, and this given back"""
        self._held, self._home = _Held(gpu, buffer, mapped), home

    def used(self, event: Moment) -> None:
        """Says that work which ends at the event uses the memory."""
        assert self._held is not None
        self._held.uses.append(event)

    def __del__(self) -> None:  # in any thread, at any time, so that nothing is called here
        if self._held is not None:
            self._home.append(self._held)


class _Held:
    def __init__(self, gpu: Gpu, buffer: Any, mapped: _Map) -> None:
        self.gpu, self.buffer = gpu, buffer
        self.mapped: _Map | None = mapped
        self.uses: list[Moment] = []

    def unmap(self) -> None:
        mapped, self.mapped = self.mapped, None
        if mapped is not None:
            _core().gst_memory_unmap(hash(self.buffer.peek_memory(0)), ctypes.byref(mapped))

    def wait(self) -> None:
        """Within `Gpu.entered`."""
        for use in self.uses:
            use.synchronize()

    def __del__(self) -> None:  # of a pipeline that is gone, which frees the memory as soon as it has it
        if self.mapped is not None:
            with suppress(ModelError), self.gpu.entered():  # of a GPU that has failed, nothing works on it any more
                self.wait()
            self.unmap()


class BufferLender:
    """Lends the buffers of one pipeline to pictures on one GPU."""

    def __init__(self, gpu: Gpu, few: int | None = None) -> None:
        """few: the number of buffers that the pipeline has, which waits when all are lent; None: it makes more."""
        self._gpu, self._few = gpu, few
        self._home: deque[_Held] = deque()
        self._out = 0
        """number of buffers that are lent"""

    def lend(self, buffer: Any, flags: int) -> Lent:
        """Maps the buffer's only memory. Raises ValueError where that cannot be."""
        self.collect()
        lent = Lent(self._gpu, buffer, flags, self._home)
        self._out += 1
        lent.scarce = self._few is not None and self._out > self._few // 2
        return lent

    def collect(self, wait: bool = False) -> None:
        """Gives those buffers back that nobody uses. wait: also those that the GPU still works on."""
        if not self._home:
            return
        with self._gpu.entered():
            for _ in range(len(self._home)):
                held = self._home.popleft()
                if wait:
                    held.wait()
                elif not all(use.done() for use in held.uses):
                    self._home.append(held)
                    continue
                held.unmap()
                self._out -= 1
