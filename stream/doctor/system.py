"""A machine as the doctor sees it: plain values, so that a test can describe any machine.

Two kinds of facts: what is installed and allowed (`System`), and what the code that chooses says when it is asked
(`Answers`). The doctor has no rules of its own about what is chosen. Where something was asked for and refused, the
answer is a `str`: the reason, in the words of the code that refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...engine.cores import Cores
from ...engine.manifest import Manifest
from ...engine.runtimes.base import Choices
from ...engine.runtimes.device import Device
from ...engine.runtimes.planfile import PlanInfo
from ..app.placing import Placing
from ..app.speed import Speeds
from ..media.encoders import Chosen


@dataclass(frozen=True)
class Processor:
    """What computes beside a GPU."""

    name: str
    cores: Cores
    """that this process may use"""
    features: frozenset[str] = frozenset()
    """instruction sets, as Linux names them"""


@dataclass(frozen=True)
class FoundKit:
    """An installed TensorRT."""

    name: str
    """tensorrt or tensorrt-rtx"""
    version: str
    """empty if it cannot be used"""
    refused: str = ""
    """why it cannot be used"""


@dataclass(frozen=True)
class Model:
    """The model that the run would use."""

    path: str
    manifest: Manifest
    plan: PlanInfo | None = None
    """None for an ONNX file"""


@dataclass(frozen=True)
class Answers:
    """What the code that chooses says on this machine."""

    device: Device | str = "no NVIDIA driver"
    kernels: str = ""
    """why the CUDA kernels cannot run; empty if they can"""
    kits: tuple[FoundKit, ...] = ()
    model: Model | str = "not asked for"
    runner: Choices | str = "not asked for"
    """the runtime for the model, and the precisions that it offers"""
    on_cuda: Choices | str = "not asked for"
    """the same with `--device cuda`"""
    onnxruntime: Choices | str = "not asked for"
    """the same with `--device cuda --runtime onnxruntime`"""
    speeds: Speeds | None = None
    """time of a window by precision, if it was measured at an earlier start"""
    placing: Placing | str = "not asked for"
    """where frames live with this model, and why there"""
    overlay: tuple[str, ...] = ("numpy",)
    """paths of the overlay on the CPU, the fastest first"""
    overlay_missing: str = ""
    """why the compiled part cannot be loaded; empty if it can"""
    decode: Mapping[str, str] = field(default_factory=dict)
    """kind of input -> what decodes it, and where its frames then lie"""
    gstreamer_decodes: bool = False
    """whether GStreamer decodes H.264 into the GPU's memory"""
    nvdec_missing: str = "not asked for"
    """why PyNvVideoCodec cannot decode H.264 on the GPU; empty if it can"""
    decoders: tuple[str, ...] = ()
    """codecs that PyAV decodes"""
    encoders: Mapping[str, Chosen | str] = field(default_factory=dict)
    """library -> the H.264 encoder that works with it"""
    gstreamer: str = ""
    """version; empty if it cannot be loaded"""
    gstreamer_missing: str = ""
    """why GStreamer cannot be loaded"""
    elements: frozenset[str] = frozenset()
    """GStreamer's elements, of those that are looked for"""
    rtsp_server_missing: str = ""
    """why RTSP cannot be served; empty if it can"""
    display_missing: str = ""
    """why no window can be shown; empty if one can"""
    cache_kept: bool = True
    """whether the cache keeps what is written into it"""


@dataclass(frozen=True)
class System:
    """Everything that the doctor knows of a machine."""

    version: str
    """of saliency-tubes"""
    name: str
    """of the operating system"""
    kernel: str
    machine: str
    """x86_64, aarch64"""
    python: str
    processor: Processor
    packages: Mapping[str, str] = field(default_factory=dict)
    """Python packages that are installed, of those that matter -> version"""
    required: tuple[str, ...] = ()
    """Python packages that the installation itself says it needs"""
    files: Mapping[str, str] = field(default_factory=dict)
    """path -> content, of files that tell something; empty for devices and folders"""
    denied: Mapping[str, str] = field(default_factory=dict)
    """devices that this user may not use -> the group that may"""
    commands: Mapping[str, str] = field(default_factory=dict)
    """command -> what it printed, if it is there and succeeded"""
    programs: frozenset[str] = frozenset()
    """commands that can be found, of those that matter"""
    environment: Mapping[str, str] = field(default_factory=dict)
    cuda: tuple[int, int] | None = None
    """newest version of CUDA that the NVIDIA driver serves"""
    shared_memory: int | None = None
    """bytes of /dev/shm"""
    cache: str = ""
    """folder of the cache"""
    asked: Answers = Answers()

    @property
    def in_container(self) -> bool:
        return bool({"/.dockerenv", "/run/.containerenv"} & self.files.keys() or self.environment.get("container"))

    @property
    def apt(self) -> str:
        """The command that installs packages of the system; in a container one is root, and there is no sudo."""
        return f"{'' if self.in_container else 'sudo '}apt-get install -y"

    @property
    def is_jetson(self) -> bool:
        return "/etc/nv_tegra_release" in self.files

    @property
    def board(self) -> str:
        """The name of a board such as a Jetson; empty where there is none."""
        return self.files.get("/proc/device-tree/model", "").strip("\0\n ")

    @property
    def driver(self) -> str:
        """The version of the NVIDIA driver in the kernel, which a container sees too; empty if there is none."""
        found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", self.files.get("/proc/driver/nvidia/version", ""))
        return found[1] if found else ""

    def has(self, start: str) -> list[str]:
        """The files whose path begins so, sorted."""
        return sorted(path for path in self.files if path.startswith(start))
