"""Memory: ten times the frames must not take more of it."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from clips import moving
from harness import Row, Setup, Target
from saliency_tubes import explain

FRAMES = (1_000, 10_000)
QUICK_FRAMES = (100, 400)
WINDOW = 16
TARGET = Target(0.05)
STATUS = Path("/proc/self/status")


def rows(setup: Setup) -> list[Row]:
    """Peaks of two videos, each through the whole pipeline in a process of its own."""
    counts = QUICK_FRAMES if setup.quick else FRAMES
    peaks = [_measure(setup.folder, frames) for frames in counts]
    found = [Row(f"memory: peak, {n} frames 240p", peak, "MiB") for n, peak in zip(counts, peaks, strict=True)]
    growth = peaks[1] / peaks[0] - 1
    return [*found, Row(f"memory: growth, {counts[0]} to {counts[1]} frames", growth, "x", _target(setup))]


def _target(setup: Setup) -> Target | None:
    # a few seconds in, caches and queues still fill: short videos say nothing
    return None if setup.quick else TARGET


def _measure(folder: Path, frames: int) -> float:
    """MiB."""
    clip = moving(folder / f"{frames}.mp4", frames)
    done = subprocess.run([sys.executable, __file__, str(clip)], stdout=subprocess.PIPE, check=True, text=True)
    clip.unlink()
    written, peak = done.stdout.split()
    if int(written) != frames:
        raise RuntimeError(f"{frames} frames went in, {written} came out")
    return float(peak)


def _explain(clip: Path) -> int:
    """Explains the clip into a video and JSON lines; returns the frames written."""
    outputs = [clip.with_suffix(suffix) for suffix in (".tubes.mp4", ".jsonl")]
    count = sum(1 for _ in explain(clip, *outputs, frames=WINDOW, hop=WINDOW, stride=1))
    for output in outputs:
        output.unlink()
    return count


def _peak() -> float:
    """The most memory this process ever held, MiB."""
    if STATUS.exists():
        # Linux counts the parent's pages in ru_maxrss, from between fork and exec: VmHWM is this program's alone
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    print(_explain(Path(sys.argv[1])), _peak())
