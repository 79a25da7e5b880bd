"""What runs a network: the protocol, and what every runtime shares."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ..errors import ModelError
from ..manifest import Manifest
from ..picture import F32
from ..preprocess import tensor
from ..types import Clip, HostOutputs, Outputs

ONNX_RUNTIMES = {"openvino": "OpenVinoRunner", "onnxruntime": "OnnxRuntimeRunner"}
"""What runs ONNX files: the name of its package, and of its module here -> the class of its Runner. The first one
that is installed is the default."""
ONNXRUNTIME_RTX = "onnxruntime-rtx"
"""onnxruntime, which hands the graph to TensorRT-RTX: with a package of it that has that provider."""
RUNTIMES = (*ONNX_RUNTIMES, ONNXRUNTIME_RTX, "tensorrt")


@dataclass(frozen=True)
class Choices:
    """The precisions that a runtime offers here."""

    title: str
    """runtime, version and device"""
    precisions: tuple[str, ...]
    """some of RUN_PRECISIONS, f32 first; only measuring tells which of them is quickest"""


class Runner(Protocol):
    """A network ready to run clips of one length, one or several at a time."""

    manifest: Manifest
    clip_length: int
    """T"""
    batch: int
    """N, the most clips one run takes: as many as were asked for, or 1 where the file takes no more"""
    description: str
    """runtime, version, device and precision, as printed at start-up"""
    place: str
    """where it reads samples without copying them there: "host", or "cuda:0" for the first GPU; it takes others too"""
    cells: tuple[int, int] | None = None
    """h and w of its activation; None: only a run tells"""

    def run(self, clips: Sequence[Clip], class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """The outputs of the network for each of 1 to N clips.

        The outputs of a clip do not depend on the other clips, except for rounding where a runtime chooses other
        kernels for another batch. class_ids: for each clip, the class whose weights a graph with gradients computes;
        None: the top class.
        """
        ...


class TensorRunner(Runner):
    """A runner that also takes the network's input as an array, so that it can be compared with other runners."""

    @abstractmethod
    def infer(self, data: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """As `run`, of clips that are [1..N, 3, T, H, W] float32 already, normalised as `preprocess.tensor` does."""


class HostRunner(TensorRunner):
    """A runner whose input is made in the host's memory. A subclass has `infer`."""

    place = "host"
    _memory: F32 | None = None
    """[N, 3, T, H, W], used again for every run: allocating it would take as long as filling it"""

    def run(self, clips: Sequence[Clip], class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """As `Runner.run`."""
        check_count(clips, self.batch)
        spec = self.manifest.input
        if self._memory is None:
            self._memory = np.empty((self.batch, 3, self.clip_length, *spec.size), np.float32)
        return self.infer(tensor(clips, spec, self._memory[: len(clips)]), class_ids)


def check_count(clips: Sequence[Clip], batch: int) -> None:
    """Raises ValueError for no clip, and for more than one run takes."""
    if not 1 <= len(clips) <= batch:
        raise ValueError(f"a run takes 1 to {batch} clips, got {len(clips)}")


class ArrayAt(NamedTuple):
    """A contiguous array, in the memory that whoever is given it expects: the host's, or a GPU's."""

    pointer: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def run_one(runner: Runner, clip: Clip, class_id: int | None = None) -> Outputs:
    """What a runner says of one clip."""
    (outputs,) = runner.run([clip], [class_id])
    return outputs


def inputs(manifest: Manifest, clips: F32, class_ids: Sequence[int | None] | None) -> dict[str, npt.NDArray[Any]]:
    """What to feed a graph, by name."""
    feed: dict[str, npt.NDArray[Any]] = {manifest.input.name: clips}
    if manifest.head is None:
        chosen = [-1 if one is None else one for one in class_ids or [None] * len(clips)]
        feed[manifest.class_input] = np.array(chosen, np.int64)
    return feed


def outputs(manifest: Manifest, values: Mapping[str, F32]) -> list[Outputs]:
    """What a graph gave for each clip, by the names in `manifest.outputs`."""
    names = tuple(manifest.outputs)
    rows = zip(*(values[name] for name in names), strict=True)
    return [HostOutputs(**dict(zip(names, row, strict=True))) for row in rows]


def check_shapes(manifest: Manifest, clip_length: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ModelError where the shapes a graph gives for one clip, by output, contradict its manifest."""
    classes, channels = len(manifest.labels), manifest.channels
    logits, activation = shapes["logits"], shapes["activation"]
    slices = len(manifest.window(clip_length).slice_weights)
    if logits != (1, classes):
        raise ModelError(f"logits of shape {logits} do not fit the manifest's {classes} labels")
    if len(activation) != 5 or activation[:3] != (1, channels, slices):
        expected = f"(1, {channels}, {slices}, h, w)"
        raise ModelError(f"activation of shape {activation} does not fit the manifest, which needs {expected}")
    if "weights" in shapes and shapes["weights"] != (1, channels):
        raise ModelError(f"weights of shape {shapes['weights']} do not fit the manifest's {channels} channels")
    manifest.window(clip_length).pool(*activation[3:])
