"""GStreamer's plugin nvcodec on the GPU that is not there (tests/gpu_double): for child processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gpu_double import Double

HERE = Path(__file__).parent
NOT_OURS = "contexts that it had made current and not given back"
"""GStreamer 1.22 leaves contexts behind in its own threads, also where this project is not there (gst-launch)."""

BY_ITSELF = "gst_event_set_seqnum"
"""A function that GStreamer 1.22's rtspsrc may call wrongly where a server goes away and its pipeline is closed at that
moment: the event of the end is sent without a number. It is harmless, has nothing to do with a GPU, and was mended in
later versions (merge request 7032 of gstreamer)."""


def run(
    double: Double, *arguments: str | Path, decoder: bool = False, encoder: bool = False, timeout: float = 180
) -> str:
    """What Python prints with these arguments, in a process with the double; fails where a rule was broken. decoder,
    encoder: whether it decodes, encodes H.264. timeout: seconds."""
    there = double.environment_with(*["decode"] * decoder, *["encode"] * encoder)
    before = len(double.children())
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True, text=True, env=there | {"PYTHONPATH": str(HERE)}, cwd=HERE.parent, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert all(BY_ITSELF in line for line in done.stderr.splitlines() if "CRITICAL" in line), done.stderr
    for report in double.children()[before:]:
        assert [line for line in report["violations"] if not line.endswith(NOT_OURS)] == []
        assert (report["live"]["device"], report["live"]["streams"]) == (0, 0), report["live"]
    return done.stdout.strip()
