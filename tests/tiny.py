"""Networks small enough to export in a second or two, one of each kind of head. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from saliency_tubes.engine.manifest import InputSpec, Manifest
from saliency_tubes.export.onnx import describe, write_onnx
from saliency_tubes.export.recipe import Recipe
from torch import nn

FRAMES, HEIGHT, WIDTH, CHANNELS, CLASSES = 8, 16, 24, 6, 5
"""the trunk halves each once: an activation of 4 x 8 x 12"""


def trunk(channels: int = CHANNELS, inplace: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(3, channels, 3, 2, padding=1, bias=False), nn.BatchNorm3d(channels), nn.ReLU(inplace)
    )


class Tiny(nn.Module):
    """A trunk and a head, the head given."""

    def __init__(self, head: nn.Module, inplace: bool = False) -> None:
        super().__init__()
        self.trunk = trunk(inplace=inplace)
        self.head = head

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(clip))


class Mean(nn.Module):
    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(self.axes)


class Attention(nn.Module):
    """Pools with weights of its own making."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Conv3d(CHANNELS, 1, 1)
        self.fc = nn.Linear(CHANNELS, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        share = self.score(x).flatten(2).softmax(2)
        return self.fc((x.flatten(2) * share).sum(2))


class Corner(nn.Module):
    """A linear pool that counts places unevenly: later slices and right-hand cells more."""

    def __init__(self, product: bool = True) -> None:
        super().__init__()
        pool = torch.arange(1.0, 5)[:, None, None] * (torch.arange(8.0)[:, None] + torch.arange(1.0, 13))
        if not product:
            pool = pool + 10 * torch.arange(384.0).reshape(4, 8, 12).sin().abs()
        self.register_buffer("pool", pool / pool.sum())
        self.fc = nn.Linear(CHANNELS, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc((x * self.pool).sum((2, 3, 4)))


def linear_heads() -> dict[str, nn.Module]:
    """Every order that stays linear."""
    flat = nn.Flatten(1)
    return {
        "pool-dropout-flatten-linear": nn.Sequential(
            nn.AdaptiveAvgPool3d(1), nn.Dropout(), flat, nn.Linear(CHANNELS, CLASSES)
        ),
        "conv-pool": nn.Sequential(nn.Conv3d(CHANNELS, CLASSES, 1), nn.AdaptiveAvgPool3d(1), flat),
        "pool-conv-mean": nn.Sequential(nn.AvgPool3d((2, 8, 12), 1), nn.Conv3d(CHANNELS, CLASSES, 1), Mean(2, 3, 4)),
        "strided-pool": nn.Sequential(nn.AvgPool3d((2, 4, 4), (2, 2, 4)), Mean(2, 3, 4), nn.Linear(CHANNELS, CLASSES)),
        "space-linear-time": nn.Sequential(Mean(3, 4), Transposed(), nn.Linear(CHANNELS, CLASSES), Mean(1)),
        "two-linears": nn.Sequential(Mean(2, 3, 4), nn.Linear(CHANNELS, 7), nn.Linear(7, CLASSES, bias=False)),
        "uneven": Corner(),
    }


def other_heads() -> dict[str, nn.Module]:
    """Not linear."""
    return {
        "mlp": nn.Sequential(Mean(2, 3, 4), nn.Linear(CHANNELS, 16), nn.ReLU(), nn.Linear(16, CLASSES)),
        "attention": Attention(),
        "conv-pool-mlp": nn.Sequential(
            nn.Conv3d(CHANNELS, 8, 3, 2, padding=1),
            nn.BatchNorm3d(8),
            nn.Hardswish(),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
            nn.AvgPool3d((2, 2, 3)),
            Mean(2, 3, 4),
            nn.Linear(8, CLASSES),
        ),
    }


class Transposed(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.transpose(1, 2)


class Residual(nn.Module):
    """A strided block with a shortcut, groups and a gate, as later layers have them."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels_in, channels, 3, (1, 2, 2), padding=1, groups=2, bias=False)
        self.norm = nn.BatchNorm3d(channels)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Conv3d(channels, channels, 1), nn.Sigmoid())
        self.short = nn.Conv3d(channels_in, channels, 1, (1, 2, 2), bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.conv(x))
        return self.relu(y * self.gate(y) + self.short(x))


class Deep(nn.Module):
    """Two blocks after the trunk, so that an earlier layer can be tapped. Takes any T by 2."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = trunk(inplace=True)
        self.layer1 = Residual(CHANNELS, 8)
        self.layer2 = Residual(8, 12)
        self.fc = nn.Linear(12, CLASSES)

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer2(self.layer1(self.stem(clip))).mean((2, 3, 4)))


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and BatchNorm statistics of a seed, in eval mode, so that no two channels are alike."""
    random = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.2, generator=random)
            module.running_var.uniform_(0.5, 1.5, generator=random)
        for name, parameter in module.named_parameters(recurse=False):
            scale = 1.5 / max(1, parameter[0].numel()) ** 0.5 if name == "weight" and parameter.ndim > 1 else 0.5
            centre = 1.0 if name == "weight" and parameter.ndim == 1 else 0.0
            parameter.data.normal_(centre, scale, generator=random)
    return model.eval()


def clip(clip_length: int = FRAMES, batch: int = 1, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, clip_length, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def recipe(clip_lengths: tuple[int, ...] = (FRAMES,), **options: object) -> Recipe:
    spec = InputSpec((HEIGHT, WIDTH), (0.5, 0.4, 0.3), (0.5, 0.4, 0.3), short_side=WIDTH)
    fields = {"name": "tiny", "title": "Tiny", "license": "none", "labels": tuple("abcde"), "clip_length_step": 2}
    return Recipe(
        **{**fields, "input": spec, "clip_lengths": clip_lengths, "default_clip_length": max(clip_lengths), **options}
    )


def export_onnx(
    model: nn.Module,
    path: Path,
    recipe: Recipe,
    *,
    head: str = "auto",
    layer: str | None = None,
    clips: Sequence[np.ndarray] = (),
    dynamic_batch: bool = True,
) -> Manifest:
    """Writes any network, as it is in eval mode, with its evidence: `describe`, then `write_onnx`."""
    manifest, _ = describe(model, recipe, head=head, layer=layer, clips=clips)
    write_onnx(model, manifest, path, recipe, dynamic_batch=dynamic_batch)
    return manifest
