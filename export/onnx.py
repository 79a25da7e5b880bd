"""From a network in PyTorch to an ONNX file with the activation as a second output and the manifest inside.

The file holds the model and nothing of where it was made: no stack traces, no paths, no tool's notes. A compact file
stores its kernels as float16 and casts them to float32 in the graph; runtimes fold the casts when they load it, so that
all arithmetic is float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from onnx import helper, numpy_helper
from torch import Tensor, nn

from ..engine.errors import ModelError, TubesError, UsageError, one_line
from ..engine.manifest import LinearHead, Manifest, WindowSpec
from ..engine.noise import smooth_noise
from ..engine.picture import F32
from .gradient import trace_gradient
from .half import round_to_half
from .head import HeadAnalysis, Pool, analyse_head, find_pool
from .recipe import Recipe
from .tap import Tapped, evaluating, find_tap
from .trust import trusted_slices

OPSET = 20
"""the newest that TensorRT 10 and 11 and TensorRT-RTX all take"""
MAX_BATCH = 64
HALF_SUFFIX = ".f16"


def describe(
    model: nn.Module,
    recipe: Recipe,
    *,
    head: str = "auto",
    layer: str | None = None,
    clips: Sequence[F32] = (),
) -> tuple[Manifest, HeadAnalysis]:
    """Looks at the network: where it is tapped, what its head is, which slices can be trusted.

    `layer` goes before the recipe's, and without either it is found (`tap.find_tap`); `head` is auto, linear or
    gradient (`head.analyse_head`); `clips` [1, 3, T, H, W], normalised, are what trust is measured on. The network is
    left as it was. Raises UsageError for a network, layer or head that will not do.
    """
    shortest = min(recipe.clip_lengths)
    examples = {
        clip_length: torch.from_numpy(smooth_noise(recipe.input, clip_length))
        for clip_length in sorted(set(recipe.clip_lengths))
    }
    tap = find_tap(model, examples[shortest], layer or recipe.layer)
    analysis = analyse_head(model, tap, examples[shortest], head)
    if analysis.classes != len(recipe.labels):
        raise UsageError(f"the network has {analysis.classes} classes, the labels are {len(recipe.labels)}")
    windows = {}
    for clip_length, example in examples.items():
        pool = analysis.pool if clip_length == shortest else _pool(model, tap, example, analysis.head)
        trusted = trusted_slices(model, tap, recipe.input, clip_length, len(pool.slice_weights), clips)
        windows[clip_length] = WindowSpec(pool.slice_weights, trusted, pool.cell_weights)
    linear = analysis.head
    if linear is not None and recipe.compact:
        linear = replace(linear, class_weights=stored_weights(linear.class_weights))
    names = ("logits", "activation") if linear is not None else ("logits", "activation", "weights")
    manifest = Manifest(
        name=recipe.name,
        title=recipe.title,
        license=recipe.license,
        input=recipe.input,
        windows=windows,
        default_clip_length=recipe.default_clip_length,
        labels=recipe.labels,
        tap=tap,
        channels=analysis.shape[0],
        head=linear,
        outputs={name: name for name in names},
    )
    return manifest, analysis


def write_onnx(model: nn.Module, manifest: Manifest, path: Path, recipe: Recipe, *, dynamic_batch: bool = True) -> str:
    """Writes `clip` [batch, 3, T, H, W] to `logits` [batch, K] and `activation` [batch, C, t, h, w], float32 all.

    Without a linear head, also `class` [batch] int64 to `weights` [batch, C] (`gradient.WithGradient`). T is dynamic,
    by the recipe's `clip_length_step`, where the manifest has several windows. A batch that cannot be made dynamic is
    1, and then the reason is returned, in words; else "". The same inputs give the same bytes under the same versions
    of torch and onnxscript. Raises ModelError if the network cannot be traced, the file not written.
    """
    remark = ""
    try:
        proto = _trace(model, manifest, recipe.clip_length_step, dynamic_batch)
    except ModelError as error:
        if not dynamic_batch:
            raise
        proto, dynamic_batch, remark = _trace(model, manifest, recipe.clip_length_step, False), False, str(error)
    _strip(proto)
    _name_dimensions(proto, manifest, dynamic_batch)
    if recipe.compact:
        _store_half(proto)
    helper.set_model_props(proto, manifest.to_properties())
    try:
        onnx.checker.check_model(proto)
        path.write_bytes(proto.SerializeToString(deterministic=True))
    except (onnx.checker.ValidationError, ValueError, EncodeError) as error:  # EncodeError: more than 2 GB
        raise ModelError(f"cannot export {manifest.name}: {one_line(error)}") from error
    except OSError as error:
        raise ModelError(f"cannot write {path}: {error.strerror}") from None
    return remark


def restate(path: Path, manifest: Manifest) -> None:
    """Puts another manifest into a file, in place. Raises OSError if it cannot be written."""
    proto = onnx.load(path)
    known = {entry.key: entry.value for entry in proto.metadata_props}
    helper.set_model_props(proto, {**known, **manifest.to_properties()})
    path.write_bytes(proto.SerializeToString(deterministic=True))


def stored_weights(weights: F32 | Tensor) -> F32:
    """Weights [out, in] as a compact file will hold them: rounded to float16, given as float32."""
    array = weights.detach().numpy() if isinstance(weights, torch.Tensor) else weights
    return round_to_half(array).astype(np.float32)


def _pool(model: nn.Module, tap: str, example: Tensor, head: LinearHead | None) -> Pool:
    if head is not None:
        return find_pool(model, tap, example, head)
    with evaluating(model), torch.no_grad():
        _, activation = Tapped(model, tap)(example)
    return Pool.even(activation.shape[2])


def _trace(model: nn.Module, manifest: Manifest, clip_length_step: int, dynamic_batch: bool) -> onnx.ModelProto:
    batch: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=MAX_BATCH)} if dynamic_batch else {}
    clip_shape, inputs = dict(batch), [manifest.input.name]
    if len(manifest.windows) > 1:
        shortest, longest = min(manifest.windows) // clip_length_step, max(manifest.windows) // clip_length_step
        clip_shape[2] = clip_length_step * torch.export.Dim("steps", min=shortest, max=longest)
    # a traced size of 1 would be taken for a constant
    clip = torch.zeros(2 if dynamic_batch else 1, 3, max(manifest.windows), *manifest.input.size)
    arguments: tuple[Tensor, ...] = (clip,)
    shapes: tuple[dict[int, Any], ...] = (clip_shape,)
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(evaluating(model))
        try:
            if manifest.head is not None:
                traced: nn.Module = Tapped(model, manifest.tap)
            else:
                traced = trace_gradient(model, manifest.tap, clip)
                inputs, shapes = [*inputs, manifest.class_input], (*shapes, batch)
                arguments = (clip, torch.full((len(clip),), -1, dtype=torch.int64))
            traced.eval()
            stack.enter_context(torch.no_grad())
            program = torch.onnx.export(
                traced,
                arguments,
                dynamo=True,
                opset_version=OPSET,
                input_names=inputs,
                output_names=list(manifest.outputs.values()),
                dynamic_shapes=shapes,
                verbose=False,
            )
        except TubesError:
            raise
        except Exception as error:  # tracers raise almost anything
            raise ModelError(f"cannot export {manifest.name}: {_reason(error)}") from error
    if program is None:
        raise ModelError(f"cannot export {manifest.name}: torch gave no ONNX program")
    return program.model_proto


def _reason(error: BaseException) -> str:
    """The exporter wraps what went wrong: the innermost error says it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)


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


def _name_dimensions(proto: onnx.ModelProto, manifest: Manifest, dynamic_batch: bool) -> None:
    """Gives the dynamic sizes the names users will read, in place of the tracer's symbols."""
    if len(manifest.windows) > 1:
        for value, axis in ((proto.graph.input[0], "frames"), (proto.graph.output[1], "slices")):
            value.type.tensor_type.shape.dim[2].dim_param = axis
    if dynamic_batch:
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
