"""I3D: Inception-v1 inflated to three dimensions, RGB, Kinetics-400.

Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017 (arXiv 1705.07750), figure 3; layer names are those
of DeepMind's kinetics-i3d. Every layer pads as TensorFlow's SAME does, which PyTorch has no word for where the stride
is 2: the total is max(kernel - stride, 0) for sizes the stride divides, and the odd one goes to the end.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TAP = "Mixed_5c"
"""the last layer before the head"""
TIME_REDUCTION = 8
"""frames to a time slice of the tapped layer"""
SPACE_REDUCTION = 32
"""pixels to a cell of the tapped layer"""
POOLED_SLICES = 2
"""time slices the head's average pool covers"""
BATCHNORM_EPS = 1e-3


class Unit(nn.Sequential):
    """SAME convolution, batch norm, ReLU: [N, in, T, H, W] to [N, out, T/stride, H/stride, W/stride]."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
        even = before == after
        conv = nn.Conv3d(channels_in, channels_out, kernel, stride, padding=before if even else 0, bias=False)
        norm = nn.BatchNorm3d(channels_out, eps=BATCHNORM_EPS)
        layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv, norm=norm, relu=nn.ReLU())
        if not even:
            layers["pad"] = nn.ConstantPad3d((before, after) * 3, 0.0)
            layers.move_to_end("pad", last=False)
        super().__init__(layers)


class Inception(nn.Module):
    """Four branches side by side, joined on the channel axis. Channels are in the order of the paper's diagram."""

    def __init__(self, channels_in: int, b0: int, b1a: int, b1b: int, b2a: int, b2b: int, b3: int) -> None:
        super().__init__()
        self.Branch_0 = _chain(Conv3d_0a_1x1=Unit(channels_in, b0, 1))
        self.Branch_1 = _chain(Conv3d_0a_1x1=Unit(channels_in, b1a, 1), Conv3d_0b_3x3=Unit(b1a, b1b, 3))
        self.Branch_2 = _chain(Conv3d_0a_1x1=Unit(channels_in, b2a, 1), Conv3d_0b_3x3=Unit(b2a, b2b, 3))
        self.Branch_3 = _chain(MaxPool3d_0a_3x3=nn.MaxPool3d(3, 1, padding=1), Conv3d_0b_1x1=Unit(channels_in, b3, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.Branch_0(x), self.Branch_1(x), self.Branch_2(x), self.Branch_3(x)], dim=1)


class Head(nn.Module):
    """Average pool over 2 slices and all of space, 1x1x1 convolution, mean over time: [N, C, t, h, w] to [N, K].

    Linear in its input, so the class activation tube of the layer before it is exact.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.Conv3d_0c_1x1 = nn.Conv3d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.avg_pool3d(x, (POOLED_SLICES, x.shape[3], x.shape[4]), stride=1)
        logits: Tensor = self.Conv3d_0c_1x1(pooled).mean((2, 3, 4))
        return logits

    @staticmethod
    def slice_weights(slices: int) -> tuple[float, ...]:
        """What each of `slices` >= 2 time slices counts in the logits; sums to 1.

        The pool has slices - 1 positions of two slices each: the end slices are under one, the others under two.
        """
        positions = slices - POOLED_SLICES + 1
        covered = [min(i, positions - 1) - max(i - POOLED_SLICES + 1, 0) + 1 for i in range(slices)]
        return tuple(count / (positions * POOLED_SLICES) for count in covered)


class I3D(nn.Sequential):
    """Clip [N, 3, T, H, W] float32, RGB in -1..1, to logits [N, classes]. T: 16 or more, by 8; H and W: by 32.

    Raises ValueError for any other shape: the padding of the layers is SAME only for these.
    """

    def __init__(self, classes: int = 400) -> None:
        # Pools of stride 2 drop their last, partial window unless told to round up; SAME on even sizes keeps it.
        super().__init__(
            OrderedDict(
                Conv3d_1a_7x7=Unit(3, 64, 7, stride=2),
                MaxPool3d_2a_3x3=nn.MaxPool3d((1, 3, 3), (1, 2, 2), ceil_mode=True),
                Conv3d_2b_1x1=Unit(64, 64, 1),
                Conv3d_2c_3x3=Unit(64, 192, 3),
                MaxPool3d_3a_3x3=nn.MaxPool3d((1, 3, 3), (1, 2, 2), ceil_mode=True),
                Mixed_3b=Inception(192, 64, 96, 128, 16, 32, 32),
                Mixed_3c=Inception(256, 128, 128, 192, 32, 96, 64),
                MaxPool3d_4a_3x3=nn.MaxPool3d(3, 2, ceil_mode=True),
                Mixed_4b=Inception(480, 192, 96, 208, 16, 48, 64),
                Mixed_4c=Inception(512, 160, 112, 224, 24, 64, 64),
                Mixed_4d=Inception(512, 128, 128, 256, 24, 64, 64),
                Mixed_4e=Inception(512, 112, 144, 288, 32, 64, 64),
                Mixed_4f=Inception(528, 256, 160, 320, 32, 128, 128),
                MaxPool3d_5a_2x2=nn.MaxPool3d(2, 2),
                Mixed_5b=Inception(832, 256, 160, 320, 32, 128, 128),
                Mixed_5c=Inception(832, 384, 192, 384, 48, 128, 128),
                Logits=Head(1024, classes),
            )
        )

    def forward(self, clip: Tensor) -> Tensor:
        if clip.ndim != 5 or clip.shape[1] != 3:
            raise ValueError(f"a clip must be [N, 3, T, H, W], got {list(clip.shape)}")
        check_clip_size(clip.shape[2], clip.shape[3], clip.shape[4])
        logits: Tensor = super().forward(clip)
        return logits


def check_clip_size(clip_length: int, height: int, width: int) -> None:
    """Raises ValueError unless I3D takes clips of this size."""
    least = TIME_REDUCTION * POOLED_SLICES
    if clip_length < least or clip_length % TIME_REDUCTION:
        raise ValueError(f"I3D takes clips of {least} frames or more, by {TIME_REDUCTION}, got {clip_length}")
    if min(height, width) < SPACE_REDUCTION or height % SPACE_REDUCTION or width % SPACE_REDUCTION:
        raise ValueError(f"I3D takes heights and widths that are multiples of {SPACE_REDUCTION}, got {height}x{width}")


def _chain(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))
