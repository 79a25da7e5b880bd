"""Which GPU there is, and how one is named.

Only the driver's own library is asked: without a driver some of TensorRT's objects end the process, so none of them may
be created to find out.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from dataclasses import dataclass

from ..errors import UsageError

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# CUdevice_attribute, cuda.h
_MAJOR, _MINOR = 75, 76
_NAME_BYTES = 256


DOCTOR = "'saliency-tubes doctor' says what is missing"
"""the end of messages about a GPU that cannot be used"""


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


def cuda_index(device: str) -> int:
    """0 for "auto" and "cuda", 1 for "cuda:1". Raises UsageError for anything else."""
    name, colon, number = device.lower().partition(":")
    if (name == "auto" and not colon) or (name == "cuda" and (not colon or (number.isdecimal() and len(number) < 4))):
        return int(number or 0)
    raise UsageError(f"a GPU is named cuda or cuda:N, the GPU number N, got device {device!r}")


def driver_version(driver: str = DRIVER) -> int:
    """The version of CUDA that the driver serves, as 13000 for 13.0; 0 if there is no driver."""
    version = ctypes.c_int()
    with suppress(OSError):
        ctypes.CDLL(driver).cuDriverGetVersion(ctypes.byref(version))
    return version.value
