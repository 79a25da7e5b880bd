"""cuda.bindings.nvrtc, as far as engine/cuda/program.py calls it: it gives the source as the program.

The double runs the bodies of the kernels, and looks in the program only for a kernel's name. That NVRTC itself compiles
them is tests/kernels/test_cuda_compile.py's to show.
"""

from __future__ import annotations

import enum
from types import ModuleType
from typing import Any


class nvrtcResult(enum.IntEnum):
    NVRTC_SUCCESS = 0


_OK = nvrtcResult.NVRTC_SUCCESS


class StubNvrtc(ModuleType):
    nvrtcResult = nvrtcResult

    def __init__(self) -> None:
        super().__init__("cuda.bindings.nvrtc")

    def nvrtcVersion(self) -> tuple[Any, ...]:
        return _OK, 13, 0

    def nvrtcGetSupportedArchs(self) -> tuple[Any, ...]:
        return _OK, [75, 80, 86, 87, 89, 90, 100, 110, 120]

    def nvrtcGetErrorString(self, code: Any) -> tuple[Any, ...]:
        return _OK, b"an error"

    def nvrtcCreateProgram(self, source: bytes, name: bytes, count: int, headers: Any, names: Any) -> tuple[Any, ...]:
        return _OK, source

    def nvrtcCompileProgram(self, program: bytes, count: int, options: Any) -> tuple[Any, ...]:
        return (_OK,)

    def nvrtcGetCUBINSize(self, program: bytes) -> tuple[Any, ...]:
        return _OK, len(program) + 1

    def nvrtcGetCUBIN(self, program: bytes, to: bytearray) -> tuple[Any, ...]:
        to[:] = program + b"\0"
        return (_OK,)

    nvrtcGetPTXSize, nvrtcGetPTX = nvrtcGetCUBINSize, nvrtcGetCUBIN

    def nvrtcDestroyProgram(self, program: bytes) -> tuple[Any, ...]:
        return (_OK,)
