"""What these tests need. Without it they are skipped; where SALIENCY_TUBES_GPU promises it, they fail (promises.py)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from promises import KINDS, missing
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.runtimes.device import Device, find_device
from saliency_tubes.engine.runtimes.tensorrt import Kit
from saliency_tubes.engine.runtimes.tensorrt_builder import find_kit
from saliency_tubes.stream.doctor.video import JETSON, NVCODEC
from saliency_tubes.stream.media.gst_load import Missing, load
from saliency_tubes.stream.media.nvc_decoder import why_no_nvdec


@pytest.fixture(scope="session")
def gpu() -> Device:
    found = find_device()
    return missing(f"needs a GPU, and here is {found}", *KINDS) if isinstance(found, str) else found


@pytest.fixture(scope="session")
def kit(gpu: Device) -> Kit:
    """The first TensorRT that is installed, with cuda-bindings."""
    try:
        import_module("cuda.bindings.driver")
        return find_kit()
    except ImportError as error:
        missing(f"needs cuda-bindings: {error}", "tensorrt")
    except UsageError as error:
        missing(str(error), "tensorrt")


@pytest.fixture(scope="session")
def nvdec(gpu: Device) -> frozenset[str]:
    """The elements of GStreamer's nvcodec that are there; without a decoder among them nothing can be tested."""
    return _elements(NVCODEC, "nvh264dec", "nvdec")


@pytest.fixture(scope="session")
def nvc(gpu: Device) -> None:
    """PyNvVideoCodec, and a GPU that decodes by it."""
    reason = why_no_nvdec(gpu.index, "h264")
    if reason is not None:
        missing(reason, "nvdec")


@pytest.fixture(scope="session")
def jetson(gpu: Device) -> frozenset[str]:
    """The elements of GStreamer that a Jetson brings."""
    if not Path("/etc/nv_tegra_release").exists():
        missing("needs a Jetson: there is no /etc/nv_tegra_release", "jetson")
    return _elements(JETSON, "nvv4l2decoder", "jetson")


def _elements(names: tuple[str, ...], needed: str, kind: str) -> frozenset[str]:
    try:
        gst = load().Gst
    except Missing as error:
        missing(str(error), kind)
    found = frozenset(name for name in names if gst.ElementFactory.find(name))
    return found if needed in found else missing(f"GStreamer has no {needed}", kind)
