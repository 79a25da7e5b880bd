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
from hypothesis import settings

# OpenVINO reports its import to web analytics, from a thread, where it can: not from here (engine/runtimes/openvino.py)
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
# Tests start the program hundreds of times: its byte code is kept, even where the environment asks Python not to keep
# any, so that each start need not compile it anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# An example that takes longer than 0.2 s shows that the machine is busy, and nothing else.
settings.register_profile("busy", settings.default, deadline=None)
settings.load_profile("busy")

CLIPS = Path(__file__).resolve().parents[2] / "shared" / "clips"


@pytest.fixture(scope="session")
def clips() -> Path:
    """The folder of real clips, which lie beside the repository and are not part of it."""
    if not CLIPS.is_dir():
        pytest.skip(f"needs the real clips in {CLIPS}")
    return CLIPS


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of a network that takes a few milliseconds for a clip of 8 frames; its classes are a, b and c.

    For tests of what is around a network. I3D, the default, would take half a second of all cores for each window.
    """
    pytest.importorskip("torch", reason="the network is made by it")
    pytest.importorskip("onnx", reason="the network is made by it")
    from graphs import graph_of, network, save

    return save(graph_of(network(linear=True)), tmp_path_factory.mktemp("model") / "small.onnx")


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
