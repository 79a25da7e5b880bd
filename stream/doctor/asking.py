"""Asks the code that chooses what it would choose on this machine, and keeps its answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, TypeVar

from ...engine.cachefile import cache_folder, read_cached, write_cached
from ...engine.cuda.driver import why_not
from ...engine.draw.overlay import paths
from ...engine.errors import UsageError, one_line
from ...engine.picture import HOST
from ...engine.runtimes.base import Choices
from ...engine.runtimes.device import Device, find_device
from ...engine.runtimes.models import find_model, is_plan, read_manifest
from ...engine.runtimes.open import choices, place_of
from ...engine.runtimes.planfile import read_plan
from ...engine.runtimes.tensorrt import MODULES, load_kit
from ..app.placing import Placing, choose
from ..app.speed import Speeds, kept_speeds
from ..media import gst_load
from ..media.encoders import Chosen
from ..media.gst_ways import decodes_into
from ..media.nvc_decoder import why_no_nvdec
from ..net.address import Address
from ..sources.base import SourceOptions
from ..sources.open import backend_of
from .system import Answers, FoundKit, Model
from .video import ELEMENTS

_T = TypeVar("_T")
INPUTS = {
    "files": "clip.mp4",
    "network cameras": "rtsp://camera/live",
    "USB cameras": "/dev/video0",
    "CSI cameras": "csi://0",
}
"""Kind of input -> an address of that kind."""
LIBRARIES = {"av": "PyAV", "gst": "GStreamer"}


def ask(model: str) -> Answers:
    """What is chosen for a run with this model."""
    found = _answer(lambda: _model(model))
    runner = _answer(lambda: choices(model)) if isinstance(found, Model) else found
    found_device = find_device()
    gst, placed = _gstreamer(), _answer(lambda: choose("auto", place_of(model)))
    return Answers(
        device=found_device,
        kernels=_kernels(),
        kits=tuple(_kits()),
        model=found,
        runner=runner,
        on_cuda=_answer(lambda: choices(model, device="cuda")),
        onnxruntime=_answer(lambda: choices("i3d", runtime="onnxruntime", device="cuda")),
        speeds=_speeds(found, runner),
        placing=placed,
        overlay=paths(),
        overlay_missing=_missing_module("saliency_tubes.engine._overlay"),
        decode={kind: _decodes(uri, placed) for kind, uri in INPUTS.items()},
        gstreamer_decodes=_on_gpu(found_device, lambda index: decodes_into(f"cuda:{index}")) is True,
        nvdec_missing=str(_on_gpu(found_device, lambda index: why_no_nvdec(index, "h264")) or ""),
        decoders=_decoders(),
        encoders=_encoders(not isinstance(gst, str)),
        gstreamer="" if isinstance(gst, str) else gst.version,
        gstreamer_missing=gst if isinstance(gst, str) else "",
        elements=frozenset() if isinstance(gst, str) else gst.elements,
        rtsp_server_missing=_missing(lambda: gst_load.load("GstRtspServer")),
        display_missing=_missing(lambda: import_module("..sinks.display", __package__).check_screen()),
        cache_kept=_keeps(),
    )


def _answer(question: Callable[[], _T]) -> _T | str:
    """The answer, or why there is none, in one line."""
    try:
        return question()
    except Exception as error:  # a library may raise anything while it is loaded
        return one_line(error) or type(error).__name__


def _missing(question: Callable[[], object]) -> str:
    """Why there is no answer; empty if there is one."""
    try:
        question()
    except Exception as error:
        return one_line(error) or type(error).__name__
    return ""


def _missing_module(name: str) -> str:
    return _missing(lambda: import_module(name))


def _model(name: str) -> Model:
    path = find_model(name)
    return Model(name, read_manifest(path), read_plan(path) if is_plan(path) else None)


def _kits() -> list[FoundKit]:
    found = []
    for builder, modules in MODULES.items():
        module = next(filter(find_spec, modules), None)
        if module is None:
            continue
        try:
            found.append(FoundKit(builder, load_kit(builder, module).version))
        except UsageError as error:
            found.append(FoundKit(builder, "", str(error)))
    return found


def _speeds(model: Model | str, runner: Choices | str) -> Speeds | None:
    if isinstance(model, str) or isinstance(runner, str) or model.plan is not None:
        return None
    return kept_speeds(find_model(model.path), runner, min(model.manifest.windows))


def _decodes(uri: str, placed: Placing | str) -> str:
    where = HOST if isinstance(placed, str) else placed.name
    return LIBRARIES[backend_of(Address.parse(uri), SourceOptions(), where)]


def _on_gpu(device: Device | str, question: Callable[[int], object]) -> object:
    """The answer for a GPU; None where there is none."""
    return None if isinstance(device, str) else _answer(lambda: question(device.index))


def _decoders() -> tuple[str, ...]:
    found = _answer(lambda: import_module("..media.av_codecs", __package__).decoders())
    return () if isinstance(found, str) else tuple(found)


def _encoders(with_gstreamer: bool) -> dict[str, Chosen | str]:
    logging.getLogger("libav").setLevel(logging.CRITICAL)
    modules = {"PyAV": "av_encoder"} | ({"GStreamer": "gst_encoder"} if with_gstreamer else {})
    return {
        library: _answer(lambda name=name: import_module(f"..media.{name}", __package__).choose_encoder("auto"))  # type: ignore[misc]
        for library, name in modules.items()
    }


class _GStreamer(NamedTuple):
    version: str
    elements: frozenset[str]
    """those of ELEMENTS that are there"""


def _gstreamer() -> _GStreamer | str:
    """GStreamer, or why it cannot be loaded."""
    try:
        gst = gst_load.load("GstApp").Gst
    except gst_load.Missing as error:
        return str(error)
    numbers = ".".join(map(str, gst.version()[:3]))
    return _GStreamer(numbers, frozenset(name for name in ELEMENTS if gst.ElementFactory.find(name)))


def _kernels() -> str:
    """Why the CUDA kernels cannot run; empty if they can."""
    return _answer(lambda: why_not()) or ""


def _keeps() -> bool:
    """Whether a file in the cache is there after it was written, by the cache's own rules."""
    path, head = cache_folder("doctor") / "kept", b"saliency-tubes doctor\n"
    write_cached(path, head, b"kept")
    return read_cached(path, head) == b"kept"
