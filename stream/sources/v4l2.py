"""Cameras of this machine, as Linux has them."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path


def watch_device(device: str) -> select.poll | None:
    """Tells when an open V4L2 device has a frame: FFmpeg itself would wait for one for ever, without asking `stop`."""
    watched = select.poll()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor that listed this folder is closed by now
            if os.path.realpath(one) == os.path.realpath(device):
                watched.register(int(one.name), select.POLLIN)
                return watched
    return None
