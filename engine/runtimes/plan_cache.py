"""Keeps the folder of a user's own plans within a bound: those that were not used for longest go first.

When a plan was used is the time of its file, which each use sets. This module has no clock: ages are counted from the
plan that is used now.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from .planfile import json_path

MOST_BYTES = 4 << 30
"""of all plans together"""
MOST_AGE = 180 * 24 * 3600
"""seconds that a plan is kept without being used"""
LONGEST_BUILD = 24 * 3600
"""seconds; a folder of a build that is older was left by a process that was killed"""
SUFFIX, BUILDING = ".plan", ".building-"


def mark_used(plan: Path) -> None:
    """Says that a plan is used now."""
    with suppress(OSError):
        os.utime(plan)


def prune(folder: Path, used: Path) -> list[Path]:
    """Removes plans, with what lies beside them, until the rest is within the bounds; returns them. The plan `used`
    stays, whatever its size. What builds that were killed have left goes too. A plan that another process has loaded
    may go: it was read as a whole.
    """
    found = sorted((changed, size, path) for path in folder.glob(f"*{SUFFIX}") for changed, size in _about(path))
    now = max((changed for changed, _, path in found if path == used), default=0.0)
    total, removed = sum(size for _, size, _ in found), list[Path]()
    for left in folder.glob(f"{BUILDING}*"):
        with suppress(OSError):
            if now - left.stat().st_mtime > LONGEST_BUILD:
                shutil.rmtree(left)
    for changed, size, path in found:
        if path == used or (total <= MOST_BYTES and now - changed <= MOST_AGE):
            continue
        with suppress(OSError):  # another user's, or another process was faster
            path.unlink()
            json_path(path).unlink(missing_ok=True)
            removed.append(path)
            total -= size
    return removed


def in_words(removed: list[Path]) -> str:
    """What was removed, for people; empty for nothing."""
    if not removed:
        return ""
    more = f" and {len(removed) - 2} more" if len(removed) > 2 else ""
    names = ", ".join(path.name for path in removed[:2])
    return f"; removed from {removed[0].parent}, unused for longest: {names}{more}"


def _about(path: Path) -> list[tuple[float, int]]:
    """When a plan was used and its bytes, with its JSON; nothing if it has just gone."""
    with suppress(OSError):
        about, size = path.stat(), 0
        with suppress(OSError):
            size = json_path(path).stat().st_size
        return [(about.st_mtime, about.st_size + size)]
    return []
