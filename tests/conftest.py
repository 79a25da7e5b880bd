"""What all tests share."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpu_double.fixture import gpu_double  # noqa: F401  # a fixture for all tests

# OpenVINO reports its import to web analytics, from a thread, where it can: not from here (engine/runtimes/openvino.py)
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
# Tests start the program hundreds of times: its byte code is kept, even where the environment asks Python not to keep
# any, so that each start need not compile it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips"


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips, which lie beside the repository and are not part of it."""
    if not CLIPS.is_dir():
        pytest.skip(f"needs the real clips in {CLIPS}")
    return CLIPS


def pytest_collection_finish() -> None:
    """Takes what is imported by now out of the sight of the garbage collector.

    That is more than 600,000 objects, which stay until the end. Tests that look for leaks collect garbage several times
    each, and would look at all of them every time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fails a test that leaves a thread behind: one that would keep Python from exiting, or one of this project's."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2.0
    left = _left(before)
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = _left(before)
    assert not left, f"threads left running: {', '.join(thread.name for thread in left)}"


def _left(before: set[threading.Thread]) -> list[threading.Thread]:
    return [
        thread
        for thread in threading.enumerate()
        if thread not in before and thread.is_alive() and (not thread.daemon or thread.name.startswith("saliency"))
    ]
