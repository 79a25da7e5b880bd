"""The memories that the suites of sources run over: the host's, and that of a GPU that is not there.

With PyAV the GPU is in the process of the tests, and PyNvVideoCodec is tests/nvcwheel.py. GStreamer has its elements
for NVIDIA only in a process that had the GPU from the start: tests/integration/test_gst_cuda.py runs the suites again
in such a process, and there they have those cases alone.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import nvcwheel
import pytest
from gpu_double.nvrtc import StubNvrtc
from saliency_tubes.engine.picture import HOST
from saliency_tubes.stream.sources.base import Source, SourceOptions
from saliency_tubes.stream.sources.open import open_source

CUDA = "cuda"
HAS_GPU = "GPU_DOUBLE" in os.environ
"""Whether this process had the GPU from its start."""


def over(kinds: Iterable[str], slow: Iterable[str] = (), there: Iterable[str] | None = None) -> list[Any]:
    """The cases that this process has: parameters (kind of source, memory).

    slow: the kinds whose cases on the GPU are for the slow tests. there: the kinds that have such cases; None: those
    whose names end with a library. "gst" in its name means that GStreamer reads it.
    """
    kinds = list(kinds)
    may = [kind for kind in kinds if kind.endswith(("av", "gst")) and (there is None or kind in there)]
    on_gpu = [kind for kind in may if kind.endswith("gst") == HAS_GPU]
    cases = [] if HAS_GPU else [pytest.param(kind, HOST, id=f"{kind}-{HOST}") for kind in kinds]
    marks = {kind: [pytest.mark.slow] * (kind in set(slow)) for kind in on_gpu}
    return cases + [pytest.param(kind, CUDA, id=f"{kind}-{CUDA}", marks=marks[kind]) for kind in on_gpu]


def pairs(cases: list[Any]) -> list[Any]:
    """The same cases as the parameters of a fixture, which is given one value: (kind of source, memory)."""
    return [pytest.param(case.values, id=case.id, marks=case.marks) for case in cases]


@dataclass
class Memory:
    """Where the frames of a test live."""

    place: Any = None
    """a `Place`; None: the host's"""

    def open(self, uri: str, options: SourceOptions | None = None) -> Source:
        return open_source(uri, options, place=self.place)


ON_HOST = Memory()


@contextmanager
def memory_of(name: str, request: pytest.FixtureRequest) -> Iterator[Memory]:
    """A memory for one test, which at its end must have been given back."""
    if name == HOST:
        yield ON_HOST
        return
    from saliency_tubes.engine.cuda.driver import Gpu
    from saliency_tubes.engine.cuda.place import CudaPlace

    patches: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    if HAS_GPU:
        patches.setitem(sys.modules, "cuda.bindings.nvrtc", StubNvrtc())
        patches.setenv("XDG_CACHE_HOME", str(request.getfixturevalue("tmp_path") / "cache"))
    else:
        request.getfixturevalue("gpu_double")(seed=1)
        patches.setitem(sys.modules, "PyNvVideoCodec", nvcwheel)
    memory = Memory(CudaPlace(Gpu.of(0)))
    try:
        yield memory
        gc.collect()
        assert memory.place.leases == 0
    finally:
        memory.place.close()
        memory.place = None  # pytest keeps what it gave to a test until all of the test is over
        if HAS_GPU:  # else the fixture does it, and sees what is left
            gc.collect()
            Gpu.of(0).clear()
