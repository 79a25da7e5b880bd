"""Parts that several networks are made of. All of them trace: no pool that adapts, nothing in place, no choices."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int, int, int]
"""t, h, w"""
DROPOUT = 0.5


class GlobalMean(nn.Module):
    """[N, C, t, h, w] to [N, C], or to [N, C, 1, 1, 1] with `keep`: what AdaptiveAvgPool3d(1) gives, for any size."""

    def __init__(self, keep: bool = False) -> None:
        super().__init__()
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3, 4), keepdim=self.keep)


class SlidingMean(nn.Module):
    """[N, C, t, h, w] to [N, C, t - slices + 1, 1, 1]: the mean over all of space and `slices` at a time."""

    def __init__(self, slices: int) -> None:
        super().__init__()
        self.slices = slices

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool3d(x, (self.slices, x.shape[3], x.shape[4]), stride=1)


class Residual(nn.Module):
    """ReLU(shortcut + branch2); names are pytorchvideo's. The shortcut is a 1x1x1 convolution where shapes change."""

    def __init__(self, branch2: nn.Module, channels_in: int, channels_out: int, stride: int, norm: bool = True) -> None:
        super().__init__()
        if stride > 1 or channels_in != channels_out:
            self.branch1_conv: nn.Module | None = convolution(channels_in, channels_out, (1, 1, 1), stride)
            self.branch1_norm: nn.Module = nn.BatchNorm3d(channels_out) if norm else nn.Identity()
        else:
            self.branch1_conv = None
        self.branch2 = branch2
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.branch1_conv is None else self.branch1_norm(self.branch1_conv(x))
        return self.activation(shortcut + self.branch2(x))


def convolution(channels_in: int, channels_out: int, kernel: Size, stride: int = 1, groups: int = 1) -> nn.Conv3d:
    """Without bias, padded to keep the size, with a stride in space only."""
    padding = tuple(size // 2 for size in kernel)
    return nn.Conv3d(channels_in, channels_out, kernel, (1, stride, stride), padding, groups=groups, bias=False)


def chain(**layers: nn.Module) -> nn.Sequential:
    """One after the other, by name."""
    return nn.Sequential(OrderedDict(layers))


def stage(blocks: Sequence[nn.Module]) -> nn.Sequential:
    """Residual blocks under the name that pytorchvideo gives them."""
    return chain(res_blocks=nn.Sequential(*blocks))


def linear_head(channels: int, classes: int) -> nn.Sequential:
    """Mean over time and space, then a linear layer: [N, C, t, h, w] to [N, K]."""
    return chain(pool=GlobalMean(), dropout=nn.Dropout(DROPOUT), proj=nn.Linear(channels, classes))


def without_inplace(module: nn.Module) -> nn.Module:
    """The same network with no layer that overwrites its input: what was tapped must stay, and be differentiable."""
    for layer in module.modules():
        if getattr(layer, "inplace", False):
            layer.inplace = False
    return module


def every(clip: Tensor, step: int) -> Tensor:
    """T // step frames of a clip [N, 3, T, H, W], the first and the last among them, as evenly as whole numbers allow.

    These are pytorchvideo's linspace(0, T - 1, T // step), rounded down, in whole numbers so that T may be dynamic.
    """
    clip_length = clip.shape[2]
    index = torch.arange(clip_length // step, device=clip.device) * (clip_length - 1) // (clip_length // step - 1)
    return clip.index_select(2, index)
