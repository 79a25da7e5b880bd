"""What SALIENCY_TUBES_GPU promises of this machine, for the tests in tests/gpu.

Its words, with commas: cuda (a GPU and its driver), tensorrt (such a GPU, and a TensorRT that runs on it), nvdec (a GPU
that decodes, with GStreamer's elements for it and PyNvVideoCodec), jetson (a Jetson with its own elements). Not every
GPU has a TensorRT: TensorRT-RTX has none for compute capability 9.0. tests/gpu/run.py runs all of it.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

KINDS = ("cuda", "tensorrt", "nvdec", "jetson")
PROMISED = [word.strip() for word in os.environ.get("SALIENCY_TUBES_GPU", "").split(",") if word.strip()]
if not set(PROMISED) <= set(KINDS):
    raise pytest.UsageError(f"SALIENCY_TUBES_GPU promises {', '.join(KINDS)}, got {', '.join(PROMISED)}")


def missing(what: str, *kinds: str) -> NoReturn:
    """kinds: those of KINDS that cannot be without it."""
    if set(kinds) & set(PROMISED):
        pytest.fail(f"SALIENCY_TUBES_GPU promises {', '.join(PROMISED)}: {what}")
    pytest.skip(what)
