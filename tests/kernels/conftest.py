"""The CUDA kernels compiled for the CPU, once a session."""

from __future__ import annotations

import ctypes

import pytest
from fakecuda import FakeDriver, kernels_library
from saliency_tubes.engine.cuda import driver as cuda_driver
from saliency_tubes.engine.runtimes.device import Device


@pytest.fixture(scope="session")
def kernels(tmp_path_factory) -> ctypes.CDLL:
    return kernels_library(tmp_path_factory.mktemp("kernels"))


# A byte for all of it: zeros, the greatest and the least of signed numbers; and random ones, by their seed.
RUBBISH = {"zeros": 0, "0x7f": 0x7F, "0xff": 0xFF, "seed 1000": 1000, "seed 1001": 1001, "seed 1002": 1002}


@pytest.fixture(params=RUBBISH.values(), ids=RUBBISH.keys())
def rubbish(request, kernels) -> int:
    """What another kernel has left in shared memory."""
    kernels.set_rubbish(request.param)
    yield request.param
    kernels.set_rubbish(1000)


@pytest.fixture
def gpu(kernels, monkeypatch) -> FakeDriver:
    """The driver's double in the place of cuda-bindings."""
    fake = FakeDriver(kernels)
    monkeypatch.setattr(cuda_driver, "find_device", lambda index: Device("Double", "8.7", index))
    monkeypatch.setattr(cuda_driver, "import_module", lambda name: fake)
    monkeypatch.setattr(cuda_driver, "load_nvrtc", lambda: None)
    monkeypatch.setattr(cuda_driver, "build", lambda program, architecture: b"a program")
    monkeypatch.setattr(cuda_driver, "GPUS", {})
    yield fake
    for used in cuda_driver.GPUS.values():
        used.clear()
