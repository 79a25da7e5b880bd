"""The fixture `gpu_double`, which tests/conftest.py offers to all tests. gpu_double/__init__.py says how to use it."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from saliency_tubes.engine.cuda import driver

from .double import Double, build, load
from .nvrtc import StubNvrtc


@lru_cache
def why_not() -> str | None:
    """Why this process cannot have a GPU that is not there."""
    if sys.platform != "linux":
        return "a GPU that is not there needs Linux"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        pass
    else:
        return "there is an NVIDIA driver, which a GPU that is not there must not replace in this process"
    try:
        build()
    except RuntimeError as error:
        if "needs g++" in str(error):
            return str(error)
        raise
    load()
    return None


@pytest.fixture
def gpu_double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Double]]:
    """Makes a GPU that is not there: `gpu_double(kind="discrete", seed=0, gpus=1, ...)`. See gpu_double/__init__.py."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings", exc_type=ImportError)
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", StubNvrtc())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made: list[Double] = []

    def give_back() -> None:
        """Frees what the process keeps on its GPUs until it ends, so that what a test has left can be told from it."""
        gc.collect()
        while opened:
            opened.popitem()[1].clear()
        for double in made:
            double.check()

    def start(kind: str = "discrete", seed: int = 0, gpus: int = 1, **settings: object) -> Double:
        give_back()
        made[:] = [Double(tmp_path, kind, seed, gpus, **settings)]
        return made[0]

    opened: dict[int, Any] = {}
    monkeypatch.setattr(driver, "GPUS", opened)  # those of another test are gone
    yield start
    try:
        give_back()
    finally:
        for double in made:
            double.close()
