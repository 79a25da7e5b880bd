"""GStreamer beside everything else in one process."""

from __future__ import annotations

import subprocess
import sys

import pytest
from saliency_tubes.stream.gst_load import Missing, load

PROGRAM = """
from saliency_tubes.stream.gst_load import load
load("GstApp", "GstVideo")
import onnx
try:
    onnx.checker.check_model(b"no model")
except Exception as error:
    print("caught")
"""


def test_exceptions_of_cpp_libraries_loaded_after_it_are_caught() -> None:
    pytest.importorskip("onnx", reason="needs onnx, whose checker throws")
    try:
        load("GstApp", "GstVideo")
    except Missing as missing:
        pytest.skip(str(missing))
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "caught\n"), done.stderr
