"""The GPU that is not there: what cuda-bindings get from it, and that each of its rules catches a wrong program."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def cuda():
    return pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings", exc_type=ImportError)


def ok(result):
    code, *values = result
    assert int(code) == 0, code
    return values[0] if values else None


@pytest.fixture
def current(gpu_double, cuda):
    """A double with its primary context current; given back at the end."""

    def start(**settings):
        double = gpu_double(**settings)
        ok(cuda.cuInit(0))
        ok(cuda.cuCtxPushCurrent(ok(cuda.cuDevicePrimaryCtxRetain(0))))
        return double

    yield start
    cuda.cuCtxPopCurrent()


def test_copies_there_and_back(current, cuda):
    double = current(seed=3)
    sent = np.arange(1000, dtype=np.float32)
    memory, stream = ok(cuda.cuMemAlloc(sent.nbytes)), ok(cuda.cuStreamCreate(1))
    ok(cuda.cuMemcpyHtoDAsync(memory, sent.ctypes.data, sent.nbytes, stream))
    got = np.zeros_like(sent)
    ok(cuda.cuMemcpyDtoHAsync(got.ctypes.data, memory, sent.nbytes, stream))
    assert np.array_equal(got, sent)
    ok(cuda.cuStreamDestroy(stream))
    ok(cuda.cuMemFree(memory))
    assert double.copies == {"HtoD": 1, "DtoH": 1}
    assert double.counts["allocations"] == double.counts["frees"] == 1
