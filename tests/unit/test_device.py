"""The GPU: what the driver is asked, and memory by way of the real cuda-bindings, on a driver that is a stub."""

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from saliency_tubes.engine.runtimes import device
from saliency_tubes.engine.runtimes.device import Device, find_device
from theirnames import Source

GPU = Source(
    device,
    root="cuda",
    theirs={"_cuda": ""},
    ours={
        *("sys", "ctypes", "math", "np", "npt", "self", "name", "driver", "major", "minor", "count", "host", "buffer"),
        *("error", "text", "values"),
    },
)
TABLE = json.loads(Path(__file__).with_name("cuda_api.json").read_text(encoding="utf-8"))
"""the parameters of each function of cuda.bindings.driver that is used, by version of cuda-bindings"""

ON_THE_STUB = """
import numpy as np
from saliency_tubes.engine.runtimes.device import Gpu, find_device
from saliency_tubes.engine.errors import ModelError

print(find_device())
gpu = Gpu(0)
buffer = gpu.allocate((2, 3), "float32")
assert not buffer.host.any() and buffer.host.dtype == np.float32
buffer.host[...] = numbers = np.arange(6).reshape(2, 3)
gpu.enter()
gpu.upload(buffer)
buffer.host[...] = 0
gpu.download(buffer)
gpu.wait()
assert (buffer.host == numbers).all()
assert gpu.stream == 0x55 and isinstance(buffer.pointer, int)
try:
    gpu.allocate((10**6,), "int64")
except ModelError as error:
    print(error)
gpu.close()
"""


def test_no_driver():
    assert find_device(driver="libnothing.so.1") == "no NVIDIA driver (libnothing.so.1 was not found)"


@pytest.mark.parametrize(
    ("index", "fail", "expected"),
    [
        (0, {}, Device("Orin", "8.7")),
        (1, {}, Device("Orin", "8.7", 1)),
        (2, {}, "no GPU 2: there are 2, counted from 0"),
        (0, {"cuInit": 100}, "no GPU that the NVIDIA driver can use (cuInit gave error 100)"),
        (0, {"cuDeviceGet": 101}, "no GPU that the NVIDIA driver can use (cuDeviceGet gave error 101)"),
    ],
)
def test_what_the_driver_says(index, fail, expected, monkeypatch):
    class Driver:
        def __getattr__(self, function):
            def call(*arguments):
                if function == "cuDeviceGetCount":
                    arguments[0]._obj.value = 2
                if function == "cuDeviceGetName":
                    arguments[0].value = b"Orin"
                if function == "cuDeviceGetAttribute":
                    arguments[0]._obj.value = {75: 8, 76: 7}[arguments[1]]
                return fail.get(function, 0)

            return call

    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: Driver())
    assert find_device(index) == expected


def functions() -> set[str]:
    return {name for holder, name in GPU.uses() if not holder and name.startswith("cu")}


@pytest.mark.parametrize("version", TABLE)
def test_cuda_bindings_have_every_function(version):
    assert len(functions()) > 12
    assert functions() <= set(TABLE[version])


def test_the_table_is_of_the_oldest_that_will_do_and_of_both_majors():
    assert {version.split(".")[0] for version in TABLE} == {"12", "13"}
    assert "12.8.0" in TABLE


def test_the_double_takes_what_cuda_bindings_take():
    from fakegpu import FakeCuda

    for parameters in TABLE.values():
        for name in functions():
            assert [*inspect.signature(getattr(FakeCuda([]), name)).parameters] == parameters[name], name


def test_cuda_bindings_that_are_installed():
    driver = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings", exc_type=ImportError)
    assert driver.CUstream_flags.CU_STREAM_NON_BLOCKING.value == 1
    for name in functions():
        assert [*inspect.signature(getattr(driver, name)).parameters] == TABLE["13.5.0"][name], name


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
def test_cuda_bindings_on_a_driver_that_is_a_stub(tmp_path):
    """Their own conversions of what they are given, and of what they give."""
    pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings", exc_type=ImportError)
    source = Path(__file__).with_name("stub_cuda.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "libcuda.so.1", source, "-ldl"], check=True)
    env = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", ON_THE_STUB], env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "Device(name='Stub', compute_capability='8.7', index=0)",
        "the GPU says: out of memory",
        "context released",
    ]
