"""X3D: a small image network expanded along time, space, width and depth, of depthwise 3x3x3 convolutions.

Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition", CVPR 2020 (arXiv 2004.04730), table 3.
Names are those of pytorchvideo (Apache-2.0), so that its checkpoints load. XS, S and M are one network, fed with clips
of three sizes. The head has a ReLU between two projections: it is not linear in the pooled activation.
"""

from __future__ import annotations

from torch import Tensor, nn

from .parts import DROPOUT, GlobalMean, Residual, chain, convolution, stage

STEM = 24
STAGES = ((3, 24, 8), (5, 48, 8), (11, 96, 16), (7, 192, 32))
"""blocks, channels, and the width of the squeeze, of each stage"""
EXPANSION = 2.25
"""of the channels inside a block"""
HEAD = 2048


class Excite(nn.Module):
    """Squeeze and excitation (Hu et al., CVPR 2018): each channel times a gate made of all channels' means."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv3d(channels, squeezed, 1), nn.ReLU(), nn.Conv3d(squeezed, channels, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.block(x.mean((2, 3, 4), keepdim=True))


class X3DHead(nn.Module):
    """[N, C, t, h, w] to [N, K]: projection, mean over time and space, projection, ReLU, linear layer."""

    def __init__(self, channels: int, inner: int, classes: int) -> None:
        super().__init__()
        self.pool = chain(
            pre_conv=convolution(channels, inner, (1, 1, 1)),
            pre_norm=nn.BatchNorm3d(inner),
            pre_act=nn.ReLU(),
            pool=GlobalMean(keep=True),
            post_conv=convolution(inner, HEAD, (1, 1, 1)),
            post_act=nn.ReLU(),
        )
        self.dropout = nn.Dropout(DROPOUT)
        self.proj = nn.Linear(HEAD, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.dropout(self.pool(x).flatten(1)))


class X3D(nn.Sequential):
    """Clip [N, 3, T, H, W] float32 to logits [N, classes]. The last stage is 192 x T x H/32 x W/32."""

    def __init__(self, classes: int = 400) -> None:
        # pytorchvideo calls the convolution in space conv_t, and the one in time conv_xy
        conv = chain(
            conv_t=convolution(3, STEM, (1, 3, 3), 2),
            conv_xy=convolution(STEM, STEM, (5, 1, 1), groups=STEM),
        )
        blocks: list[nn.Module] = [chain(conv=conv, norm=nn.BatchNorm3d(STEM), activation=nn.ReLU())]
        channels = STEM
        for depth, out, squeezed in STAGES:
            blocks.append(stage([_block(channels if i == 0 else out, out, squeezed, i) for i in range(depth)]))
            channels = out
        super().__init__()
        self.blocks = nn.Sequential(*blocks, X3DHead(channels, int(EXPANSION * channels), classes))


def _block(channels_in: int, channels_out: int, squeezed: int, index: int) -> Residual:
    inner, stride = int(EXPANSION * channels_out), 2 if index == 0 else 1
    branch = chain(
        conv_a=convolution(channels_in, inner, (1, 1, 1)),
        norm_a=nn.BatchNorm3d(inner),
        act_a=nn.ReLU(),
        conv_b=convolution(inner, inner, (3, 3, 3), stride, groups=inner),
        # every other block squeezes
        norm_b=nn.Sequential(nn.BatchNorm3d(inner), nn.Identity() if index % 2 else Excite(inner, squeezed)),
        act_b=nn.SiLU(),
        conv_c=convolution(inner, channels_out, (1, 1, 1)),
        norm_c=nn.BatchNorm3d(channels_out),
    )
    return Residual(branch, channels_in, channels_out, stride, norm=channels_in != channels_out)
