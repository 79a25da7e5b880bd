"""Every name of TensorRT's that the runner uses is one that TensorRT 10, TensorRT 11 and TensorRT-RTX have; and the
double that the runner is tested on takes what they take."""

import inspect
import json
import re
from pathlib import Path

import fakegpu
import pytest
from saliency_tubes.engine.runtimes import tensorrt as runner
from theirnames import Source

TABLE = json.loads((Path(__file__).parent / "export/tensorrt_api.json").read_text(encoding="utf-8"))
RUNNER = Source(
    runner,
    theirs={"runtime": "Runtime", "engine": "ICudaEngine", "context": "IExecutionContext"},
    ours={
        *("self", "kit", "info", "device", "manifest", "found", "loaded", "gpu", "stream", "span", "number", "array"),
        *("gc", "re", "np", "dict", "given", "wanted", "log", "path", "dtype", "dtypes", "output", "outputs", "shapes"),
        *(
            "tensors",
            "expected",
            "manifest",
            "DTYPES",
            "OLDEST",
            "MODULES",
            "_SOURCE",
            "version",
            "severity",
            "name",
            "text",
            "kind",
            "Gpu",
        ),
    },
    overrides={"Log": "ILogger"},
)
DOUBLES = {
    "Runtime": fakegpu.FakeRuntime,
    "ICudaEngine": fakegpu.FakeEngine,
    "IExecutionContext": fakegpu.FakeContext,
}


def test_the_source_uses_what_it_is_known_to_use():
    found = RUNNER.uses()
    assert ("", "Runtime") in found
    assert ("Runtime", "deserialize_cuda_engine") in found
    assert ("Runtime", "engine_host_code_allowed") in found
    assert ("ICudaEngine", "create_execution_context") in found
    assert ("IExecutionContext", "execute_async_v3") in found
    assert ("TensorIOMode", "INPUT") in found
    assert ("ILogger", "log") in found
    assert len(found) > 20


@pytest.mark.parametrize("version", TABLE)
def test_tensorrt_has_every_name(version):
    classes = {name: set(members.split()) for name, members in TABLE[version].items()}
    for holder, name in RUNNER.uses():
        if holder:
            assert name in classes[holder], f"{version} has no {holder}.{name}"
        else:
            assert name in classes, f"{name} is not in tensorrt_api.json: add it to tensorrt_api.py and run that"


def test_tensorrt_rtx_has_every_name():
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx", exc_type=ImportError)
    for holder, name in RUNNER.uses():
        assert hasattr(getattr(trt, holder) if holder else trt, name), f"{holder}.{name}"


def test_the_double_has_what_the_runner_uses_and_takes_what_the_real_ones_take():
    """Parameters by name and order, as the bindings write them into their docstrings."""
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx", exc_type=ImportError)
    compared = 0
    for holder, double in DOUBLES.items():
        for name in {member for owner, member in RUNNER.uses() if owner == holder}:
            if not callable(getattr(trt, holder).__dict__[name]):
                continue
            text = getattr(getattr(trt, holder), name).__doc__
            signatures = [
                re.findall(r"(\w+): ", re.sub(r"\[[^]]*\]", "", given))
                for given in re.findall(rf"{name}\((self.*?)\) ->", text)
            ]
            expected = [*inspect.signature(getattr(double, name)).parameters]
            assert expected in [parameters[: len(expected)] for parameters in signatures], (name, signatures)
            compared += 1
    assert compared >= 10
