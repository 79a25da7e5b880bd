"""Prepares first layers for matrix units: a strided convolution over few channels becomes one of stride 1 over many.

Only `openvino.py` may import this module: it first keeps OpenVINO from reporting its import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import openvino as ov
from openvino import opset13 as ops

TILE = 32
"""Channels that AMX multiplies at once in bfloat16. Three channels take as long as 32: the other 29 are zeros."""
GAIN = 2
"""Minimum factor by which the number of multiplications must fall for the rearranged input to be worth its cost."""


@dataclass(frozen=True)
class _Axis:
    """A convolution along one of its axes, with its input divided into blocks as long as the stride."""

    size: int
    """length of the input"""
    kernel: int
    stride: int
    begin: int
    """zeros before the input; `end`: zeros behind it"""
    end: int

    @property
    def lead(self) -> int:
        """Zeros to add before the kernel, so that it begins at the start of a block."""
        return -self.begin % self.stride

    @property
    def blocks(self) -> int:
        """The kernel's length in blocks."""
        return ceil((self.lead + self.kernel) / self.stride)

    @property
    def fill(self) -> tuple[int, int]:
        """Zeros to add before the kernel and behind it, so that its length is a number of whole blocks."""
        return self.lead, self.blocks * self.stride - self.lead - self.kernel

    @property
    def pads(self) -> tuple[int, int]:
        """Blocks of zeros before the input and behind it."""
        before = (self.begin + self.lead) // self.stride
        steps = (self.size + self.begin + self.end - self.kernel) // self.stride
        return before, steps + self.blocks - before - self.size // self.stride

    @property
    def fits(self) -> bool:
        return self.size % self.stride == 0 and min(self.pads) >= 0


def widen_stems(model: ov.Model) -> int:
    """Rewrites the convolutions of `model` that become faster by it, in place. Returns how many they are.

    The input is divided into blocks as long as the stride, and the values of a block become channels. A convolution of
    stride 1 over these channels, with the kernel filled up with zeros to whole blocks, gives the same sums ("space to
    depth": Ridnik et al., arXiv 2003.13630). I3D's first layer, 7x7x7 over 3 channels, becomes 4x4x4 over 24.
    """
    found = [node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution"]
    changed = sum(_widen(node) for node in found)
    model.validate_nodes_and_infer_types()
    return changed


def _widen(node: ov.Node) -> bool:
    stored = _constant(node.input_value(1).get_node())
    axes = _axes(node) if stored is not None else None
    if stored is None or axes is None or not all(axis.fits for axis in axes):
        return False
    channels, strides = stored.get_output_shape(0)[1], [axis.stride for axis in axes]
    tiles = prod(axis.kernel for axis in axes) * ceil(channels / TILE)
    if prod(axis.blocks for axis in axes) * ceil(channels * prod(strides) / TILE) * GAIN > tiles:
        return False
    weights = stored.get_data(dtype=np.float32)
    cut, order, joined = _blocks([channels, *(axis.size for axis in axes)], strides)
    data = ops.reshape(node.input_value(0), np.array([0, *cut]), special_zero=True)
    data = ops.reshape(ops.transpose(data, np.array(order)), np.array([0, *joined]), special_zero=True)
    filled = np.pad(weights, [(0, 0), (0, 0), *(axis.fill for axis in axes)])
    cut, order, joined = _blocks(filled.shape[1:], strides)
    wide = filled.reshape(-1, *cut).transpose(order).reshape(-1, *joined)
    before, after = zip(*(axis.pads for axis in axes), strict=True)
    ones = [1] * len(axes)
    kernel = ops.constant(wide, node.get_input_element_type(1))
    made = ops.convolution(data, kernel, ones, list(before), list(after), ones)
    made.set_friendly_name(node.get_friendly_name())
    node.output(0).replace(made.output(0))
    return True


def _axes(node: ov.Node) -> list[_Axis] | None:
    """The axes of a convolution; None if their sizes are not known or the kernel is dilated."""
    told, partial = node.get_attributes(), node.get_input_partial_shape(0)
    if set(told["dilations"]) != {1} or partial.rank.is_dynamic:
        return None
    shape = list(partial)[1:]
    if any(one.is_dynamic for one in shape):
        return None
    kernel = list(node.get_input_shape(1))[2:]
    sizes = [one.get_length() for one in shape[1:]]
    along = zip(sizes, kernel, told["strides"], told["pads_begin"], told["pads_end"], strict=True)
    return [_Axis(*each) for each in along]


def _constant(node: ov.Node) -> ov.Node | None:
    """The node of a convolution's weights if they are constant, in whatever type they are stored; else None."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" and node.get_element_type().is_real() else None


def _blocks(shape: Sequence[int], strides: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """How [N, C, *sizes] becomes [N, C * block, *blocks]: reshape to the first list, transpose by the second, reshape
    to the third. The shapes are without N."""
    channels, *sizes = shape
    cut: list[int] = [channels]
    inside: list[int] = []
    across: list[int] = []
    for size, stride in zip(sizes, strides, strict=True):
        across.append(len(cut) + 1)
        cut.append(size // stride)
        if stride > 1:
            inside.append(len(cut) + 1)
            cut.append(stride)
    joined = [channels * prod(strides), *(size // stride for size, stride in zip(sizes, strides, strict=True))]
    return cut, [0, 1, *inside, *across], joined
