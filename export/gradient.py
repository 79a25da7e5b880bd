"""Class weights of a head that is not linear, as part of the graph: the gradient of one logit, traced with the network.

A runtime has no autograd, so the backward pass of the head is written out as ordinary operators: torch traces it, and
the few that ONNX does not know are put in terms of those it does. This is Grad-CAM (Selvaraju et al., arXiv 1610.02391,
eq. 1) with the sum over cells in place of the mean, which makes a linear head's class weights of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch.fx.experimental.proxy_tensor import make_fx

from .tap import check_name, cut, evaluating, find_logits

AXES = 3
aten = torch.ops.aten


class WithGradient(nn.Module):
    """Clip [N, 3, T, H, W] and class [N] int64 to (logits [N, K], activation [N, C, t, h, w], weights [N, C]).

    A class of -1 stands for the clip's top class. weights[n, k] = sum over cells of d logits[n, class[n]] /
    d activation[n, k]. Runs under torch.enable_grad only; raises UsageError for a layer that is not there.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        check_name(model, layer)
        self.model, self.layer = model, layer

    def forward(self, clip: Tensor, class_id: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with cut(self.model, self.layer) as kept:
            logits, _ = find_logits(self.model(clip))
        chosen = torch.where(class_id < 0, logits.detach().argmax(1), class_id)
        # not one_hot, which asks for the values while they are traced
        pick = torch.arange(logits.shape[1], device=logits.device)[None] == chosen[:, None]
        (gradient,) = torch.autograd.grad((logits * pick.to(logits.dtype)).sum(), kept[0])
        return logits.detach(), kept[0].detach(), gradient.sum((2, 3, 4))


def trace_gradient(model: nn.Module, layer: str, clip: Tensor) -> nn.Module:
    """`WithGradient` of the network in eval mode as a plain graph, without autograd, that torch.onnx.export takes.

    `clip`: an example [2, 3, T, H, W]; batch and sizes stay open in the graph. Raises whatever the network raises when
    traced, and NotImplementedError for a layer between tap and logits whose backward pass has no ONNX equivalent.
    """
    class_id = torch.full((len(clip),), -1, dtype=torch.int64)
    with evaluating(model), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = make_fx(
            WithGradient(model, layer),
            tracing_mode="symbolic",
            decomposition_table=_decompositions(),
            _allow_non_fake_inputs=True,  # the parameters
        )(clip, class_id)
    traced.graph.eliminate_dead_code()  # gradients of parameters, which nobody asked for
    traced.recompile()
    return traced


def _decompositions() -> dict[Any, Any]:
    return {
        **core_aten_decompositions(),
        aten.convolution_backward.default: _convolution_backward,
        aten.avg_pool3d_backward.default: _avg_pool3d_backward,
        aten.max_pool3d_with_indices_backward.default: _max_pool3d_backward,
    }


def _convolution_backward(
    gradient: Tensor,
    given: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, None, None]:
    """A convolution's gradient for its input is the transposed convolution with the same weights."""
    if transposed:
        raise NotImplementedError("a transposed convolution between tap and logits: tap after it")
    if not wanted[0]:
        return None, None, None
    axes = weight.ndim - 2
    stride, padding, dilation = (_each(values, axes) for values in (stride, padding, dilation))
    reach = [dilation[i] * (weight.shape[2 + i] - 1) + 1 for i in range(axes)]
    extra = _left_over(gradient, given, stride, padding, reach)
    return aten.convolution(gradient, weight, None, stride, padding, dilation, True, extra, groups), None, None


def _avg_pool3d_backward(
    gradient: Tensor,
    given: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    """Each cell's share of what was averaged over it: a transposed convolution, each channel by itself."""
    kernel, padding = _each(kernel, AXES), _each(padding, AXES)
    stride = _each(stride, AXES) if stride else kernel
    padded = any(isinstance(pad, int) and pad for pad in padding)
    extra = _left_over(gradient, given, stride, padding, kernel)
    if ceil_mode or (padded and not count_include_pad):
        raise NotImplementedError("an average pool that counts its border apart between tap and logits: tap after it")
    channels, cells = given.shape[1], kernel[0] * kernel[1] * kernel[2]
    ones = torch.ones((channels, 1, *kernel), dtype=gradient.dtype, device=gradient.device)
    spread = aten.convolution(gradient, ones, None, stride, padding, [1] * AXES, True, extra, channels)
    return spread / (divisor or cells)


def _max_pool3d_backward(
    gradient: Tensor,
    given: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """All of it to the cell that was the maximum; several windows may have the same one."""
    zeros = torch.zeros_like(given).flatten(2)
    return zeros.scatter_add(2, indices.flatten(2), gradient.flatten(2)).view(given.shape)


def _left_over(
    gradient: Tensor, given: Tensor, stride: Sequence[int], padding: Sequence[int], reach: Sequence[int]
) -> list[int]:
    """The cells at each end that no window began at: a transposed convolution has to be told of them."""
    return [
        given.shape[2 + i] - ((gradient.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + reach[i])
        for i in range(len(stride))
    ]


def _each(values: Sequence[int], axes: int) -> list[int]:
    return list(values) * axes if len(values) == 1 else list(values)
