"""What the CUDA side asks of the driver, and what it refuses: on a GPU that is not there."""

import ctypes

import numpy as np
import pytest
from saliency_tubes.engine.cuda import driver as cuda_driver
from saliency_tubes.engine.cuda import overlay as cuda_overlay
from saliency_tubes.engine.cuda import staging
from saliency_tubes.engine.cuda.driver import stream_of, why_not
from saliency_tubes.engine.cuda.memory import View, contiguous, view_of
from saliency_tubes.engine.cuda.samples import CudaPreprocess
from saliency_tubes.engine.cuda.work import (
    CudaEvidence,
    CudaOverlay,
    Format,
    Part,
    RawPlane,
    Surface,
)
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.errors import ModelError, UsageError
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.types import Crop
from surfaces import host_frame

SPEC = InputSpec((8, 8), (0.0,) * 3, (1.0,) * 3, "stretch")
ONES = np.ones((2, 3, 3), np.float32)


class Interface:
    """As torch and cupy say where an array lies."""

    def __init__(self, array, read_only=False, strides=True):
        self.array = array
        self.__cuda_array_interface__ = {
            "typestr": array.dtype.str,
            "shape": array.shape,
            "strides": array.strides if strides else None,
            "data": (array.ctypes.data, read_only),
            "version": 3,
        }


def view(array):
    return View(array.ctypes.data, array.shape, contiguous(array.dtype, array.shape), array.dtype)


def drawn(overlay, double, format, height, width, stream=None):
    """A frame on the GPU, after `overlay` was asked to draw on it."""
    frame = host_frame(format, height, width).on_gpu(double)
    overlay.draw([frame.surface], [[Part(ONES, 0.5, 0.0, 1.0)]], [Crop()], stream)
    return frame


def waited(double):
    """How often the host had to wait."""
    return sum(count for name, count in double.report["waits"].items() if "|waited|" in name)


def test_goes_on_the_callers_stream_and_waits_for_nobody(gpu_double):
    double, overlay = gpu_double(seed=0), CudaOverlay(Style())
    with overlay.gpu.entered():
        stream = overlay.gpu.stream()

    class Torch:
        cuda_stream = stream.handle

    drawn(overlay, double, Format.NV12, 40, 60, Torch())  # tables are uploaded, once
    with overlay.gpu.entered():
        stream.synchronize()
    before = host_frame(Format.NV12, 40, 60).memory[0]
    waits = waited(double)
    frame = drawn(overlay, double, Format.NV12, 40, 60, Torch())
    assert np.array_equal(frame.memory[0].values, before)
    assert waited(double) == waits
    assert set(double.report["launched_on"]) == {f"overlay_linear|{stream.handle}"}
    overlay.not_finite(Torch())
    assert not np.array_equal(frame.memory[0].values, before)
    allocations = double.counts["allocations"]
    for _ in range(3 * staging.SLOTS):
        drawn(overlay, double, Format.NV12, 40, 60, Torch())
    assert double.counts["allocations"] <= allocations + staging.SLOTS
    assert double.counts["pageable_copies"] == 0
    stream.close()


def test_what_is_kept_is_bounded(gpu_double, monkeypatch):
    monkeypatch.setattr(cuda_driver, "MOST_KEPT", 12)
    monkeypatch.setattr(cuda_overlay, "MOST_PLANS", 1)
    double, overlay = gpu_double(), CudaOverlay(Style())
    for size in range(10, 40):
        drawn(overlay, double, Format.I420, size, size + 1)
    assert double.live["device"] < 12 + 8 + staging.SLOTS


def test_cuda_says_why(gpu_double):
    double, overlay = gpu_double(), CudaOverlay(Style())
    double.fail("cuLaunchKernel", 1)
    with pytest.raises(ModelError, match="the GPU says: invalid argument"):
        drawn(overlay, double, Format.RGB, 9, 9)
    double.fail("cuMemAlloc", 2)
    with pytest.raises(ModelError, match="the GPU says: out of memory"):
        drawn(overlay, double, Format.RGB, 9, 19)
    drawn(overlay, double, Format.RGB, 9, 19)
    double.fail("run kernel overlay_linear", 719)
    drawn(overlay, double, Format.RGB, 9, 19)
    with pytest.raises(ModelError, match="the GPU says: unspecified launch failure"):
        overlay.not_finite()


def test_nothing_is_launched_for_wrong_arguments(gpu_double):
    double = gpu_double()
    surface, crop = host_frame(Format.RGB, 9, 9).on_gpu(double).surface, Crop()
    overlay, paper = CudaOverlay(Style()), CudaOverlay(PRESETS["paper-keras"])
    part = Part(ONES, 0, 0.0, 1.0)
    for drawn, surfaces, evidence, error, match in (
        (overlay, [surface], [], ValueError, "as many"),
        (overlay, [surface], [[part] * 5], ValueError, "4 parts"),
        (overlay, [surface], [[part, Part(ONES[:, :2], 0, 0.0, 1.0)]], ValueError, "alike"),
        (overlay, [surface], [[Part(np.ones((1, 65, 2), np.float32), 0, 0.0, 1.0)]], ValueError, "1 to 64"),
        (overlay, [surface], [np.ones((3, 3))], TypeError, "Parts"),
        (paper, [surface], [[part]], TypeError, "cells"),
        (paper, [surface], [np.ones((3, 3, 3))], ValueError, "must be"),
    ):
        with pytest.raises(error, match=match):
            drawn.draw(surfaces, evidence, [crop] * len(surfaces))
    with pytest.raises(TypeError, match="stream"):
        overlay.draw([surface], [[part]], [crop], "stream")
    made, kernel = np.zeros((3, 8, 8), np.uint8), CudaPreprocess(SPEC)
    for target in (made[:2].copy(), made.astype(np.float32)):
        with pytest.raises(ValueError, match="out must be"):
            kernel.sample(surface, view(target))
    activation, out, weights = (
        np.ones((5, 2, 3, 3), np.float32),
        np.zeros((2, 3, 3), np.float32),
        np.ones(5, np.float32),
    )
    sums = CudaEvidence()
    for arguments, match in (
        ((view(activation.astype(float)), weights, view(out)), "activation must be"),
        ((view(activation), weights[:4], view(out)), "weights must be"),
        ((view(activation), weights, view(out[:1].copy())), "out must be"),
    ):
        with pytest.raises(ValueError, match=match):
            sums.compute(*arguments)
    assert not double.launches


def test_surfaces_that_cannot_be_drawn_on():
    good = np.zeros((6, 8), np.uint8)
    for planes, error, match in (
        ([Interface(good)], ValueError, "2 planes"),
        ([Interface(good.astype(np.uint16)), Interface(good[:3])], TypeError, "must be uint8"),
        ([Interface(good[:5]), Interface(good[:3])], ValueError, r"must be \(6, 8\)"),
        ([Interface(good, read_only=True), Interface(good[:3])], ValueError, "writable"),
        ([Interface(np.zeros((6, 16), np.uint8)[:, ::2]), Interface(good[:3])], ValueError, "no gaps"),
        ([Interface(good[::-1]), Interface(good[:3])], ValueError, "positive"),
        ([RawPlane(1024, 7), RawPlane(1024, 8)], ValueError, "pitch of 8"),
        ([RawPlane(0, 8), RawPlane(1024, 8)], ValueError, "plane 0"),
        ([good, good[:3]], TypeError, "on a GPU"),
    ):
        with pytest.raises(error, match=match):
            Surface(Format.NV12, planes, 8, 6)
    with pytest.raises(ValueError, match="multiple of 2"):
        Surface(Format.P010, [RawPlane(1025, 16), RawPlane(1024, 16)], 8, 6)
    with pytest.raises(ValueError, match="width and height"):
        Surface(Format.NV12, [RawPlane(1024, 8)] * 2, 0, 6)
    padded = np.zeros((6, 32), np.uint8)
    found = Surface(Format.NV12, [Interface(padded[:, :8]), Interface(padded[:3, :8])], 8, 6)
    assert found.places == (RawPlane(padded.ctypes.data, 32),) * 2


def dlpack(array, device=2, flags=None, device_id=0):
    """A capsule as a library on a GPU makes it, over memory of the host."""
    from saliency_tubes.engine.cuda.memory import _Tensor, _Versioned

    versioned = _Versioned(major=1, minor=0, flags=flags or 0)
    tensor = _Tensor() if flags is None else versioned.tensor
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    strides = (ctypes.c_int64 * array.ndim)(*[stride // array.itemsize for stride in array.strides])
    tensor.data, tensor.ndim, tensor.shape, tensor.strides = array.ctypes.data, array.ndim, shape, strides
    tensor.device.type, tensor.device.id = device, device_id
    tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes = {"u": 1, "f": 2}[array.dtype.kind], array.itemsize * 8, 1
    api = ctypes.pythonapi.PyCapsule_New
    api.restype, api.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    name = b"dltensor" if flags is None else b"dltensor_versioned"
    made = tensor if flags is None else versioned
    capsule = api(ctypes.addressof(made), name, None)
    dlpack.kept.append((made, shape, strides, array, name))
    return capsule


dlpack.kept = []


def test_dlpack():
    array = np.arange(24, dtype=np.float32).reshape(4, 6)[:, :3]
    for flags in (None, 0, 1):
        found = view_of(dlpack(array, flags=flags, device_id=1))
        assert (found.pointer, found.shape, found.strides) == (array.ctypes.data, (4, 3), (24, 4))
        assert (found.dtype, found.read_only, found.device) == (np.float32, bool(flags), 1)
        assert not found.contiguous
        assert found.packed(1)
    with pytest.raises(TypeError, match="not on a GPU"):
        view_of(dlpack(array, device=1))
    with pytest.raises(TypeError, match="not on a GPU"):  # NumPy's own, without copying it
        view_of(array)


@pytest.mark.parametrize(
    ("stream", "handle"),
    [
        (None, 0),
        (7, 7),
        (type("Core", (), {"__cuda_stream__": lambda self: (0, 9)})(), 9),
        (type("Old", (), {"__cuda_stream__": (0, 8)})(), 8),
        (type("Other", (), {"handle": 6})(), 6),
    ],
)
def test_streams(stream, handle):
    assert stream_of(stream) == handle


def test_why_not(monkeypatch):
    assert "no " in (why_not() or "no driver")
    monkeypatch.setattr(cuda_driver, "find_device", lambda index: "no GPU 3: there are 1, counted from 0")
    assert why_not(3) == "no GPU 3: there are 1, counted from 0"
    with pytest.raises(UsageError, match="cannot be used: no GPU 3"):
        CudaOverlay(Style(), device=3)
    monkeypatch.setattr(cuda_driver, "find_device", lambda index: None)

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(cuda_driver, "import_module", missing)
    assert "pip install 'saliency-tubes[cuda]'" in why_not()
