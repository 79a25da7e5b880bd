"""I3D in PyTorch on a GPU, fed from frames that never leave it; and the same answers again, for a run on the CPU.

For tests on a real GPU: it needs no TensorRT, so it runs wherever PyTorch does. Two networks never give the same
floats, so the run on the CPU is given what the GPU's network said: then everything else must be equal to the byte, the
samples that go in and the pictures and events that come out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from saliency_tubes.engine.cuda.clips import Gather
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.memory import view_of
from saliency_tubes.engine.cuda.work import CudaEvidence
from saliency_tubes.engine.manifest import Manifest
from saliency_tubes.engine.picture import F32, HOST
from saliency_tubes.engine.runtimes.models import find_model, read_manifest
from saliency_tubes.engine.types import Clip, Outputs, Span
from saliency_tubes.export.zoo.i3d_weights import load_i3d
from torch import nn


@dataclass
class Said:
    """What the network on the GPU said of clips."""

    samples: dict[Span, str] = field(default_factory=dict)
    """span -> digest of the samples' bytes"""
    logits: dict[Span, F32] = field(default_factory=dict)
    evidence: dict[tuple[Span, bytes], F32] = field(default_factory=dict)
    """span and weights -> evidence"""


def digest(clip: Clip) -> str:
    """Of the samples' bytes, wherever they lie."""
    made = hashlib.sha256()
    for sample in clip.samples:
        made.update(np.ascontiguousarray(sample.pixels).tobytes())
    return made.hexdigest()


def i3d() -> tuple[nn.Module, Manifest]:
    """The network with its published weights, and the manifest of the package's own file of it."""
    return load_i3d().eval(), read_manifest(find_model("i3d"))


class TorchRunner:
    """A `Runner` on a GPU, by PyTorch. said: where its answers are kept; None: they are not."""

    def __init__(
        self,
        network: nn.Module,
        manifest: Manifest,
        gpu: Gpu,
        clip_length: int,
        batch: int = 1,
        said: Said | None = None,
    ) -> None:
        self.manifest, self.clip_length, self.batch, self.place = manifest, clip_length, batch, gpu.name
        self.description = f"PyTorch {torch.__version__} on {gpu.name}"
        self._gpu, self._said = gpu, said
        self._network = network.to(gpu.name)
        self._tapped: list[torch.Tensor] = []
        tap = self._network.get_submodule(manifest.tap)
        tap.register_forward_hook(lambda module, given, made: self._tapped.append(made))
        with gpu.entered():
            self._stream = gpu.stream("low")
        self._queue = torch.cuda.ExternalStream(self._stream.handle, gpu.name)
        self._gather = Gather(gpu, manifest.input, clip_length)
        self._input = torch.empty((batch, 3, clip_length, *manifest.input.size), device=gpu.name)
        self._evidence = CudaEvidence(gpu.device.index)

    @torch.inference_mode()
    def run(self, clips: Sequence[Clip], class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """As `Runner.run`; all clips go through the network together."""
        given = self._input[: len(clips)]
        with torch.cuda.stream(self._queue):
            with self._gpu.entered():
                self._gather.write(clips, view_of(given), self._stream)
            self._tapped.clear()
            logits = self._network(given).float().cpu().numpy()
            (activation,) = self._tapped
        return [
            _OnGpu(self, clip, values, activation[number].contiguous())
            for number, (clip, values) in enumerate(zip(clips, logits, strict=True))
        ]

    def tube(self, activation: torch.Tensor, weights: F32) -> F32:
        """The evidence, by our kernel on the network's stream."""
        with torch.cuda.stream(self._queue):
            out = torch.empty(activation.shape[1:], device=activation.device)
            self._evidence.compute(activation, np.asarray(weights, np.float32), out, self._stream)
            found: F32 = out.cpu().numpy()
        return found

    def keep(self, clip: Clip, logits: F32) -> None:
        if self._said is not None:
            self._said.samples[clip.span], self._said.logits[clip.span] = digest(clip), logits

    def keep_evidence(self, clip: Clip, weights: F32, evidence: F32) -> None:
        if self._said is not None:
            self._said.evidence[clip.span, np.asarray(weights).tobytes()] = evidence


class _OnGpu:
    """An `Outputs` whose activation stays on the GPU."""

    weights = None

    def __init__(self, runner: TorchRunner, clip: Clip, logits: F32, activation: torch.Tensor) -> None:
        self.logits = logits
        self._runner, self._clip, self._activation = runner, clip, activation
        runner.keep(clip, logits)

    @property
    def activation(self) -> F32:
        found: F32 = self._activation.float().cpu().numpy()
        return found

    def evidence(self, weights: F32) -> F32:
        found = self._runner.tube(self._activation, weights)
        self._runner.keep_evidence(self._clip, weights, found)
        return found


class RecalledRunner:
    """A `Runner` on the host that says again what was said of the same clips, and refuses clips of other samples."""

    place = HOST

    def __init__(self, manifest: Manifest, clip_length: int, said: Said) -> None:
        self.manifest, self.clip_length, self.batch = manifest, clip_length, 1
        self.description = "what was said on the GPU"
        self._said = said

    def run(self, clips: Sequence[Clip], class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """As `Runner.run`."""
        for clip in clips:
            if self._said.samples[clip.span] != digest(clip):
                raise AssertionError(f"the samples of {clip.span} are not those of the GPU")
        return [_Recalled(self._said, clip.span) for clip in clips]


class _Recalled:
    weights = None

    def __init__(self, said: Said, span: Span) -> None:
        self._said, self._span = said, span
        self.logits = said.logits[span]

    @property
    def activation(self) -> Any:
        raise AssertionError("nobody needs the activation itself")

    def evidence(self, weights: F32) -> F32:
        return self._said.evidence[self._span, np.asarray(weights).tobytes()]
