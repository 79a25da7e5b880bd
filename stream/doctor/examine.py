"""All probes, in the order in which they are shown. Pure."""

from __future__ import annotations

from . import gpu, machine, video, ways
from .finding import Probe, Section
from .system import System

PROBES: dict[str, tuple[Probe, ...]] = {
    "Machine": (
        machine.system,
        machine.python,
        machine.packages,
        machine.processor,
        machine.simd,
        machine.compiled,
        machine.shared_memory,
        machine.cache,
        machine.display,
    ),
    "GPU": (
        gpu.jetson,
        gpu.power,
        gpu.driver,
        gpu.device,
        gpu.bindings,
        gpu.tensorrt,
        gpu.plan,
        gpu.onnxruntime,
        gpu.nvdec,
        gpu.nvenc,
    ),
    "Video": (video.pyav, video.gstreamer, video.rtsp_server, video.on_gpu, video.cameras),
    "What a run takes": (
        ways.frames,
        ways.decode,
        ways.sample,
        ways.inference,
        ways.evidence,
        ways.overlay,
        ways.encode,
    ),
}
"""heading -> probes under it"""


def examine(system: System) -> tuple[Section, ...]:
    """What every probe finds, in sections; those that do not matter on this machine are left out."""
    sections = []
    for title, probes in PROBES.items():
        found = tuple(finding for finding in (probe(system) for probe in probes) if finding is not None)
        if found:
            sections.append(Section(title, found))
    return tuple(sections)
