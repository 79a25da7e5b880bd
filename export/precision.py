"""The same graph in another precision: float16 or int8 up to the tapped layer, float32 from there on.

Nearly all the work lies before the tap; what follows it is where the evidence is made. Kept in float32, a linear head
still adds up to its logit exactly, and the gradients of any other head keep their digits: some of them are below what
float16 can tell from 0. (With a tap deep inside a network the part in float32 is large, and gains nothing.)

This is our own pass rather than onnxruntime's `float16` converter: that one rounds to float16 between any two nodes it
is told to leave in float32, which loses such gradients, and appends its casts behind the nodes that use them, which
no strict reader of ONNX takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from ..engine.errors import ModelError, one_line
from ..engine.manifest import Manifest
from ..engine.picture import F32
from ..engine.precision import EXPORT_PRECISIONS, check_precision
from ..engine.runtimes.bounds import FILE_WORDS, PRECISION_KEY
from .half import round_to_half

_FLOAT, _HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
_SUFFIX = ".half"
_STAYS_FLOAT = {"Resize": (1, 2)}
"""inputs by position that ONNX wants in float32 whatever the precision: roi and scales"""
_SAME = ("Identity", "Cast")


def convert(
    proto: onnx.ModelProto, precision: str, *, manifest: Manifest, calibration: Sequence[F32] = ()
) -> onnx.ModelProto:
    """A finished float32 graph in `precision`, float32 (and int64) at its inputs and outputs as before.

    f32: as it is. f16: all arithmetic up to the activation in float16. int8: the convolutions up to the activation in
    int8, as QuantizeLinear and DequantizeLinear (`quantize.quantize`), calibrated on `calibration`, clips
    [1, 3, T, H, W] of a length the manifest serves. Kernels stored as float16 under a Cast are taken for what they are.
    `proto` is left as it was; metadata stay, with one entry added that names the precision. The same graph and clips
    give the same bytes. Raises UsageError for an unknown precision or missing clips, ModelError for a graph that cannot
    be converted.
    """
    precision = check_precision(precision, EXPORT_PRECISIONS)
    out = onnx.ModelProto()
    out.CopyFrom(proto)
    properties = {entry.key: entry.value for entry in proto.metadata_props}
    if precision == "f32":
        if not _is_compact(proto):
            helper.set_model_props(out, {**properties, PRECISION_KEY: FILE_WORDS[precision]})
        return out
    expand(out)
    if precision == "f16":
        _to_half(out, manifest)
    else:
        from .quantize import quantize

        _name_nodes(out)
        out = quantize(out, manifest, calibration, [out.graph.node[i] for i in trunk(out.graph, manifest)])
    _clean(out)
    helper.set_model_props(out, {**properties, PRECISION_KEY: FILE_WORDS[precision]})
    onnx.checker.check_model(out)
    return out


def convert_file(path: Path, precision: str, *, manifest: Manifest, calibration: Sequence[F32] = ()) -> None:
    """`convert` on a file, in place. Raises what it raises."""
    proto = convert(onnx.load(path), precision, manifest=manifest, calibration=calibration)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def expand(proto: onnx.ModelProto) -> None:
    """Turns kernels stored as float16 under a Cast into plain float32 ones, in place; the values are the same."""
    graph = proto.graph
    stored = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == _HALF}
    casts = [node for node in graph.node if _is_stored_cast(node, stored)]
    for cast in casts:
        values = numpy_helper.to_array(stored[cast.input[0]]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, cast.output[0]))
        graph.node.remove(cast)
    _drop_unused(graph)


def trunk(graph: onnx.GraphProto, manifest: Manifest) -> list[int]:
    """Positions of the nodes before the tap: what the clip reaches and the activation does not, but for itself.

    Raises ModelError for a graph without those names, or with control flow.
    """
    for node in graph.node:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ModelError(f"cannot convert {manifest.name}: its graph has control flow ({node.op_type})")
    clip, tap = manifest.input.name, manifest.outputs["activation"]
    producers = {name: node for node in graph.node for name in node.output}
    if tap not in producers or clip not in {value.name for value in graph.input}:
        raise ModelError(f"cannot convert {manifest.name}: its graph has no {clip} or no {tap}")
    # the output may be a mere alias of the tensor that the head goes on from
    while producers[tap].op_type in _SAME and producers[tap].input[0] in producers:
        tap = producers[tap].input[0]
    before, after = _reached(graph, clip), _reached(graph, tap)
    head = after - {tap}
    return [i for i, node in enumerate(graph.node) if before & {*node.output} and not head & {*node.output}]


def _reached(graph: onnx.GraphProto, start: str) -> set[str]:
    """Names of the tensors that depend on `start`, itself among them. Nodes of ONNX are in order of execution."""
    reached = {start}
    for node in graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
    return reached


def _to_half(proto: onnx.ModelProto, manifest: Manifest) -> None:
    """float16 for all that the trunk computes, in place, with a Cast wherever a float enters or leaves it."""
    graph = proto.graph
    floats = _float_tensors(proto, manifest)
    inside = set(trunk(graph, manifest))
    made = {name for i in inside for name in graph.node[i].output if name in floats}
    outside = {name for i, node in enumerate(graph.node) if i not in inside for name in node.input}
    leaving = made & (outside | {value.name for value in graph.output})
    stored = {tensor.name: tensor for tensor in graph.initializer}
    halves = {name: name + _SUFFIX for name in leaving}
    nodes = []
    for i, node in enumerate(graph.node):
        if i in inside:
            for name in _float_inputs(node, floats):
                if name not in made and name not in halves:
                    halves[name] = name + _SUFFIX
                    if name in stored:
                        graph.initializer.append(_half_tensor(stored[name], name + _SUFFIX))
                    else:
                        nodes.append(_cast(name, name + _SUFFIX, _HALF))
            _make_half(node, floats, halves)
        nodes.append(node)
        if i in inside:
            nodes.extend(_cast(halves[name], name, _FLOAT) for name in _given(node, halves) if name in leaving)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    graph.ClearField("node")
    graph.node.extend(kept)
    _drop_unused(graph)


def _given(node: onnx.NodeProto, halves: dict[str, str]) -> list[str]:
    """The float32 names of the float16 tensors that a converted node gives, where they go by two names."""
    plain = {half: name for name, half in halves.items()}
    return [plain[name] for name in node.output if name in plain]


def _float_inputs(node: onnx.NodeProto, floats: set[str]) -> list[str]:
    fixed = _STAYS_FLOAT.get(node.op_type, ())
    return [name for position, name in enumerate(node.input) if name in floats and position not in fixed]


def _make_half(node: onnx.NodeProto, floats: set[str], halves: dict[str, str]) -> None:
    """Lets a node take and give float16, in place."""
    converted = set(_float_inputs(node, floats))
    for position, name in enumerate(node.input):
        if name in converted and position not in _STAYS_FLOAT.get(node.op_type, ()):
            node.input[position] = halves.get(name, name)
    for position, name in enumerate(node.output):
        node.output[position] = halves.get(name, name)
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i == _FLOAT:
            attribute.i = _HALF
        if attribute.HasField("t") and attribute.t.data_type == _FLOAT:
            attribute.t.CopyFrom(_half_tensor(attribute.t, attribute.t.name))


def _half_tensor(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    if values.ndim > 1:
        try:
            return numpy_helper.from_array(round_to_half(values), name)
        except ValueError as error:
            raise ModelError(f"cannot convert {tensor.name}: {error}") from None
    # a bound such as Clip's largest float has no other meaning than "none"
    limit = float(np.finfo(np.float16).max)
    return numpy_helper.from_array(np.clip(values, -limit, limit).astype(np.float16), name)


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=target, to=kind)


def _float_tensors(proto: onnx.ModelProto, manifest: Manifest) -> set[str]:
    """Names of all float32 tensors. Raises ModelError where types cannot be inferred."""
    try:
        graph = shape_inference.infer_shapes(proto, check_type=True, strict_mode=True).graph
    except shape_inference.InferenceError as error:
        raise ModelError(f"cannot convert {manifest.name}: {one_line(error)}") from None
    values = (*graph.input, *graph.output, *graph.value_info)
    typed = {value.name: value.type.tensor_type.elem_type for value in values}
    typed.update({tensor.name: tensor.data_type for tensor in graph.initializer})
    return {name for name, kind in typed.items() if kind == _FLOAT}


def _is_compact(proto: onnx.ModelProto) -> bool:
    stored = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.data_type == _HALF}
    return any(_is_stored_cast(node, stored) for node in proto.graph.node)


def _is_stored_cast(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> bool:
    return node.op_type == "Cast" and node.input[0] in stored and node.attribute[0].i == _FLOAT


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in graph.initializer if t.name in used]
    graph.ClearField("initializer")
    graph.initializer.extend(kept)


def _clean(proto: onnx.ModelProto) -> None:
    """Removes what converters leave behind: their names and notes, and shapes that runtimes infer."""
    proto.producer_name = "saliency-tubes"
    proto.ClearField("producer_version")
    graph = proto.graph
    graph.ClearField("value_info")
    graph.ClearField("quantization_annotation")
    for message in _messages(proto):
        message.ClearField("doc_string")
    _name_nodes(proto)


def _name_nodes(proto: onnx.ModelProto) -> None:
    for node in proto.graph.node:
        node.name = node.output[0]


def _messages(proto: onnx.ModelProto) -> Iterator[Any]:
    graph = proto.graph
    yield from (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer)
