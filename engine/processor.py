"""The processor: what it says of itself."""

from __future__ import annotations

import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_TELLING = (
    *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),
    *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),
)
"""lines of /proc/cpuinfo that are the same for equal processors, on x86 and on ARM"""


def processor_features(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """What the processor says it has; nothing where that is not Linux."""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", _text(cpuinfo), re.MULTILINE)
    return frozenset(found[1].split()) if found else frozenset()


def processor_identity(cpuinfo: Path = CPUINFO) -> str:
    """The same for equal processors, another for others. Of a virtual one the name may tell little, and the flags do.

    The first core speaks for all.
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
