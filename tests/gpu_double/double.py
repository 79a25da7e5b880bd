"""The double's Python side: builds it, loads it, tells it what it is, and asks what happened on it."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
OPTIONS = ["-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wno-unknown-pragmas"]
OTHERS = {
    "nvcuvid.cpp": "libnvcuvid.so.1",
    "nvencode.cpp": "encode/libnvidia-encode.so.1",
    "nvdec.cpp": "decode/libnvcuvid.so.1",
}
"""Sources of libraries of their own."""
KERNEL_OPTIONS = os.environ.get("KERNEL_OPTIONS", "").split()
"""More options for the compiler: .ci/sanitize has the kernels built with sanitizers."""
KINDS = {
    "discrete": {"name": "Discrete+double", "capability": "8.9", "driver": 13000, "memory": 8 << 30},
    "integrated": {"name": "Orin+double", "capability": "8.7", "driver": 13000, "memory": 7 << 30},
}


@lru_cache
def build() -> Path:
    """The folder that holds the libraries, compiled if their sources have changed. RuntimeError without g++."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise RuntimeError("needs g++, to build a GPU that is not there")
    sources = sorted(HERE.glob("*.cpp"))
    read = [*sources, *HERE.glob("*.h"), *HERE.glob("*.map"), *(REPOSITORY / "engine" / "kernels").glob("*")]
    read += (REPOSITORY / "tests" / "kernels").glob("*.h")
    digest = hashlib.sha256(repr(OPTIONS + KERNEL_OPTIONS).encode())
    for path in sorted(read):
        digest.update(path.name.encode() + path.read_bytes())
    folder = REPOSITORY / "build" / "gpu_double" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the processes that run tests side by side, one builds
        if not (folder / "done").exists():
            _compile(compiler, sources, folder)
            (folder / "done").touch()
    return folder


def _compile(compiler: str, sources: Sequence[Path], folder: Path) -> None:
    def run(*arguments: Any) -> None:
        done = subprocess.run([compiler, *map(str, arguments)], capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise RuntimeError(f"g++ cannot build the GPU that is not there:\n{done.stderr[:4000]}")

    def compiled(source: Path) -> Path:
        run(
            *OPTIONS,
            *(["-O2", *KERNEL_OPTIONS] if source.name == "modules.cpp" else []),
            "-c",
            source,
            "-o",
            folder / f"{source.stem}.o",
        )
        return folder / f"{source.stem}.o"

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, [source for source in sources if source.name not in OTHERS]))
    exports = f"-Wl,--version-script={HERE / 'exports.map'}"
    target = folder / "libcuda.so.1"
    run(*KERNEL_OPTIONS, "-shared", "-Wl,-soname,libcuda.so.1", exports, "-o", target, *objects, "-ldl", "-lpthread")
    for name, library in OTHERS.items():
        (folder / library).parent.mkdir(exist_ok=True)
        run(
            *OPTIONS,
            "-shared",
            f"-Wl,-soname,{Path(library).name}",
            "-o",
            folder / library,
            HERE / name,
            folder / "libcuda.so.1",
        )


@lru_cache
def load() -> ctypes.CDLL:
    """The double in this process, where whoever opens libcuda.so.1 from now on finds it: without a GPU until it is
    started."""
    library = ctypes.CDLL(str(build() / "libcuda.so.1"), mode=os.RTLD_NOW | os.RTLD_GLOBAL)
    for name, result, arguments in (
        ("gpu_double_start", None, [ctypes.c_char_p]),
        ("gpu_double_set", None, [ctypes.c_char_p]),
        ("gpu_double_report", ctypes.c_void_p, []),
        ("gpu_double_launched", ctypes.c_void_p, []),
        ("gpu_double_forgive", None, []),
        ("gpu_double_free", None, [ctypes.c_void_p]),
        ("gpu_double_place", ctypes.c_uint64, [ctypes.c_size_t, ctypes.c_int]),
        ("gpu_double_take_back", None, [ctypes.c_uint64]),
        ("gpu_double_own", ctypes.c_uint64, [ctypes.c_uint64, ctypes.c_size_t]),
        ("gpu_double_work", ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p, _WORK, ctypes.c_void_p, ctypes.c_size_t]),
        ("gpu_double_step", ctypes.c_int, [ctypes.c_int]),
        ("gpu_double_pending", ctypes.c_size_t, [ctypes.c_uint64]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_WORK = ctypes.CFUNCTYPE(None)


def environment_of(settings: str, report: Path) -> dict[str, str]:
    """For a process that is to find a GPU that is not there, as control.cpp reads it. GStreamer has its elements for
    NVIDIA there; with `build() / "encode"` in LD_LIBRARY_PATH also its encoders, and PyNvVideoCodec can be imported."""
    folder = build()
    return {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")])),
        "GST_REGISTRY": str(folder / "gstreamer.registry"),  # GStreamer keeps there which elements it has
        "GPU_DOUBLE": f"{settings} loud=1",
        "GPU_DOUBLE_REPORT": str(report),
    }


class Double:
    """The GPU that is not there, as a test sees it."""

    def __init__(
        self, folder: Path | None, kind: str = "discrete", seed: int = 0, gpus: int = 1, **settings: Any
    ) -> None:
        """folder: for reports; None: the GPU that this process was started with (`environment_of`), as it is. settings:
        `memory` in bytes, `driver` (13000 for CUDA 13.0), `name`, `capability`.
        """
        self._library = load()
        self._works: list[Any] = []
        self._errors: list[BaseException] = []
        self.may_leave: set[str] = set()
        """what of `live` may be there at the end of the test"""
        if folder is None:
            self.settings, self.report_of_children = os.environ["GPU_DOUBLE"], Path(os.environ["GPU_DOUBLE_REPORT"])
            return
        self.report_of_children = folder / "gpu_double.jsonl"
        values = {"kind": kind, "seed": seed, "gpus": gpus, **KINDS[kind], **settings}
        self.settings = " ".join(f"{name}={str(value).replace(' ', '+')}" for name, value in values.items())
        self._library.gpu_double_start(self.settings.encode())

    # What happened.

    @property
    def report(self) -> dict[str, Any]:
        """Everything that was counted.

        counts: allocations, frees, ...; live: what exists now; calls, launches, launched_on (kernel and stream), copies
        and copied_bytes by their names; waits by thread, function, stream, whether there was something to wait for, and
        whether the thread slept.
        """
        return self._told(self._library.gpu_double_report())

    @property
    def counts(self) -> dict[str, int]:
        return self.report["counts"]

    @property
    def live(self) -> dict[str, int]:
        return self.report["live"]

    @property
    def launches(self) -> dict[str, int]:
        """by kernel"""
        return self.report["launches"]

    @property
    def copies(self) -> dict[str, int]:
        """by direction: HtoD, DtoH, DtoD"""
        return self.report["copies"]

    @property
    def violations(self) -> list[str]:
        return self.report["violations"]

    def caught(self) -> list[str]:
        """The violations so far, which then are forgotten: for tests of what is wrong on purpose."""
        found = self.violations
        self._library.gpu_double_forgive()
        return found

    def children(self) -> list[dict[str, Any]]:
        """The reports of other processes that have ended."""
        path = self.report_of_children
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def environment(self) -> dict[str, str]:
        """For a child process that is to find this GPU too; each has memory of its own."""
        return environment_of(self.settings, self.report_of_children)

    @property
    def decoding_environment(self) -> dict[str, str]:
        """`environment` with a decoder, so that GStreamer has nvh264dec and its like. nvdec.cpp says what they give."""
        return self.environment_with("decode")

    def environment_with(self, *parts: str) -> dict[str, str]:
        """`environment` with a decoder ("decode", nvdec.cpp), an encoder ("encode", nvencode.cpp), both, or neither."""
        here, folder = self.environment, build()
        path = os.pathsep.join([*(str(folder / part) for part in parts), here["LD_LIBRARY_PATH"]])
        registry = folder / "-".join(["gstreamer", *parts, "registry"])
        return {**here, "LD_LIBRARY_PATH": path, "GST_REGISTRY": str(registry)}

    def launched(self) -> list[tuple[str, list[int], list[bytes]]]:
        """The launches since the last call: kernel, grid and the bytes of each argument. They are kept from
        `set(keeps_launches=1)` on."""
        found = self._told(self._library.gpu_double_launched())
        return [(kernel, grid, [bytes.fromhex(argument) for argument in given]) for kernel, grid, given in found]

    def _told(self, text: int) -> Any:
        try:
            return json.loads(ctypes.string_at(text))
        finally:
            self._library.gpu_double_free(text)

    # What is to happen.

    def set(self, **settings: int) -> None:
        """Changes settings. backwards: whether the last block and thread of a kernel run first; rubbish: what a kernel
        finds in shared memory (kernels/cuda_shim.h); -1 for either: now this, now that. keeps_launches: `launched`."""
        self._library.gpu_double_set(" ".join(f"{name}={value}" for name, value in settings.items()).encode())

    def fail(self, function: str, code: int, after: int = 0, times: int = 1, sticky: bool = False) -> None:
        """Lets a function of the driver give an error, or `run kernel NAME` fail when it is carried out.

        after: how many calls still succeed; times: how many then fail, -1 for all; sticky: everything fails from then
        on, as after an illegal address. 2 is out of memory, 700 an illegal address, 719 a failed launch, 999 a GPU that
        was lost.
        """
        self._library.gpu_double_set(f"fail={function.replace(' ', '+')}:{code}:{after}:{times}:{int(sticky)}".encode())

    def lose(self, code: int = 999) -> None:
        """From now on every call fails."""
        self.fail("cuCtxPushCurrent", code, sticky=True)

    def step(self, most: int = 1) -> int:
        """Lets the GPU carry out some operations. Returns how many it did."""
        return self._library.gpu_double_step(most)

    def pending(self, stream: int) -> int:
        """Operations in a stream that are not done."""
        return self._library.gpu_double_pending(int(stream))

    def work(
        self,
        stream: int,
        function: Callable[[], None],
        reads: Sequence[tuple[int, int]] = (),
        writes: Sequence[tuple[int, int]] = (),
        name: str = "work of the test",
    ) -> int:
        """Queues a function of Python on a stream, as another library would queue a kernel. reads, writes: address and
        size of what it touches, by `memory`. Returns the driver's code. What the function raises, `check` raises."""

        def guarded() -> None:
            try:
                function()
            except BaseException as error:
                self._errors.append(error)

        kept = _WORK(guarded)
        self._works.append(kept)
        ranges = [(*each, 0) for each in reads] + [(*each, 1) for each in writes]
        flat = np.array(ranges, np.uint64).reshape(-1)
        return self._library.gpu_double_work(int(stream), name.encode(), kept, flat.ctypes.data, len(ranges))

    # Memory.

    def memory(self, pointer: int, shape: tuple[int, ...], dtype: Any = np.uint8) -> npt.NDArray[Any]:
        """The GPU's memory as an array, for the test's own looks and for `work`; no rule is applied to it."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = self._library.gpu_double_own(int(pointer), size)
        if not address:
            raise ValueError(f"{size} bytes at {pointer:#x} are no memory of the GPU that is not there")
        return np.frombuffer((ctypes.c_ubyte * size).from_address(address), dtype).reshape(shape)

    def array(self, values: npt.NDArray[Any], device: int = 0) -> DeviceArray:
        """A copy of an array on a GPU, which belongs to the test: it is no allocation and no leak of the program. It is
        there until the end of the test, or until `DeviceArray.close`."""
        return DeviceArray(self, values, device)

    # The end.

    def check(self) -> None:
        """AssertionError if a rule was broken, something is left, or work of the test's raised something."""
        if self._errors:
            raise self._errors[0]
        report = self.report
        reports = [report, *self.children()]
        broken = [line for each in reports for line in each["violations"]]
        assert not broken, "\n".join(broken)
        if not report["broken"]:  # nothing can be given back to a GPU that has failed
            left = {name: count for name, count in report["live"].items() if count and name not in self.may_leave}
            assert not left, f"left on the GPU: {left}"
        assert report["counts"]["pushed"] == 0, "a context is still current in this thread"

    def close(self) -> None:
        """From now on there is no GPU."""
        self._library.gpu_double_start(b"")


class OwnDouble(Double):
    """The GPU that is not there that this process was started with, by `Double.environment`."""

    def __init__(self) -> None:
        self._library = load()
        self._works, self._errors = [], []


class DeviceArray:
    """An array on the GPU that is not there, as torch and cupy would have made it."""

    def __init__(self, double: Double, values: npt.NDArray[Any], device: int) -> None:
        values = np.ascontiguousarray(values)
        self._library, self._double = load(), double
        self.pointer = self._library.gpu_double_place(max(values.nbytes, 1), device)
        self.shape, self.dtype, self.nbytes = values.shape, values.dtype, values.nbytes
        self.values[...] = values
        self.__cuda_array_interface__ = {
            "typestr": values.dtype.str,
            "shape": values.shape,
            "strides": None,
            "data": (self.pointer, False),
            "version": 3,
        }

    def close(self) -> None:
        self._library.gpu_double_take_back(self.pointer)

    @property
    def values(self) -> npt.NDArray[Any]:
        """What it holds now, to be read and changed by the test; no rule is applied to it."""
        return self._double.memory(self.pointer, self.shape, self.dtype)
