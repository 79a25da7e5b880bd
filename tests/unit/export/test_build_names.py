"""Every name of TensorRT's that the builder uses is one that TensorRT 10, TensorRT 11 and TensorRT-RTX have.

The names are read from the builder's source, and the classes from the module that is installed (TensorRT-RTX), or from
tensorrt_api.json, which tensorrt_api.py makes from the bindings of those that cannot be installed everywhere.
"""

import json
from pathlib import Path

import pytest
from saliency_tubes.engine.runtimes import tensorrt_builder as builder
from theirnames import Source

TABLE = json.loads(Path(__file__).with_name("tensorrt_api.json").read_text(encoding="utf-8"))

BUILDER = Source(
    builder,
    theirs={
        "builder": "Builder",
        "network": "INetworkDefinition",
        "config": "IBuilderConfig",
        "optimization": "IOptimizationProfile",
        "parser": "OnnxParser",
        "error": "ParserError",
        "tensor": "ITensor",
        "timings": "ITimingCache",
    },
    ours={
        *("device", "reasons", "kit", "kits", "fixed", "error"),
        *("self", "kit", "options", "manifest", "watch", "log", "profile", "given", "span", "path", "part", "failure"),
        *("re", "dict", "MODULES", "reasons", "expected"),
    },
    overrides={"BuildMonitor": "IProgressMonitor"},
)
ONLY_RTX = {"ComputeCapability", "num_compute_capabilities", "set_compute_capability"}
uses = BUILDER.uses


def test_the_source_uses_what_it_is_known_to_use():
    found = uses()
    assert ("Builder", "build_serialized_network") in found
    assert ("OnnxParser", "parse_from_file") in found
    assert ("IBuilderConfig", "progress_monitor") in found
    assert ("BuilderFlag", "VERSION_COMPATIBLE") in found
    assert ("IProgressMonitor", "step_complete") in found
    assert ("ParserError", "node_name") in found
    assert len(found) > 40


@pytest.mark.parametrize("version", TABLE)
def test_tensorrt_has_every_name(version):
    classes = {name: set(members.split()) for name, members in TABLE[version].items()}
    for holder, name in uses():
        if name in ONLY_RTX or holder in ONLY_RTX:
            continue
        if holder:
            assert name in classes[holder], f"{version} has no {holder}.{name}"
        else:
            assert name in classes, f"{name} is not in tensorrt_api.json: add it to tensorrt_api.py and run that"


def test_the_table_is_of_both_majors():
    assert {version.split(".")[0] for version in TABLE} == {"10", "11"}


def test_tensorrt_rtx_has_every_name():
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx", exc_type=ImportError)
    for holder, name in uses():
        assert hasattr(getattr(trt, holder) if holder else trt, name), f"{holder}.{name}"


def test_what_only_tensorrt_rtx_has_is_used_for_it_alone():
    for members in TABLE.values():
        assert not ONLY_RTX & ({*members} | set(" ".join(members.values()).split()))
