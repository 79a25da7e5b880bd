"""Which GPU there is: what the driver is asked."""

import pytest
from saliency_tubes.engine.runtimes import device
from saliency_tubes.engine.runtimes.device import Device, cuda_index, driver_version, find_device


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


@pytest.mark.parametrize(("device", "index"), [("auto", 0), ("cuda", 0), ("CUDA:1", 1), ("cuda:12", 12)])
def test_the_number_of_a_gpu(device, index):
    assert cuda_index(device) == index


def test_the_version_that_the_driver_serves(gpu_double):
    assert driver_version() == 0 or find_device() != "no NVIDIA driver (libcuda.so.1 was not found)"
    gpu_double(driver=12060)
    assert driver_version() == 12060
    assert driver_version("libnothing.so.1") == 0
