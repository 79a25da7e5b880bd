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


@pytest.fixture
def gpu(kernels, monkeypatch) -> FakeDriver:
    """The driver's double in the place of cuda-bindings."""
    fake = FakeDriver(kernels)
    monkeypatch.setattr(cuda_driver, "find_device", lambda index: Device("Double", "8.7", index))
    monkeypatch.setattr(cuda_driver, "import_module", lambda name: fake)
    monkeypatch.setattr(cuda_driver, "load_nvrtc", lambda: None)
    monkeypatch.setattr(cuda_driver, "build", lambda program, architecture: b"a program")
    return fake
