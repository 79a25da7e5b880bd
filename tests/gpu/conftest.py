"""What these tests need. Without it they are skipped; where SALIENCY_TUBES_GPU=1 promises a GPU, they fail."""

from __future__ import annotations

import os
from importlib import import_module
from typing import NoReturn

import pytest
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.runtimes.device import Device, find_device
from saliency_tubes.engine.runtimes.tensorrt import Kit
from saliency_tubes.export.tensorrt import find_kit

PROMISED = os.environ.get("SALIENCY_TUBES_GPU") == "1"


def missing(what: str) -> NoReturn:
    if PROMISED:
        pytest.fail(f"SALIENCY_TUBES_GPU=1 promises a GPU and what runs on it: {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def gpu() -> Device:
    found = find_device()
    return missing(f"needs a GPU, and here is {found}") if isinstance(found, str) else found


@pytest.fixture(scope="session")
def kit(gpu: Device) -> Kit:
    """The first TensorRT that is installed, with cuda-bindings."""
    try:
        import_module("cuda.bindings.driver")
        return find_kit()
    except ImportError as error:
        missing(f"needs cuda-bindings: {error}")
    except UsageError as error:
        missing(str(error))
