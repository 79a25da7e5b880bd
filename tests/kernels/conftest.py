"""The CUDA kernels compiled for the CPU, once for all processes that run tests side by side."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def library() -> Path:
    """kernels_cpu.cpp, compiled anew if it or what it includes has changed."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++, to run the CUDA kernels on the CPU")
    options = ["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC"]
    options += os.environ.get("KERNEL_OPTIONS", "").split()  # of .ci/sanitize
    digest = hashlib.sha256(repr(options).encode())
    for path in sorted([*(ROOT / "engine" / "kernels").iterdir(), *HERE.glob("*.h"), HERE / "kernels_cpu.cpp"]):
        digest.update(path.name.encode() + path.read_bytes())
    folder = ROOT / "build" / "kernels_cpu" / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the processes that run tests side by side, one compiles
        if not (folder / "done").exists():
            command = [compiler, *options, "-o", folder / "kernels.so", HERE / "kernels_cpu.cpp"]
            subprocess.run(command, check=True, timeout=120)
            (folder / "done").touch()
    return folder / "kernels.so"


@pytest.fixture(scope="session")
def kernels() -> ctypes.CDLL:
    """kernels_cpu.cpp, compiled."""
    loaded = ctypes.CDLL(str(library()))
    loaded.of_half.restype, loaded.half_of.restype = ctypes.c_float, ctypes.c_uint16
    loaded.of_half.argtypes, loaded.half_of.argtypes = [ctypes.c_uint16], [ctypes.c_float]
    return loaded


# A byte for all of it: zeros, the greatest and the least of signed numbers; and random ones, by their seed.
RUBBISH = {"zeros": 0, "0x7f": 0x7F, "0xff": 0xFF, "seed 1000": 1000, "seed 1001": 1001, "seed 1002": 1002}


QUICK = ("0xff", "seed 1000", "seed 1001")


@pytest.fixture(
    params=[
        pytest.param(value, id=name, marks=[pytest.mark.slow] * (name not in QUICK)) for name, value in RUBBISH.items()
    ]
)
def rubbish(request) -> int:
    """What another kernel has left in shared memory."""
    return request.param
