"""How many cores this process may use: by its affinity, and by the quota of its control groups, as in a container."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")


@dataclass(frozen=True)
class Cores:
    """Cores that a process may use."""

    machine: int
    """number that the machine has"""
    allowed: int
    """number that the process may run on"""
    quota: float | None = None
    """seconds of processor time in a second that the process and those beside it may take; None: no limit"""

    @property
    def limited(self) -> bool:
        """Whether the quota allows less than the cores give."""
        return self.quota is not None and self.quota < self.allowed

    @property
    def usable(self) -> float:
        """Cores' worth of time."""
        return min(float(self.allowed), math.inf if self.quota is None else self.quota)

    @property
    def threads(self) -> int:
        """Number of threads that can be busy at the same time, 1 at least. With more than the quota allows, all of them
        are stopped for the rest of each period (100 ms) once the quota is used up."""
        return max(1, math.ceil(self.usable))


def cores(root: Path = ROOT) -> Cores:
    """What this process may use now. root: of the file system, for tests."""
    machine = os.cpu_count() or 1
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # this system has no such call
        allowed = machine
    return Cores(machine, allowed, min(_quotas(root), default=None))


def _quotas(root: Path) -> Iterator[float]:
    """The limits of the control groups that this process is in, and of the groups around these: all of them hold."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue  # version 1 has a hierarchy for each few controllers; version 2 names none
        top = mounted / controllers
        # In a container the group's own files may lie at the top, while its path is that of the host.
        parts = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
        for depth in range(len(parts) + 1):
            yield from _quota(top.joinpath(*parts[:depth]))


def _quota(folder: Path) -> Iterator[float]:
    """The limit of one group: microseconds in each period, in `cpu.max` of version 2, in two files of version 1."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            share, period = " ".join((folder / name).read_text() for name in names).split()
            if share not in ("max", "-1"):
                yield int(share) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue  # not of this version, or not limited
