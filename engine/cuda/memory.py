"""Address, shape and strides of arrays on a GPU that other libraries made.

`__cuda_array_interface__` (torch, cupy, numba, PyNvVideoCodec) is asked first, then DLPack. Nothing is copied. A view
says whose work makes the array: `driver.Gpu.follow` lets our stream wait for that.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

_CUDA, _CUDA_MANAGED = 2, 13
_KINDS = {0: "i", 1: "u", 2: "f"}
_READ_ONLY = 1
# dlpack.h: DLDevice, DLDataType, DLTensor, DLManagedTensor, DLManagedTensorVersioned


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("id", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


@dataclass(frozen=True, eq=False)
class View:
    """An array on a GPU."""

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """bytes"""
    dtype: np.dtype[Any]
    read_only: bool = False
    device: int | None = None
    """index of the GPU, if the array tells it"""
    owner: Any = None
    """the object that keeps the memory alive"""
    stream: int | None = None
    """the stream on which the array is made, if its `__cuda_array_interface__` tells it"""
    dlpack: Any = None
    """an array whose `__dlpack__(stream=...)` lets that stream wait for the work that makes the array"""

    def __post_init__(self) -> None:
        if self.pointer <= 0 or any(size < 1 for size in self.shape):
            raise ValueError(f"an array on the GPU must not be empty, got shape {self.shape} at {self.pointer:#x}")
        if any(stride < 1 for size, stride in zip(self.shape, self.strides, strict=True) if size > 1):
            raise ValueError(f"strides must be positive, got {self.strides}")
        aligned = self.dtype.alignment
        if self.pointer % aligned or any(stride % aligned for stride in self.strides):
            raise ValueError(f"{self.dtype} must lie at multiples of {aligned} bytes")

    @property
    def contiguous(self) -> bool:
        """Whether elements follow each other without gaps, the last axis fastest."""
        return self.packed(len(self.shape))

    def packed(self, axes: int) -> bool:
        """Whether the last `axes` axes have no gaps."""
        step = self.dtype.itemsize
        for size, stride in list(zip(self.shape, self.strides, strict=True))[::-1][:axes]:
            if size > 1 and stride != step:
                return False
            step *= size
        return True


def view_of(array: Any) -> View:
    """An object with `__cuda_array_interface__` or `__dlpack__`, or a DLPack capsule. TypeError for anything else."""
    if isinstance(array, View):
        return array
    if hasattr(array, "__cuda_array_interface__"):
        return _of_interface(array, array.__cuda_array_interface__)
    if type(array).__name__ == "PyCapsule":
        return _of_capsule(array, array)
    if hasattr(array, "__dlpack__"):
        kind = int(array.__dlpack_device__()[0])
        if kind not in (_CUDA, _CUDA_MANAGED):  # exporting an array that lies elsewhere might copy it
            raise TypeError(f"{type(array).__name__} is not on a GPU (DLPack device type {kind})")
        # -1: wait for no stream. Ours is not known yet, and more work may follow: `Gpu.follow` asks again.
        return replace(_of_capsule(array.__dlpack__(stream=-1), array), dlpack=array)
    raise TypeError(f"expected an array on a GPU (__cuda_array_interface__ or DLPack), got {type(array).__name__}")


def contiguous(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in bytes of a contiguous array."""
    return tuple(dtype.itemsize * math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _of_interface(array: Any, told: dict[str, Any]) -> View:
    dtype, shape = np.dtype(told["typestr"]), tuple(map(int, told["shape"]))
    if told.get("mask") is not None:
        raise TypeError("arrays with a mask are not taken")
    pointer, read_only = told["data"]
    strides = tuple(map(int, told.get("strides") or contiguous(dtype, shape)))
    stream = told.get("stream")
    # Version 2 of the interface, which torch has, knows no streams: its arrays are asked by DLPack.
    dlpack = array if "stream" not in told and hasattr(array, "__dlpack__") else None
    producer = None if stream is None else int(stream)
    return View(int(pointer or 0), shape, strides, dtype, bool(read_only), None, array, producer, dlpack)


def _of_capsule(capsule: Any, owner: Any) -> View:
    """Reads the capsule and does not consume it: its owner still frees it, and the view keeps it alive."""
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    name = api.PyCapsule_GetName(capsule)
    if name not in (b"dltensor", b"dltensor_versioned"):
        raise TypeError(f"expected a DLPack capsule that nobody has used yet, got {name!r}")
    address = api.PyCapsule_GetPointer(capsule, name)
    read_only = False
    if name == b"dltensor":
        tensor = _Tensor.from_address(address)
    else:
        versioned = _Versioned.from_address(address)
        if versioned.major != 1:
            raise TypeError(f"DLPack {versioned.major}.{versioned.minor} is not known")
        tensor, read_only = versioned.tensor, bool(versioned.flags & _READ_ONLY)
    if tensor.device.type not in (_CUDA, _CUDA_MANAGED):
        raise TypeError(f"the tensor is not on a GPU (DLPack device type {tensor.device.type})")
    if tensor.dtype.code not in _KINDS or tensor.dtype.lanes != 1 or tensor.dtype.bits % 8:
        raise TypeError(f"dtype of DLPack code {tensor.dtype.code}, {tensor.dtype.bits} bits is not known")
    dtype = np.dtype(f"{_KINDS[tensor.dtype.code]}{tensor.dtype.bits // 8}")
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = contiguous(dtype, shape)
    if tensor.strides:
        strides = tuple(tensor.strides[axis] * dtype.itemsize for axis in range(tensor.ndim))
    pointer = (tensor.data or 0) + tensor.byte_offset
    return View(pointer, shape, strides, dtype, read_only, tensor.device.id, (owner, capsule))
