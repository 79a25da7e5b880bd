"""What these tests need. Without it they are skipped; where SALIENCY_TUBES_GPU promises it, they fail.

SALIENCY_TUBES_GPU: what is promised, with commas: cuda (a GPU and its driver), tensorrt (such a GPU, and a TensorRT
that runs on it). Not every GPU has one: TensorRT-RTX has none for compute capability 9.0.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import NoReturn

import pytest
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.runtimes.device import Device, find_device
from saliency_tubes.engine.runtimes.tensorrt import Kit
from saliency_tubes.engine.runtimes.tensorrt_builder import find_kit

KINDS = ("cuda", "tensorrt")
PROMISED = [word.strip() for word in os.environ.get("SALIENCY_TUBES_GPU", "").split(",") if word.strip()]
if not set(PROMISED) <= set(KINDS):
    raise pytest.UsageError(f"SALIENCY_TUBES_GPU promises {', '.join(KINDS)}, got {', '.join(PROMISED)}")


def missing(what: str, *kinds: str) -> NoReturn:
    """kinds: those of KINDS that cannot be without it."""
    if set(kinds) & set(PROMISED):
        pytest.fail(f"SALIENCY_TUBES_GPU promises {', '.join(PROMISED)}: {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def gpu() -> Device:
    found = find_device()
    return missing(f"needs a GPU, and here is {found}", *KINDS) if isinstance(found, str) else found


@pytest.fixture(scope="session")
def kit(gpu: Device) -> Kit:
    """The first TensorRT that is installed, with cuda-bindings."""
    try:
        import_module("cuda.bindings.driver")
        return find_kit()
    except ImportError as error:
        missing(f"needs cuda-bindings: {error}", "tensorrt")
    except UsageError as error:
        missing(str(error), "tensorrt")
