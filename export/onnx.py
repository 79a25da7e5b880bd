"""From a network in PyTorch to an ONNX file with the activation as a second output and the manifest inside.

The file holds the model and nothing of where it was made: no stack traces, no paths, no tool's notes. Kernels are
stored as float16 and cast to float32 in the graph; runtimes fold the casts when they load it, so that all arithmetic is
float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from ..engine.errors import ModelError
from ..engine.manifest import Manifest
from ..engine.picture import F32
from .half import round_to_half
from .tap import Tapped

OPSET = 20
"""the newest that TensorRT 10 and 11 and TensorRT-RTX all take"""
MAX_BATCH = 64
HALF_SUFFIX = ".f16"


def export_onnx(model: nn.Module, manifest: Manifest, path: Path, frames_step: int = 8) -> None:
    """Writes `model`, in eval mode, as ONNX: `clip` [batch, 3, T, H, W] to `logits` [batch, K] and `activation`
    [batch, C, t, h, w], float32 all. Input size, tapped layer and names are the manifest's.

    T is dynamic, by `frames_step`, where the manifest has several windows. Kernels lose what float16 cannot hold: the
    manifest's class weights must be those of `stored_weights`. The same inputs give the same bytes under the same
    versions of torch and onnxscript. Raises ModelError if the network does not fit the manifest or cannot be traced.
    """
    proto = _trace(model, manifest, frames_step)
    _strip(proto)
    _name_dimensions(proto, dynamic_frames=len(manifest.windows) > 1)
    _store_half(proto)
    helper.set_model_props(proto, manifest.to_properties())
    onnx.checker.check_model(proto)
    path.write_bytes(proto.SerializeToString(deterministic=True))


def stored_weights(weights: torch.Tensor) -> F32:
    """Weights [out, in] as the file will hold them: rounded to float16, given as float32."""
    return round_to_half(weights.detach().numpy()).astype(np.float32)


def _trace(model: nn.Module, manifest: Manifest, frames_step: int) -> onnx.ModelProto:
    height, width = manifest.input.size
    dimensions: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)}
    if len(manifest.windows) > 1:
        shortest, longest = min(manifest.windows) // frames_step, max(manifest.windows) // frames_step
        dimensions[2] = frames_step * torch.export.Dim("steps", min=shortest, max=longest)
    # a traced size of 1 would be taken for a constant
    clip = torch.zeros(2, 3, max(manifest.windows), height, width)
    tapped = Tapped(model, manifest.tap).eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                tapped,
                (clip,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[manifest.input.name],
                output_names=[manifest.outputs["logits"], manifest.outputs["activation"]],
                dynamic_shapes={"clip": dimensions},
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        raise ModelError(f"cannot export {manifest.name}: {str(error).strip().splitlines()[0]}") from error
    if program is None:
        raise ModelError(f"cannot export {manifest.name}: torch gave no ONNX program")
    return program.model_proto


def _strip(proto: onnx.ModelProto) -> None:
    """Removes all that is not the model's own: producer, notes, traces, shapes that runtimes infer, counted names."""
    graph = proto.graph
    for message in _messages(proto):
        message.ClearField("doc_string")
        message.ClearField("metadata_props")
    graph.ClearField("value_info")
    graph.name = "model"
    proto.producer_name = "saliency-tubes"
    proto.ClearField("producer_version")
    for node in graph.node:
        node.name = node.output[0]


def _messages(proto: onnx.ModelProto) -> Iterator[Any]:
    graph = proto.graph
    yield from (proto, graph, *graph.node, *graph.input, *graph.output, *graph.initializer)


def _name_dimensions(proto: onnx.ModelProto, dynamic_frames: bool) -> None:
    """Gives the dynamic sizes the names users will read, in place of the tracer's symbols."""
    for value, frames in ((proto.graph.input[0], "frames"), (proto.graph.output[1], "slices")):
        shape = value.type.tensor_type.shape
        if dynamic_frames:
            shape.dim[2].dim_param = frames
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _store_half(proto: onnx.ModelProto) -> None:
    """Stores each kernel as float16 with a Cast to float32 in front of the graph. Vectors, being small, stay."""
    graph = proto.graph
    kernels = [
        tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1
    ]
    casts = []
    for tensor in kernels:
        name, half = tensor.name, tensor.name + HALF_SUFFIX
        try:
            values = round_to_half(numpy_helper.to_array(tensor))
        except ValueError as error:
            raise ModelError(f"cannot store {name}: {error}") from None
        tensor.CopyFrom(numpy_helper.from_array(values, half))
        casts.append(helper.make_node("Cast", [half], [name], name=name, to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    graph.ClearField("node")
    graph.node.extend(nodes)
