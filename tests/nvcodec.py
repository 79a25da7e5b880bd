"""GStreamer's plugin nvcodec on the GPU that is not there (tests/gpu_double): for child processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gpu_double import Double

HERE = Path(__file__).parent
NOT_OURS = "contexts that it had made current and not given back"
"""GStreamer 1.22 leaves contexts behind in its own threads, also where this project is not there (gst-launch)."""


def run(double: Double, *arguments: str | Path, decoder: bool = False) -> str:
    """What Python prints with these arguments, in a process with the double; fails where a rule was broken. decoder:
    whether it decodes H.264."""
    there = double.decoding_environment if decoder else double.environment
    before, paths = len(double.children()), f"{HERE}{os.pathsep}{HERE / 'contract'}"
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True, text=True, env=there | {"PYTHONPATH": paths}, cwd=HERE.parent, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "CRITICAL" not in done.stderr, done.stderr
    for report in double.children()[before:]:
        assert [line for line in report["violations"] if not line.endswith(NOT_OURS)] == []
        assert (report["live"]["device"], report["live"]["streams"]) == (0, 0), report["live"]
    return done.stdout.strip()
