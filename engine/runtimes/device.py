"""Finds the GPU, and allocates memory on it.

Only the driver's own library is asked which GPU there is: without a driver some of TensorRT's objects end the process,
so none of them may be created to find out. Memory comes from the driver too, through NVIDIA's `cuda-bindings`. Every
driver since CUDA 11 has the functions that are used here, so the bindings need not have the driver's version.
"""

from __future__ import annotations

import ctypes
import math
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ModelError, UsageError

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
INSTALL = "pip install cuda-bindings (where the driver is of CUDA 12, as in JetPack 6: 'cuda-bindings<13')"
# CUdevice_attribute, cuda.h
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True)
class Device:
    """A GPU."""

    name: str
    compute_capability: str
    """ "8.7" """
    index: int = 0
    """its number among the GPUs that CUDA shows, which CUDA_VISIBLE_DEVICES selects"""


def find_device(index: int = 0, driver: str = DRIVER) -> Device | str:
    """The GPU, or in a few words why there is none."""
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        return f"no NVIDIA driver ({driver} was not found)"
    device, count, major, minor = (ctypes.c_int() for _ in range(4))
    name = ctypes.create_string_buffer(_NAME_BYTES)
    steps = (
        ("cuInit", (0,)),
        ("cuDeviceGetCount", (ctypes.byref(count),)),
        ("cuDeviceGet", (ctypes.byref(device), index)),
        ("cuDeviceGetName", (name, _NAME_BYTES, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(major), _MAJOR, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(minor), _MINOR, device)),
    )
    for function, arguments in steps:
        if function == "cuDeviceGet" and 0 < count.value <= index:
            return f"no GPU {index}: there are {count.value}, counted from 0"
        code = getattr(cuda, function)(*arguments)
        if code:
            return f"no GPU that the NVIDIA driver can use ({function} gave error {code})"
    return Device(name.value.decode(errors="replace"), f"{major.value}.{minor.value}", index)


@dataclass(frozen=True, eq=False)
class Buffer:
    """Memory for one tensor on the host (pinned, so that the GPU can copy it by itself) and on the GPU."""

    host: npt.NDArray[Any]
    pointer: int
    """its address on the GPU"""


class Gpu:
    """A GPU's primary context, which TensorRT, CUDA's runtime and cuda.core use too, with one stream and its memory.

    For one thread at a time, which calls `enter` first. Create it only after `find_device` found a GPU. Raises
    UsageError if cuda-bindings is not installed, ModelError with CUDA's own message where CUDA fails.
    """

    def __init__(self, index: int) -> None:
        try:
            self._cuda: Any = import_module("cuda.bindings.driver")
        except Exception as error:  # not installed, or for another CUDA than this driver's
            wrong = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
            raise UsageError(f"a plan needs NVIDIA's cuda-bindings, which {wrong}: {INSTALL}") from None
        cuda = self._cuda
        self._buffers: list[Buffer] = []
        self._stream: Any = None
        self._given(cuda.cuInit(0))
        self._device = self._given(cuda.cuDeviceGet(index))
        self._context = self._given(cuda.cuDevicePrimaryCtxRetain(self._device))
        try:
            self.enter()
            self._stream = self._given(cuda.cuStreamCreate(cuda.CUstream_flags.CU_STREAM_NON_BLOCKING.value))
        except ModelError:
            self.close()
            raise

    @property
    def stream(self) -> int:
        """The handle of the stream that all copies go through."""
        return int(self._stream)

    def enter(self) -> None:
        """Makes this GPU current for the calling thread."""
        self._given(self._cuda.cuCtxSetCurrent(self._context))

    def allocate(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        """Memory for a tensor, filled with zeros on the host; it lives until `close`."""
        cuda, size = self._cuda, math.prod(shape) * np.dtype(dtype).itemsize
        pointer = self._given(cuda.cuMemAlloc(size))
        try:
            address = self._given(cuda.cuMemHostAlloc(size, 0))
        except ModelError:
            cuda.cuMemFree(pointer)
            raise
        host = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(int(address))).view(dtype).reshape(shape)
        host[...] = 0
        self._buffers.append(Buffer(host, int(pointer)))
        return self._buffers[-1]

    def upload(self, buffer: Buffer) -> None:
        """Queues the copy from host to GPU."""
        host = buffer.host
        self._given(self._cuda.cuMemcpyHtoDAsync(buffer.pointer, host.ctypes.data, host.nbytes, self._stream))

    def download(self, buffer: Buffer) -> None:
        """Queues the copy from GPU to host."""
        host = buffer.host
        self._given(self._cuda.cuMemcpyDtoHAsync(host.ctypes.data, buffer.pointer, host.nbytes, self._stream))

    def wait(self) -> None:
        """Returns when all queued work is done."""
        self._given(self._cuda.cuStreamSynchronize(self._stream))

    def close(self) -> None:
        """Frees everything; call `wait` first. Errors of a GPU that has failed before are ignored."""
        cuda = self._cuda
        cuda.cuCtxSetCurrent(self._context)
        while self._buffers:
            buffer = self._buffers.pop()
            cuda.cuMemFree(buffer.pointer)
            cuda.cuMemFreeHost(buffer.host.ctypes.data)
        if self._stream is not None:
            cuda.cuStreamDestroy(self._stream)
            self._stream = None
        cuda.cuDevicePrimaryCtxRelease(self._device)

    def _given(self, result: tuple[Any, ...]) -> Any:
        return given(self._cuda, result)


def given(cuda: Any, result: tuple[Any, ...]) -> Any:
    """What a function of cuda.bindings.driver returned beside its status code. Raises ModelError with CUDA's message if
    that code is not 0."""
    code, *values = result
    if code:
        _, text = cuda.cuGetErrorString(code)
        raise ModelError(f"the GPU says: {text.decode() if text else f'error {int(code)}'}")
    return values[0] if values else None
