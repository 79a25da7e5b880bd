"""Which GPU is here, asked of the driver alone.

TensorRT's own objects must not be made to find that out: without a driver some of them end the process. CUDA is not
needed either, only the driver's library.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# CUdevice_attribute, cuda.h
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True)
class Device:
    """The first GPU that CUDA shows (CUDA_VISIBLE_DEVICES chooses another)."""

    name: str
    compute_capability: str
    """ "8.7" """


def find_device(driver: str = DRIVER) -> Device | str:
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
        ("cuDeviceGet", (ctypes.byref(device), 0)),
        ("cuDeviceGetName", (name, _NAME_BYTES, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(major), _MAJOR, device)),
        ("cuDeviceGetAttribute", (ctypes.byref(minor), _MINOR, device)),
    )
    for function, arguments in steps:
        code = getattr(cuda, function)(*arguments)
        if code:
            return f"no GPU that the NVIDIA driver can use ({function} gave error {code})"
    return Device(name.value.decode(errors="replace"), f"{major.value}.{minor.value}")
