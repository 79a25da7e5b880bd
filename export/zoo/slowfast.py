"""SlowFast and its slow pathway alone, of depth 50.

Feichtenhofer, Fan, Malik and He, "SlowFast Networks for Video Recognition", ICCV 2019 (arXiv 1812.03982), table 1.
Names are those of pytorchvideo (Apache-2.0), so that its checkpoints load.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .parts import Residual, Size, chain, convolution, every, linear_head, stage

DEPTHS = (3, 4, 6, 3)
"""blocks of each stage, of ResNet-50"""
STEM = 64
ALPHA = 4
"""frames of the fast pathway to one of the slow"""
BETA = 8
"""channels of the slow pathway to one of the fast"""
FUSED = 2
"""channels that the fast pathway lends the slow one, for each of its own"""
SLOW_TIME, FAST_TIME = (1, 1, 3, 3), (3, 3, 3, 3)
"""reach in time of the first convolution of a block, by stage: the slow pathway has none at first"""
TAP = "activation"


class Slow(nn.Sequential):
    """Clip [N, 3, T, H, W] float32 to logits [N, classes]. The last stage is 2048 x T x H/32 x W/32. A linear head."""

    def __init__(self, classes: int = 400) -> None:
        blocks: list[nn.Module] = [_stem(STEM, time=1)]
        for index in range(len(DEPTHS)):
            channels_in = STEM * 2 ** (index + 1) if index else STEM
            blocks.append(_stage(index, channels_in, STEM * 4 * 2**index, SLOW_TIME))
        super().__init__()
        self.blocks = nn.Sequential(*blocks, linear_head(STEM * 32, classes))


class Fusion(nn.Module):
    """Lends the fast pathway's channels, every `ALPHA` frames, to the slow one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_fast_to_slow = nn.Conv3d(
            channels, FUSED * channels, (7, 1, 1), (ALPHA, 1, 1), padding=(3, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(FUSED * channels)
        self.activation = nn.ReLU()

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        return torch.cat([slow, self.activation(self.norm(self.conv_fast_to_slow(fast)))], dim=1)


class Pathways(nn.Module):
    """One stage of both pathways; then the fast lends to the slow, but after the last."""

    def __init__(self, slow: nn.Module, fast: nn.Module, fusion: Fusion | None) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = fusion

    def forward(self, slow: Tensor, fast: Tensor) -> tuple[Tensor, Tensor]:
        slow, fast = self.multipathway_blocks[0](slow), self.multipathway_blocks[1](fast)
        return (slow if self.multipathway_fusion is None else self.multipathway_fusion(slow, fast)), fast


class SideBySide(nn.Module):
    """[N, A, t/ALPHA, h, w] and [N, B, t, h, w] to [N, A + B, t, h, w]: the slow pathway held for ALPHA frames each.

    The mean over time of what is held is that of the original: the head sees no difference, and there is one place to
    tap.
    """

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        held = slow.unsqueeze(3).expand(-1, -1, -1, ALPHA, -1, -1).flatten(2, 3)
        return torch.cat([held, fast], dim=1)


class SlowFast(nn.Module):
    """Clip [N, 3, T, H, W] float32, T 8 or more by 4, to logits [N, classes]; it samples the slow pathway's frames.

    `activation` is 2304 x T x H/32 x W/32: 2048 channels of the slow pathway, then 256 of the fast. A linear head.
    The slow pathway's frames reach from the first to the last: cells of its channels lie up to 1.5 frames beside the
    frames they come from, towards the middle of the clip.
    """

    def __init__(self, classes: int = 400) -> None:
        super().__init__()
        fast = STEM // BETA
        blocks: list[nn.Module] = [Pathways(_stem(STEM, time=1), _stem(fast, time=5), Fusion(fast))]
        for index in range(len(DEPTHS)):
            channels_in, out = STEM * 2 ** (index + 1) if index else STEM, STEM * 4 * 2**index
            lent = FUSED * channels_in // BETA
            blocks.append(
                Pathways(
                    _stage(index, channels_in + lent, out, SLOW_TIME),
                    _stage(index, channels_in // BETA, out // BETA, FAST_TIME),
                    Fusion(out // BETA) if index + 1 < len(DEPTHS) else None,
                )
            )
        channels = STEM * 32
        # pytorchvideo pools in block 5; here the head does, behind the tap
        self.blocks = nn.ModuleList([*blocks, nn.Identity(), linear_head(channels + channels // BETA, classes)])
        self.activation = SideBySide()

    def forward(self, clip: Tensor) -> Tensor:
        slow, fast = every(clip, ALPHA), clip
        for block in self.blocks[: len(DEPTHS) + 1]:
            slow, fast = block(slow, fast)
        return self.blocks[-1](self.activation(slow, fast))


def _stem(channels: int, time: int) -> nn.Sequential:
    return chain(
        conv=convolution(3, channels, (time, 7, 7), 2),
        norm=nn.BatchNorm3d(channels),
        activation=nn.ReLU(),
        pool=nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )


def _stage(index: int, channels_in: int, channels_out: int, times: tuple[int, ...]) -> nn.Sequential:
    stride = 2 if index else 1
    first = _block(channels_in, channels_out, (times[index], 1, 1), stride)
    rest = [_block(channels_out, channels_out, (times[index], 1, 1), 1) for _ in range(DEPTHS[index] - 1)]
    return stage([first, *rest])


def _block(channels_in: int, channels_out: int, kernel: Size, stride: int) -> Residual:
    inner = channels_out // 4
    branch = chain(
        conv_a=convolution(channels_in, inner, kernel),
        norm_a=nn.BatchNorm3d(inner),
        act_a=nn.ReLU(),
        conv_b=convolution(inner, inner, (1, 3, 3), stride),
        norm_b=nn.BatchNorm3d(inner),
        act_b=nn.ReLU(),
        conv_c=convolution(inner, channels_out, (1, 1, 1)),
        norm_c=nn.BatchNorm3d(channels_out),
    )
    return Residual(branch, channels_in, channels_out, stride)
