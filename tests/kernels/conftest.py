"""The CUDA kernels compiled for the CPU, once a session."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def kernels(tmp_path_factory) -> ctypes.CDLL:
    """kernels_cpu.cpp, compiled."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++, to run the CUDA kernels on the CPU")
    library = tmp_path_factory.mktemp("kernels") / "kernels.so"
    options = ["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC"]
    options += os.environ.get("KERNEL_OPTIONS", "").split()  # of .ci/sanitize
    source = Path(__file__).with_name("kernels_cpu.cpp")
    subprocess.run([compiler, *options, "-o", library, source], check=True, timeout=120)
    loaded = ctypes.CDLL(str(library))
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
