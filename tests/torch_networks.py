"""Runners by PyTorch, for tests: on a GPU the network stands between the same gathering and the same evidence as
TensorRT and onnxruntime do, on tensors that are views of the same memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from gpu_double import Double
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.manifest import Manifest
from saliency_tubes.engine.picture import F32
from saliency_tubes.engine.runtimes.base import ArrayAt, HostRunner, outputs
from saliency_tubes.engine.runtimes.gpu_runner import GpuRunner, TensorOnGpu
from saliency_tubes.engine.types import Outputs

Network = Any
"""Called with a clip [n, 3, T, H, W], and for a head that is not linear with classes [n] int64; gives the outputs in
the order of `Manifest.outputs`."""


def tapped(model: Any, linear: bool, tap: str = "tap") -> Network:
    """A module, giving the activation of its part `tap` too, and for a head that is not linear its gradient."""
    part = model.get_submodule(tap)

    def call(clip: torch.Tensor, classes: torch.Tensor | None = None) -> list[torch.Tensor]:
        kept: list[torch.Tensor] = []

        def keep(module: Any, given: Any, output: torch.Tensor) -> torch.Tensor:
            kept.append(output.detach().requires_grad_(not linear))
            return kept[0]

        handle = part.register_forward_hook(keep)
        try:
            with torch.set_grad_enabled(not linear):
                logits = model(clip)
        finally:
            handle.remove()
        if linear or classes is None:
            return [logits.detach(), kept[0].detach()]
        chosen = torch.where(classes < 0, logits.argmax(1), classes)
        (slopes,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), kept[0])
        return [logits.detach(), kept[0].detach(), slopes.sum((2, 3, 4))]

    return call


class TorchRunner(HostRunner):
    """On the CPU."""

    def __init__(self, network: Network, manifest: Manifest, clip_length: int, batch: int = 1) -> None:
        self.manifest, self.clip_length, self.batch = manifest, clip_length, batch
        self.description = f"PyTorch {torch.__version__} on CPU, f32"
        self._network = network

    def infer(self, data: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        classes = torch.tensor([-1 if one is None else one for one in class_ids or [None] * len(data)])
        clip = torch.from_numpy(data)
        found = self._network(clip) if self.manifest.head is not None else self._network(clip, classes)
        named = zip(self.manifest.outputs, found, strict=True)
        return outputs(self.manifest, {role: value.numpy().copy() for role, value in named})


class TorchGpuRunner(GpuRunner):
    """On a GPU."""

    def __init__(self, network: Network, manifest: Manifest, clip_length: int, index: int = 0, batch: int = 1) -> None:
        """network: its parameters lie where `device` says."""
        gpu = Gpu.of(index)
        super().__init__(gpu, manifest, clip_length)
        self._network = network
        clip = TensorOnGpu(manifest.input.name, (3, clip_length, *manifest.input.size), np.dtype(np.float32))
        zeros = torch.zeros((1, *clip.shape), device=self.device)
        found = self._call(zeros, torch.zeros(1, dtype=torch.int64, device=self.device))
        made = {
            role: TensorOnGpu(name, tuple(value.shape[1:]), np.dtype(np.float32))
            for (role, name), value in zip(manifest.outputs.items(), found, strict=True)
        }
        with gpu.entered():
            self.prepare(batch, clip, made)
        self.description = f"PyTorch {torch.__version__} on {gpu.device.name}, f32"

    @property
    def device(self) -> torch.device:
        """Where torch computes."""
        return torch.device("cuda", self.gpu.device.index)

    def queue(self, given: Mapping[str, ArrayAt], wanted: Mapping[str, ArrayAt]) -> None:
        """As `GpuRunner.queue`."""

        def view(array: ArrayAt) -> torch.Tensor:
            about = {"typestr": array.dtype.str, "shape": array.shape, "data": (array.pointer, False), "version": 3}
            return torch.as_tensor(SimpleNamespace(__cuda_array_interface__=about), device=self.device)

        with torch.cuda.stream(torch.cuda.ExternalStream(self.stream.handle, self.device)):
            found = self._call(*map(view, given.values()))
            for name, value in zip(self.manifest.outputs.values(), found, strict=True):
                view(wanted[name]).copy_(value)

    def _call(self, clip: torch.Tensor, *classes: torch.Tensor) -> Sequence[torch.Tensor]:
        found: Sequence[torch.Tensor] = self._network(clip, *(classes if self.manifest.head is None else ()))
        return found


class TorchDoubleRunner(TorchGpuRunner):
    """On the GPU that is not there (tests/gpu_double): torch's CPU computes, in the stream's turn."""

    device = torch.device("cpu")  # type: ignore[assignment]

    def __init__(self, double: Double, *arguments: Any, **options: Any) -> None:
        self._double = double
        super().__init__(*arguments, **options)

    def queue(self, given: Mapping[str, ArrayAt], wanted: Mapping[str, ArrayAt]) -> None:
        double, network = self._double, self._network  # the double keeps `run`, which must not keep the runner
        arrays = list(given.values())[: 1 if self.manifest.head is not None else 2]
        targets = [wanted[name] for name in self.manifest.outputs.values()]

        def view(array: ArrayAt) -> torch.Tensor:
            return torch.from_numpy(double.memory(*array))

        def run() -> None:
            for target, value in zip(targets, network(*map(view, arrays)), strict=True):
                view(target).copy_(value)

        reads, writes = ([(one.pointer, int(np.prod(one.shape)) * one.dtype.itemsize) for one in some]
                         for some in (arrays, targets))  # fmt: skip
        assert double.work(self.stream.handle, run, reads, writes, "the network") == 0
