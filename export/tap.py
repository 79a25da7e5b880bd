"""The tap: a network together with the output of one of its layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..engine.errors import ModelError


class Tapped(nn.Module):
    """Wraps a network: clip [N, 3, T, H, W] gives (logits [N, K], activation [N, C, t, h, w] of the tapped layer).

    `layer` is its name in `named_modules()`. Raises ModelError, naming the nearest ones, if there is none of that name;
    and at the first call if the layer is not run exactly once or gives no such tensor.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        names = [name for name, _ in model.named_modules() if name]
        if layer not in names:
            depth = layer.count(".")
            raise ModelError(f"no layer {layer!r}; there are {', '.join(n for n in names if n.count('.') <= depth)}")
        self.model = model
        self.layer = layer

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        outputs: list[Tensor] = []

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs.append(output)

        hook = self.model.get_submodule(self.layer).register_forward_hook(keep)
        try:
            logits = self.model(clip)
        finally:
            hook.remove()
        if len(outputs) != 1 or not isinstance(outputs[0], torch.Tensor) or outputs[0].ndim != 5:
            shapes = [list(o.shape) if isinstance(o, torch.Tensor) else type(o).__name__ for o in outputs]
            raise ModelError(f"layer {self.layer} must give one activation [N, C, t, h, w] a clip, it gave {shapes}")
        return logits, outputs[0]
