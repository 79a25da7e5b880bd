"""The command line on the GPU that is not there: python command.py run ... A program for a process of its own.

onnxruntime has its CUDA provider there. SIGUSR1 writes what the GPU has counted so far into the file that the variable
COUNTED_SO_FAR names.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1]))

import fakeort
from saliency_tubes.stream.app.cli import main

from gpu_double.double import OwnDouble
from gpu_double.nvrtc import StubNvrtc

if __name__ == "__main__":
    double = OwnDouble()

    def tell(*_: object) -> None:
        path = Path(os.environ["COUNTED_SO_FAR"])
        path.with_suffix(".new").write_text(json.dumps(double.report))
        path.with_suffix(".new").replace(path)

    signal.signal(signal.SIGUSR1, tell)
    sys.modules["cuda.bindings.nvrtc"] = StubNvrtc()
    fakeort.install(SimpleNamespace(setattr=setattr), double, "CUDAExecutionProvider")
    sys.exit(main(sys.argv[1:]))
