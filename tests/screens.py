"""A screen of memory, and an OpenCV that has windows."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import wait_for

OPENCV = Path(sys.prefix) / "windows"
"""one that has windows; make test installs it beside the runtime's"""
MISSING = [name for name in ("Xvfb", "xdotool", "ffmpeg") if not shutil.which(name)]


@contextmanager
def screen() -> Iterator[str]:
    """A screen of memory; gives its $DISPLAY."""
    with tempfile.TemporaryFile("w+") as told:
        server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(told.fileno()), "-screen", "0", "640x480x24", "-nolisten", "tcp"],
            pass_fds=[told.fileno()],
            stderr=subprocess.DEVNULL,
        )
        try:

            def line() -> str:
                told.seek(0)
                return told.read()

            wait_for(lambda: line().endswith("\n"), 20)
            yield f":{line().strip()}"
        finally:
            server.terminate()
            server.wait()
