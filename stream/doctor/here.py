"""Reads this machine into a `System`. The only part of the doctor that looks at anything.

Nothing here may fail: whatever cannot be read counts as absent, and what is refused is kept as the reason.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from glob import glob
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TypeVar

from ...engine.cachefile import cache_folder
from ...engine.cores import cores
from ...engine.processor import processor_features
from ...engine.runtimes.device import DRIVER
from .asking import ask
from .system import Processor, System

_T = TypeVar("_T")
NAME = "saliency-tubes"
OPTIONAL = (
    *("cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12", "tensorrt", "tensorrt-rtx", "onnxruntime"),
    *("onnxruntime-gpu", "PyNvVideoCodec", "paho-mqtt", "prometheus-client", "torch"),
)
"""Python packages that some ways need."""
TELLING = (
    *("/etc/nv_tegra_release", "/etc/nvpmodel.conf", "/proc/device-tree/model", "/proc/driver/nvidia/version"),
    *("/.dockerenv", "/run/.containerenv", "/sys/bus/pci/devices/*/vendor"),
    *("/dev/nvidia*", "/dev/nvhost*", "/dev/video*", "/dev/dri/renderD*"),
)
"""Files and devices that tell something, as patterns."""
COMMANDS = ("nvpmodel -q",)
PROGRAMS = ("g++", "docker", "apt-get", "nvidia-smi", "nvpmodel")
PATIENCE = 10.0
"""Maximum seconds that a command may take."""
LONGEST = 1 << 16
"""Maximum bytes that are read of a file."""


def this_system(model: str) -> System:
    """This machine. model: what `ask` asks for. Takes seconds: runtimes are loaded and encoders tried."""
    files = {path: text for pattern in TELLING for path in sorted(glob(pattern)) for text in [_read(path)]}
    packages = {name: found for name in (*_required(), *OPTIONAL) if (found := _version(name))}
    return System(
        version=_version(NAME),
        name=_operating_system(),
        kernel=platform.release(),
        machine=platform.machine(),
        python=f"{platform.python_version()}, {sys.executable}",
        processor=processor(),
        packages=packages,
        required=_required(),
        files={path: text for path, text in files.items() if not _is_other_card(path, text)},
        denied=dict(_denied(path for path in files if re.fullmatch(r"/dev/(video|nvidia)\d+", path))),
        commands={command: said for command in COMMANDS if (said := _said(command)) is not None},
        programs=frozenset(name for name in PROGRAMS if shutil.which(name)),
        environment={name: os.environ[name] for name in ("container", "DISPLAY") if name in os.environ},
        cuda=_cuda(),
        shared_memory=_or_none(lambda: shutil.disk_usage("/dev/shm").total),
        cache=str(cache_folder("")),
        asked=ask(model),
    )


def _or_none(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except (OSError, ValueError, IndexError):
        return None


def _read(path: str) -> str:
    """The content of a file; of a screen's PCI device its vendor; empty for devices."""
    if not os.path.isfile(path):
        return ""
    with_class = Path(path).with_name("class")
    text = _or_none(lambda: Path(path).read_bytes()[:LONGEST].decode(errors="replace")) or ""
    kind = _or_none(lambda: with_class.read_text().strip()) if path.startswith("/sys/bus/pci/") else ""
    return f"{text.strip()} {kind}".strip() if kind else text


def _is_other_card(path: str, text: str) -> bool:
    """Whether it is a PCI device, and neither a screen nor a 3D controller (class 03)."""
    return path.startswith("/sys/bus/pci/") and " 0x03" not in text


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _required() -> tuple[str, ...]:
    """The packages that this one needs whatever is asked of it: those without a condition."""
    try:
        needed = requires(NAME) or []
    except PackageNotFoundError:
        return ()
    found = [re.match(r"[\w.-]+", text) for text in needed if ";" not in text]
    return tuple(match[0] for match in found if match)


def _operating_system() -> str:
    text = _or_none(lambda: Path("/etc/os-release").read_text(errors="replace")) or ""
    named = re.search(r'^PRETTY_NAME="?([^"\n]+)', text, re.MULTILINE)
    return named[1] if named else platform.system()


def processor() -> Processor:
    """The processor, with the cores that this process may use."""
    text = _or_none(lambda: Path("/proc/cpuinfo").read_text(errors="replace")) or ""
    named = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    name = named[1] if named else platform.processor() or platform.machine()
    return Processor(" ".join(name.split()), cores(), processor_features())


def _denied(paths: Iterator[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if not os.access(path, os.R_OK | os.W_OK):
            yield path, _or_none(lambda path=path: Path(path).group()) or "video"  # type: ignore[misc]


def _said(command: str) -> str | None:
    try:
        done = subprocess.run(command.split(), capture_output=True, text=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout


def _cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver serves, as it says itself."""
    number = ctypes.c_int()
    try:
        code = ctypes.CDLL(DRIVER).cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return None if code or not number.value else (number.value // 1000, number.value % 1000 // 10)
