"""Which processor this is, so that what was measured on one is not used on another."""

from __future__ import annotations

import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_TELLING = (
    *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),
)
"""The lines of /proc/cpuinfo, on x86 and on ARM, that are the same for equal processors."""


def processor_features(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """The instruction sets that Linux names for the processor; empty on other systems."""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", _text(cpuinfo), re.MULTILINE)
    return frozenset(flags[1].split()) if flags else frozenset()


def processor_identity(cpuinfo: Path = CPUINFO) -> str:
    """A text that is equal for equal processors and differs for others.

    It holds the flags beside the name, for the name of a virtual processor may say little. The first core counts for
    all of them.
    """
    first = _text(cpuinfo).partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    told = [f"{name.strip()}={value.strip()}" for name, _, value in pairs if name.strip() in _TELLING]
    return "\n".join([platform.machine(), *(sorted(told) or [platform.processor()])])


def _text(cpuinfo: Path) -> str:
    try:
        return cpuinfo.read_text(errors="replace")
    except OSError:
        return ""
