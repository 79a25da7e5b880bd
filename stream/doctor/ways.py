"""Which way each stage of a run takes on this machine, and why. Pure: it repeats what the choosing code answered."""

from __future__ import annotations

from ...engine.draw.overlay import TITLES
from ...engine.picture import HOST
from ..app.speed import Speeds
from ..media.encoders import FAMILIES, Chosen
from .finding import BROKEN, OK, SLOWER, Finding
from .gpu import install_tensorrt
from .system import System


def frames(machine: System) -> Finding | None:
    """The memory that frames live in. Of a model that cannot be run it is not known: `inference` says why."""
    placed = machine.asked.placing
    if isinstance(placed, str):
        runs = not isinstance(machine.asked.model, str) and not isinstance(machine.asked.runner, str)
        return Finding(BROKEN, "frames", placed) if runs else None
    where = "the host's memory" if placed.name == HOST else f"the memory of {placed.name}"
    return Finding(OK, "frames", f"in {where}: {placed.why}")


def decode(machine: System) -> Finding:
    ways = machine.asked.decode
    if not machine.asked.gstreamer:
        ways = {kind: f"{way}, which is not there" if way == "GStreamer" else way for kind, way in ways.items()}
    by_way = {way: [kind for kind in ways if ways[kind] == way] for way in ways.values()}
    text = "; ".join(f"{', '.join(kinds)} by {way}" for way, kinds in by_way.items())
    return Finding(OK, "decode", text)


def sample(machine: System) -> Finding:
    best, *_ = machine.asked.overlay
    if _on_gpu(machine):
        return Finding(OK, "sample", "CUDA, once a frame, into bytes that stay there")
    if best == "numpy":
        return Finding(SLOWER, "sample", "OpenCV, which converts the whole picture: there is no compiled part")
    return Finding(OK, "sample", "C++, straight from the decoder's planes")


def evidence(machine: System) -> Finding:
    if _on_gpu(machine):
        return Finding(OK, "evidence", "CUDA, from the activation where the network left it")
    return Finding(OK, "evidence", "NumPy")


def _on_gpu(machine: System) -> bool:
    """Whether frames live on a GPU."""
    placed = machine.asked.placing
    return not isinstance(placed, str) and placed.name != HOST


def inference(machine: System) -> Finding:
    model, runner = machine.asked.model, machine.asked.runner
    if isinstance(model, str):
        return Finding(BROKEN, "inference", model)
    if isinstance(runner, str):
        return Finding(BROKEN, "inference", runner, "" if model.plan else "pip install openvino")
    text = f"{runner.title}, {_precision(runner.precisions, machine.asked.speeds)}"
    if model.plan is not None or isinstance(machine.asked.device, str):
        return Finding(OK, "inference", text)
    # a GPU that the model file is not run on unless that is asked for
    offered = machine.asked.on_cuda
    if isinstance(offered, str):
        return Finding(SLOWER, "inference", text, install_tensorrt(machine))
    return Finding(SLOWER, "inference", f"{text}; or {offered.title}", "saliency-tubes run INPUT OUTPUT --device cuda")


def _precision(offered: tuple[str, ...], speeds: Speeds | None) -> str:
    if len(offered) < 2:
        return offered[0]
    if speeds is None:
        return f"f32 for files; {' or '.join(offered)} live, which the first live start measures"
    return f"f32 for files; live {speeds.quickest}" + (f": {speeds.in_words}" if speeds.in_words else "")


def overlay(machine: System) -> Finding:
    best, *_ = machine.asked.overlay
    if _on_gpu(machine):
        return Finding(OK, "overlay", "CUDA, in place")
    return Finding(SLOWER if best == "numpy" else OK, "overlay", TITLES[best])


def encode(machine: System) -> Finding:
    chosen = {library: one for library, one in machine.asked.encoders.items() if isinstance(one, Chosen)}
    if not chosen:
        reasons = "; ".join(f"{library}: {one}" for library, one in machine.asked.encoders.items())
        return Finding(BROKEN, "encode", reasons or "no encoder was found", "pip install --upgrade av")
    by_gpu = any(one.name in family for one in chosen.values() for name, family in FAMILIES.items() if name != "x264")
    words = "; ".join(f"{one.name} by {library}" for library, one in chosen.items())
    files = "files are written by libx264 unless --encoder says otherwise; live: "
    return Finding(OK, "encode", (files if by_gpu else "") + words)
