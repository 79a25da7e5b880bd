"""MF-Net: the 3D multi-fiber network, the one Saliency Tubes were first shown on.

Chen, Kalantidis, Li, Yan and Feng, "Multi-Fiber Networks for Video Recognition", ECCV 2018 (arXiv 1807.11195), table 1.
Names are those of the authors' release (github.com/cypw/PyTorch-MFNet, MIT), so that its checkpoints load.
"""

from __future__ import annotations

from torch import Tensor, nn

from .parts import GlobalMean, Size, chain

FIBERS = 16
"""groups of each 3x3 convolution"""
STEM = 16
STAGES = ((3, 96, 96), (4, 192, 192), (6, 384, 384), (3, 768, 768))
"""units, channels in the middle of a unit, and channels behind it, of conv2 to conv5"""


class PreActivated(nn.Sequential):
    """Batch norm, ReLU, then the convolution, without bias and padded to keep the size."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: Size = (1, 1, 1), stride: Size = (1, 1, 1), groups: int = 1
    ) -> None:
        padding = tuple(size // 2 for size in kernel)
        conv = nn.Conv3d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)
        super().__init__()
        self.bn = nn.BatchNorm3d(channels_in)
        self.relu = nn.ReLU()
        self.conv = conv


class FibreUnit(nn.Module):
    """Fibers that run side by side, with a multiplexer in front that lets them exchange (figure 2 d and e).

    The first unit of a stage changes channels and size, and has a convolution for its shortcut.
    """

    def __init__(self, channels_in: int, middle: int, channels_out: int, stride: Size | None = None) -> None:
        super().__init__()
        self.conv_i1 = PreActivated(channels_in, middle // 4)
        self.conv_i2 = PreActivated(middle // 4, channels_in)
        self.conv_m1 = PreActivated(channels_in, middle, (3, 3, 3), stride or (1, 1, 1), FIBERS)
        if stride:
            self.conv_m2 = PreActivated(middle, channels_out)
            self.conv_w1: nn.Module | None = PreActivated(channels_in, channels_out, stride=stride)
        else:
            self.conv_m2 = PreActivated(middle, channels_out, (1, 3, 3), groups=FIBERS)
            self.conv_w1 = None

    def forward(self, x: Tensor) -> Tensor:
        fibers = self.conv_m2(self.conv_m1(x + self.conv_i2(self.conv_i1(x))))
        return fibers + (x if self.conv_w1 is None else self.conv_w1(x))


class MFNet(nn.Module):
    """Clip [N, 3, T, H, W] float32 to logits [N, classes]. The tail is 768 x T/2 x H/32 x W/32.

    The authors' head pools 8 x 7 x 7, all there is at 16 x 224 x 224; the mean here is the same, for any size.
    """

    def __init__(self, classes: int = 400) -> None:
        super().__init__()
        self.conv1 = chain(
            conv=nn.Conv3d(3, STEM, (3, 5, 5), (1, 2, 2), (1, 2, 2), bias=False),
            bn=nn.BatchNorm3d(STEM),
            relu=nn.ReLU(),
        )
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.conv2 = _stage(STEM, *STAGES[0], stride=(2, 1, 1))
        self.conv3 = _stage(STAGES[0][2], *STAGES[1], stride=(1, 2, 2))
        self.conv4 = _stage(STAGES[1][2], *STAGES[2], stride=(1, 2, 2))
        self.conv5 = _stage(STAGES[2][2], *STAGES[3], stride=(1, 2, 2))
        channels = STAGES[3][2]
        self.tail = chain(bn=nn.BatchNorm3d(channels), relu=nn.ReLU())
        self.globalpool = GlobalMean()
        self.classifier = nn.Linear(channels, classes)

    def forward(self, clip: Tensor) -> Tensor:
        x = self.maxpool(self.conv1(clip))
        x = self.conv5(self.conv4(self.conv3(self.conv2(x))))
        return self.classifier(self.globalpool(self.tail(x)))


def _stage(channels_in: int, units: int, middle: int, channels_out: int, stride: Size) -> nn.Sequential:
    rest = {f"B{i:02}": FibreUnit(channels_out, middle, channels_out) for i in range(2, units + 1)}
    return chain(B01=FibreUnit(channels_in, middle, channels_out, stride), **rest)
