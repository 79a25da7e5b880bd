"""A small network twice over: in PyTorch, and as an ONNX graph written by hand, so that neither is made of the other.

Two branches from one tensor, as Inception has them, end in the tapped concatenation; the head is linear, or an MLP with
its gradient as part of the graph.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from saliency_tubes.engine.manifest import InputSpec, LinearHead, Manifest, WindowSpec
from torch import nn

CHANNELS, CLASSES, HIDDEN, SIZE = 8, 3, 5, (64, 96)


class Branches(nn.Module):
    """Clip [N, 3, T, H, W] to logits [N, 3]; the layer to tap is `tap`, [N, 8, T/2, H/2, W/2]."""

    def __init__(self, linear: bool) -> None:
        super().__init__()
        self.stem = nn.Conv3d(3, 6, 3, 2, padding=1)
        self.narrow = nn.Conv3d(6, 4, 1)
        self.wide = nn.Conv3d(6, 4, 3, padding=1)
        self.tap = nn.Identity()
        self.first = nn.Linear(CHANNELS, CLASSES if linear else HIDDEN)
        self.second = None if linear else nn.Linear(HIDDEN, CLASSES)

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        stem = self.stem(clip).relu()
        pooled = self.first(self.tap(torch.cat([self.narrow(stem).relu(), self.wide(stem).relu()], 1)).mean((2, 3, 4)))
        return pooled if self.second is None else self.second(pooled.relu())


def network(linear: bool, seed: int = 0) -> Branches:
    torch.manual_seed(seed)
    return Branches(linear).eval()


def manifest_of(model: Branches, size: tuple[int, int] = SIZE) -> Manifest:
    linear = model.second is None
    names = ("logits", "activation") if linear else ("logits", "activation", "weights")
    first = model.first
    return Manifest(
        name="branches",
        title="Branches",
        license="none",
        input=InputSpec(size, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), short_side=size[1]),
        windows={4: WindowSpec((0.5,) * 2, (0, 2)), 8: WindowSpec((0.25,) * 4, (1, 3))},
        default_clip_length=8,
        labels=("a", "b", "c"),
        tap="tap",
        channels=CHANNELS,
        head=LinearHead(first.weight.detach().numpy(), first.bias.detach().numpy()) if linear else None,
        outputs={name: name for name in names},
    )


def graph_of(model: Branches, size: tuple[int, int] = SIZE) -> onnx.ModelProto:
    """The same network as ONNX, opset 20, its manifest inside. size: height and width of its input, both even."""
    linear = model.second is None
    conv = {"kernel_shape": [3, 3, 3], "pads": [1] * 6}
    nodes = [
        helper.make_node("Conv", ["clip", "stem.weight", "stem.bias"], ["s"], strides=[2, 2, 2], **conv),
        helper.make_node("Relu", ["s"], ["stem"]),
        helper.make_node("Conv", ["stem", "narrow.weight", "narrow.bias"], ["n"], kernel_shape=[1, 1, 1]),
        helper.make_node("Relu", ["n"], ["narrow"]),
        helper.make_node("Conv", ["stem", "wide.weight", "wide.bias"], ["w"], **conv),
        helper.make_node("Relu", ["w"], ["wide"]),
        helper.make_node("Concat", ["narrow", "wide"], ["cat"], axis=1),
        # what a head goes on from may be another name of the output
        helper.make_node("Identity", ["cat"], ["activation"]),
        helper.make_node("ReduceMean", ["cat", "axes"], ["pooled"], keepdims=0),
        helper.make_node("Gemm", ["pooled", "first.weight", "first.bias"], ["logits" if linear else "h"], transB=1),
    ]
    if not linear:
        nodes += _gradient()
    initializers = [numpy_helper.from_array(v.numpy(), name) for name, v in model.state_dict().items()]
    initializers.append(numpy_helper.from_array(np.array([2, 3, 4]), "axes"))
    inputs = [helper.make_tensor_value_info("clip", TensorProto.FLOAT, ["batch", 3, "frames", *size])]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES]),
        helper.make_tensor_value_info(
            "activation", TensorProto.FLOAT, ["batch", CHANNELS, "slices", size[0] // 2, size[1] // 2]
        ),
    ]
    if not linear:
        initializers += [numpy_helper.from_array(np.array(v), n) for n, v in (("zero", 0), ("none", np.float32(0)))]
        inputs.append(helper.make_tensor_value_info("class", TensorProto.INT64, ["batch"]))
        outputs.append(helper.make_tensor_value_info("weights", TensorProto.FLOAT, ["batch", CHANNELS]))
    graph = helper.make_graph(nodes, "model", inputs, outputs, initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(proto, manifest_of(model, size).to_properties())
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _gradient() -> list[onnx.NodeProto]:
    """d logit / d activation, summed over cells: the class's row of the second layer where ReLU is open, times the
    first layer."""
    return [
        helper.make_node("Relu", ["h"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "second.weight", "second.bias"], ["logits"], transB=1),
        helper.make_node("ArgMax", ["logits"], ["top"], axis=1, keepdims=0),
        helper.make_node("Less", ["class", "zero"], ["any"]),
        helper.make_node("Where", ["any", "top", "class"], ["chosen"]),
        helper.make_node("Gather", ["second.weight", "chosen"], ["row"], axis=0),
        helper.make_node("Greater", ["h", "none"], ["open"]),
        helper.make_node("Cast", ["open"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["row", "mask"], ["back"]),
        helper.make_node("MatMul", ["back", "first.weight"], ["weights"]),
    ]


def save(proto: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(proto.SerializeToString(deterministic=True))
    return path
