"""A GPU that is not there: cuda-bindings' driver and NVRTC, strict about what they are given, over memory of the host.

A launch runs the kernel's own body (cuda_shim.h) on its arguments, when the stream is waited for and not before. Every
address in a job must lie within memory that was allocated, or that a test has said is on the GPU.
"""

from __future__ import annotations

import ctypes
import enum
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from saliency_tubes.engine.cuda.jobs import JOB, MOST_JOBS
from saliency_tubes.engine.cuda.shots import SHOT


def kernels_library(folder: Path) -> ctypes.CDLL:
    """kernels/kernels_cpu.cpp, compiled: the CUDA kernels' bodies for the CPU. .ci/sanitize sets KERNEL_OPTIONS."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++, to run the CUDA kernels on the CPU")
    library, source = folder / "kernels.so", Path(__file__).parent / "kernels" / "kernels_cpu.cpp"
    options = ["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC"]
    options += os.environ.get("KERNEL_OPTIONS", "").split()
    subprocess.run([compiler, *options, "-o", library, source], check=True, timeout=120)
    loaded = ctypes.CDLL(str(library))
    loaded.of_half.restype, loaded.half_of.restype = ctypes.c_float, ctypes.c_uint16
    loaded.of_half.argtypes, loaded.half_of.argtypes = [ctypes.c_uint16], [ctypes.c_float]
    return loaded


class CUresult(enum.IntEnum):
    SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, INVALID_CONTEXT, INVALID_HANDLE = 0, 1, 2, 201, 400


class Handle:
    """As cuda-bindings gives them: `int` takes them, arithmetic does not."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __int__(self) -> int:
        return self._value


PARAMETERS = {
    **dict.fromkeys(("overlay_linear", "overlay_cubic"), (JOB.itemsize * MOST_JOBS,)),
    "preprocess": (SHOT.itemsize,),
    **dict.fromkeys(("evidence_float", "evidence_half"), (8, 8, 8, 4, 4)),
}
THREADS = {"overlay_linear": 256, "overlay_cubic": 256, "preprocess": 256, "evidence_float": 512, "evidence_half": 512}


class FakeDriver(ModuleType):
    def __init__(self, kernels: ctypes.CDLL, backwards: bool = False) -> None:
        super().__init__("cuda.bindings.driver")
        self.kernels, self.backwards = kernels, backwards
        self.memory: dict[int, Any] = {}
        """what was allocated"""
        self.pinned: dict[int, Any] = {}
        self.others: dict[int, Any] = {}
        """what the test says is on the GPU"""
        self.kept: list[np.ndarray] = []
        self.queues: dict[int, list[Callable[[], None]]] = {0: []}
        self.launches: list[tuple[str, tuple[int, ...], int]] = []
        self.contexts = self.depth = self.events = self.modules = 0
        self.fail: dict[str, CUresult] = {}

    def stream(self) -> int:
        handle = 0x5000 + len(self.queues)
        self.queues[handle] = []
        return handle

    def show(self, array: np.ndarray) -> None:
        base = array if array.base is None else array.base
        self.kept.append(base)
        self.others[base.ctypes.data] = (ctypes.c_ubyte * base.nbytes).from_address(base.ctypes.data)

    def finish(self) -> None:
        """Does all that is queued."""
        for queue in self.queues.values():
            while queue:
                queue.pop(0)()

    def held(self, address: int, size: int) -> bool:
        spans = [*self.memory.items(), *self.others.items()]
        return any(start <= address and address + size <= start + ctypes.sizeof(data) for start, data in spans)

    def _code(self, function: str, stream: int = 0) -> CUresult:
        if function in self.fail:
            return self.fail[function]
        if self.depth < 1:
            return CUresult.INVALID_CONTEXT
        return CUresult.SUCCESS if int(stream) in self.queues else CUresult.INVALID_HANDLE

    def cuInit(self, Flags):
        assert Flags == 0
        return (CUresult.SUCCESS,)

    def cuGetErrorString(self, error):
        return CUresult.SUCCESS, error.name.lower().replace("_", " ").encode()

    def cuDeviceGet(self, ordinal):
        assert type(ordinal) is int
        return CUresult.SUCCESS, Handle(ordinal)

    def cuDevicePrimaryCtxRetain(self, dev):
        assert isinstance(dev, Handle)
        self.contexts += 1
        return CUresult.SUCCESS, Handle(0x77)

    class CUdevice_attribute(enum.IntEnum):
        CU_DEVICE_ATTRIBUTE_INTEGRATED = 18

    def cuDeviceGetAttribute(self, attrib, dev):
        assert isinstance(dev, Handle)
        return CUresult.SUCCESS, 0

    def cuCtxGetStreamPriorityRange(self):
        return self._code("cuCtxGetStreamPriorityRange"), 0, -5

    def cuStreamCreateWithPriority(self, flags, priority):
        assert flags == 1
        assert priority in (0, -5)
        return self._code("cuStreamCreateWithPriority"), Handle(self.stream())

    def cuStreamDestroy(self, hStream):
        return (self.cuStreamSynchronize(hStream)[0],)

    def cuStreamWaitEvent(self, hStream, hEvent, Flags):
        assert Flags == 0
        return (self.cuEventSynchronize(hEvent)[0],)

    def cuStreamIsCapturing(self, hStream):
        return self._code("cuStreamIsCapturing", hStream), 0

    def cuEventQuery(self, hEvent):
        stream = getattr(hEvent, "stream", None)
        return (600 if stream is not None and self.queues[stream] else 0,)

    def cuMemGetInfo(self):
        return self._code("cuMemGetInfo"), 1 << 30, 1 << 31

    def cuMemHostAlloc(self, bytesize, Flags):
        assert Flags == 1
        if code := self._code("cuMemHostAlloc"):
            return code, None
        data = (ctypes.c_ubyte * bytesize)()
        self.pinned[ctypes.addressof(data)] = data
        return CUresult.SUCCESS, ctypes.addressof(data)

    def cuMemFreeHost(self, p):
        del self.pinned[int(p)]
        return (CUresult.SUCCESS,)

    def cuCtxPushCurrent(self, ctx):
        assert int(ctx) == 0x77
        assert self.contexts > 0
        self.depth += 1
        return (CUresult.SUCCESS,)

    def cuCtxPopCurrent(self):
        assert self.depth > 0
        self.depth -= 1
        return CUresult.SUCCESS, Handle(0x77)

    def cuCtxSynchronize(self):
        self.finish()
        return (self._code("cuCtxSynchronize"),)

    def cuStreamSynchronize(self, hStream):
        code = self._code("cuStreamSynchronize", hStream)
        while not code and self.queues[int(hStream)]:
            self.queues[int(hStream)].pop(0)()
        return (code,)

    def cuEventCreate(self, Flags):
        assert Flags == 3
        self.events += 1
        return CUresult.SUCCESS, Handle(self.events)

    def cuEventRecord(self, hEvent, hStream):
        assert isinstance(hEvent, Handle)
        hEvent.stream = int(hStream)
        return (self._code("cuEventRecord", hStream),)

    def cuEventSynchronize(self, hEvent):
        stream = getattr(hEvent, "stream", None)
        return self.cuStreamSynchronize(stream) if stream is not None else (CUresult.SUCCESS,)

    def cuEventDestroy(self, hEvent):
        assert isinstance(hEvent, Handle)
        self.events -= 1
        return (CUresult.SUCCESS,)

    def cuMemAlloc(self, bytesize):
        assert type(bytesize) is int
        assert bytesize > 0
        if code := self._code("cuMemAlloc"):
            return code, None
        whole = (ctypes.c_ubyte * (bytesize + 256))()
        address = -(-ctypes.addressof(whole) // 256) * 256  # as the driver aligns
        self.memory[address] = (ctypes.c_ubyte * bytesize).from_buffer(whole, address - ctypes.addressof(whole))
        return CUresult.SUCCESS, Handle(address)

    def cuMemFree(self, dptr):
        assert int(dptr) in self.memory, "freed twice, or never allocated"
        assert not any(self.queues.values()), "freed while work is queued"
        del self.memory[int(dptr)]
        return (CUresult.SUCCESS,)

    def cuMemcpyHtoDAsync(self, dstDevice, srcHost, ByteCount, hStream):
        assert type(srcHost) is int
        assert self.held(int(dstDevice), ByteCount), "beyond its memory"
        self._check_pinned(srcHost, ByteCount)
        return self._queue("cuMemcpyHtoDAsync", hStream, lambda: ctypes.memmove(int(dstDevice), srcHost, ByteCount))

    def _check_pinned(self, address: int, size: int) -> None:
        spans = self.pinned.items()
        assert any(at <= address and address + size <= at + len(data) for at, data in spans), "not pinned"

    def cuMemcpyDtoHAsync(self, dstHost, srcDevice, ByteCount, hStream):
        assert self.held(int(srcDevice), ByteCount), "beyond its memory"
        self._check_pinned(dstHost, ByteCount)
        return self._queue("cuMemcpyDtoHAsync", hStream, lambda: ctypes.memmove(dstHost, int(srcDevice), ByteCount))

    def cuModuleLoadData(self, image):
        assert isinstance(image, bytes)
        self.modules += 1
        return self._code("cuModuleLoadData"), Handle(self.modules)

    def cuModuleUnload(self, hmod):
        assert isinstance(hmod, Handle)
        self.modules -= 1
        return (CUresult.SUCCESS,)

    def cuModuleGetFunction(self, hmod, name):
        assert isinstance(hmod, Handle)
        function = Handle(1)
        function.name = name.decode()
        assert function.name in PARAMETERS
        return CUresult.SUCCESS, function

    def cuLaunchKernel(
        self,
        f,
        gridDimX,
        gridDimY,
        gridDimZ,
        blockDimX,
        blockDimY,
        blockDimZ,
        sharedMemBytes,
        hStream,
        kernelParams,
        extra,
    ):
        grid, block = (gridDimX, gridDimY, gridDimZ), (blockDimX, blockDimY, blockDimZ)
        assert all(type(size) is int and size > 0 for size in (*grid, *block))
        assert gridDimX < 1 << 31
        assert max(gridDimY, gridDimZ) < 1 << 16
        assert blockDimX * blockDimY * blockDimZ == THREADS[f.name], "not what the kernel was bounded to"
        assert sharedMemBytes == 0
        assert extra == 0
        pointers = (ctypes.c_uint64 * len(PARAMETERS[f.name])).from_address(kernelParams)
        copies = [ctypes.string_at(at, size) for at, size in zip(pointers, PARAMETERS[f.name], strict=True)]
        self.launches.append((f.name, grid, int(hStream)))
        return self._queue("cuLaunchKernel", hStream, lambda: self._run(f.name, grid, block, copies))

    def _run(self, name: str, grid, block, copies: list[bytes]) -> None:
        if name.startswith("overlay"):
            for job in np.frombuffer(copies[0], JOB)[: grid[1]]:
                self.check(job, name.endswith("cubic"))
        kept = [ctypes.create_string_buffer(data, len(data)) for data in copies]
        arguments = (ctypes.c_void_p * len(kept))(*[ctypes.addressof(data) for data in kept])
        assert not self.kernels.run_kernel(name.encode(), *grid, *block, arguments, int(self.backwards))

    def check(self, job: Any, cubic: bool) -> None:
        taps = 8 if cubic else 2
        assert self.held(int(job["table"]), 5200)
        for plane in job["planes"][: job["plane_count"]]:
            rows, columns = int(plane["rows"]), int(plane["columns"])
            if not plane["tiles"]:
                continue
            size = (rows - 1) * int(plane["pitch"]) + columns * int(plane["channels"] * plane["sample_bytes"])
            assert self.held(int(plane["data"]), size), "a plane beyond its memory"
            assert self.held(int(plane["across"]), taps * columns * 2)
            assert self.held(int(plane["down"]), taps * rows * 2)
        size = int(job["height"] * job["width"]) * 4
        if cubic:
            assert self.held(int(job["coefficients"]), size)
        for part in job["parts"][: job["part_count"]]:
            assert self.held(int(part["slice"]), size)
            assert self.held(int(part["next"]), size)

    def _queue(self, function: str, stream: Any, work: Callable[[], None]) -> tuple[CUresult]:
        if code := self._code(function, stream):
            return (code,)
        self.queues[int(stream)].append(work)
        return (CUresult.SUCCESS,)
