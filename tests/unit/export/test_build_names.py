"""Every name of TensorRT's that the builder uses is one that TensorRT 10, TensorRT 11 and TensorRT-RTX have.

The names are read from the builder's source, and the classes from the module that is installed (TensorRT-RTX), or from
tensorrt_api.json, which tensorrt_api.py makes from the bindings of those that cannot be installed everywhere.
"""

import ast
import inspect
import json
from pathlib import Path

import pytest
from saliency_tubes.export import tensorrt as builder

TREE = ast.parse(inspect.getsource(builder))
TABLE = json.loads(Path(__file__).with_name("tensorrt_api.json").read_text(encoding="utf-8"))

THEIRS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "optimization": "IOptimizationProfile",
    "parser": "OnnxParser",
    "error": "ParserError",
    "tensor": "ITensor",
    "timings": "ITimingCache",
    "dtype": "DataType",
}
"""TensorRT's classes, by the name of the variable, or of the attribute, that holds one"""

OURS = {
    *("self", "kit", "options", "manifest", "watch", "log", "profile", "given", "span", "path", "part", "failure"),
    *("re", "dict", "DTYPES", "MODULES", "_SOURCE", "reasons", "expected", "version", "text", "kind", "severity"),
}
"""names that hold nothing of TensorRT's that it could lack"""

ONLY_RTX = {"ComputeCapability", "num_compute_capabilities", "set_compute_capability"}
OVERRIDES = {"Monitor": "IProgressMonitor", "Log": "ILogger"}


def uses() -> set[tuple[str, str]]:
    """(class, member) for each name of TensorRT's in the source; ("", name) for one of the module's own."""
    found = set()
    for node in ast.walk(TREE):
        if isinstance(node, ast.Attribute):
            chain = dotted(node)
            holder = chain[-2]
            if "trt" in chain[:-1]:  # trt.BuilderFlag.TF32, kit.trt.BuilderFlag
                after = chain[chain.index("trt") + 1 :]
                found |= {("", after[0]), *([(after[0], after[1])] if len(after) > 1 else [])}
            elif holder in THEIRS:
                found.add((THEIRS[holder], chain[-1]))
            else:
                assert chain[0] in OURS | {""}, f"is {chain[0]} TensorRT's? Say so here"
        if isinstance(node, ast.ClassDef) and node.name in OVERRIDES:
            methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef)} - {"__init__"}
            if node.name == "Log":  # the other methods are for this project
                assert "log" in methods
                methods = {"log"}
            found |= {(OVERRIDES[node.name], name) for name in methods}
    return {(holder, name) for holder, name in found if not name.startswith("__")}


def dotted(node: ast.expr) -> list[str]:
    """["trt", "BuilderFlag", "TF32"]; what is no name begins with ""."""
    if isinstance(node, ast.Attribute):
        return [*dotted(node.value), node.attr]
    if isinstance(node, ast.Call):
        called = dotted(node.func)[0]
        assert called not in {*THEIRS, "trt"}, f"line {node.lineno}: give the result a name of its own"
        return [""]
    return [node.id] if isinstance(node, ast.Name) else [""]


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
