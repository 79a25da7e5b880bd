"""Gives a manifest to an ONNX file that somebody else made: `saliency-tubes manifest add`.

The file keeps its graph. Its activation becomes an output if it was none, the class weights are found among its
initializers, and completeness on seeded noise proves that they belong together: what does not add up is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from ..engine.errors import ModelError, UsageError, one_line
from ..engine.files import write_whole
from ..engine.manifest import InputSpec, LinearHead, Manifest, WindowSpec
from ..engine.noise import smooth_noise
from ..engine.picture import F32
from ..engine.runtimes.bounds import FILE_WORDS, PRECISION_KEY

BOUND = 1e-3
"""Maximum error of the tubes' sums, as a share of what the activation adds to the logits."""
STILL = 1e-4
"""Minimum of what the activation adds to the logits, as a share of them: of less than that float32 keeps too few
digits to check BOUND."""


@dataclass(frozen=True)
class Adoption:
    """What the file does not say of itself."""

    input: InputSpec
    """`name` is replaced by the graph's own"""
    clip_length: int
    """T"""
    labels: tuple[str, ...]
    activation: str
    """the tensor to tap, as the graph calls it"""
    logits: str | None = None
    """the output with the logits; None: the only one"""
    class_weights: str | None = None
    """the initializer with the head's matrix; None: the only one that fits"""
    title: str = ""
    license: str = "unknown"


def adopt(path: Path, output: Path, adoption: Adoption, seed: int = 0) -> Manifest:
    """Writes `path` with a manifest to `output` and returns it.

    Raises ModelError for a file that is not ONNX or whose head does not add up, UsageError for names that do not exist.
    """
    if not path.is_file():
        raise ModelError(f"cannot read model {path}: there is no such file")
    if adoption.logits == adoption.activation:
        raise UsageError(f"the tap and the logits cannot both be {adoption.activation}")
    try:
        proto = onnx.load(path)
    except Exception as error:  # protobuf's and onnx's own classes have no common base
        missing = isinstance(error, FileNotFoundError) or "should be stored in" in str(error)
        reason = f"its data is not there: {error}" if missing else "it is not an ONNX file"
        raise ModelError(f"cannot read model {path}: {reason}") from error
    clip_name = _clip_input(proto)
    logits = _logits(proto, adoption)
    _tap(proto, adoption.activation)
    clip = smooth_noise(adoption.input, adoption.clip_length, seed)
    found, activation = _run(proto, {clip_name: clip}, [logits, adoption.activation])
    if activation.ndim != 5:
        raise UsageError(f"{adoption.activation} is {list(activation.shape)}; a tap needs [batch, C, t, h, w]")
    classes, channels, slices = found.shape[-1], activation.shape[1], activation.shape[2]
    if len(adoption.labels) != classes:
        raise UsageError(f"{len(adoption.labels)} labels do not fit {classes} logits")
    head = _head(proto, adoption.class_weights, found[0], activation[0])
    spec = adoption.input
    manifest = Manifest(
        name=path.stem,
        title=adoption.title or path.stem,
        license=adoption.license,
        input=InputSpec(**{**vars(spec), "name": clip_name}),
        windows={adoption.clip_length: WindowSpec((1 / slices,) * slices, (0, slices))},
        default_clip_length=adoption.clip_length,
        labels=adoption.labels,
        tap=adoption.activation,
        channels=channels,
        head=head,
        outputs={"logits": logits, "activation": adoption.activation},
    )
    known = {entry.key: entry.value for entry in proto.metadata_props}
    helper.set_model_props(proto, {**known, PRECISION_KEY: FILE_WORDS["f32"], **manifest.to_properties()})
    try:
        write_whole(output, proto.SerializeToString(deterministic=True))  # it may be the input
    except OSError as error:
        raise ModelError(f"cannot write {output}: {error.strerror}") from None
    return manifest


def _clip_input(proto: onnx.ModelProto) -> str:
    held = {tensor.name for tensor in proto.graph.initializer}
    names = [value.name for value in proto.graph.input if value.name not in held]
    if len(names) != 1:
        raise ModelError(f"the graph must have one input, the clip; it has {', '.join(names) or 'none'}")
    return names[0]


def _logits(proto: onnx.ModelProto, adoption: Adoption) -> str:
    names = [value.name for value in proto.graph.output if value.name != adoption.activation]
    if adoption.logits is None and len(names) == 1:
        return names[0]
    if adoption.logits is None or adoption.logits not in names:
        raise UsageError(f"--logits must be one of {', '.join(names)}, got {adoption.logits}")
    return adoption.logits


def _tap(proto: onnx.ModelProto, name: str) -> None:
    """Makes a tensor inside the graph an output."""
    if name in {value.name for value in proto.graph.output}:
        return
    made = [output for node in proto.graph.node for output in node.output]
    if name not in made:
        near = difflib.get_close_matches(name, made, 3) or made[-3:]
        raise UsageError(f"the graph has no tensor {name!r}; did you mean {', '.join(near)}?")
    proto.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))


def _run(proto: onnx.ModelProto, feed: dict[str, F32], names: Sequence[str]) -> list[F32]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [np.asarray(value, np.float32) for value in session.run(list(names), feed)]
    except Exception as error:  # its classes derive from nothing narrower
        raise ModelError(f"the graph does not run on such a clip: {one_line(error)}") from None


def _head(proto: onnx.ModelProto, name: str | None, logits: F32, activation: F32) -> LinearHead:
    """The matrix among the initializers with which the tubes of all classes add up to the logits."""
    classes, channels = len(logits), len(activation)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    if name is not None and name not in held:
        raise UsageError(f"the graph has no initializer {name!r}")
    biases = [np.zeros(classes, np.float32), *(value for value in held.values() if value.shape == (classes,))]
    pooled = activation.mean(axis=(1, 2, 3), dtype=np.float64)
    errors: dict[str, float] = {}
    still = False
    for key, value in held.items() if name is None else [(name, held[name])]:
        for matrix in _matrices(value, classes, channels):
            for bias in biases:
                adds = float(
                    np.abs(logits - bias).max()
                )  # the activation's part alone: next to a large bias any head would seem to add up
                if adds <= STILL * float(np.abs(logits).max()):
                    still = True
                    continue
                error = float(np.abs(matrix @ pooled + bias - logits).max()) / adds
                if error <= BOUND:
                    return LinearHead(np.asarray(matrix, np.float32), np.asarray(bias, np.float32))
                errors[key] = min(error, errors.get(key, error))
    if still:
        raise ModelError(
            "the activation adds next to nothing to the logits of a test clip: no class weights can be told to be the "
            "head's; export it from PyTorch by 'saliency-tubes export'"
        )
    if not errors:
        raise ModelError(f"no initializer is a matrix of {classes} classes by {channels} channels")
    key = min(errors, key=lambda one: errors[one])
    raise ModelError(
        f"no class weights add up to the logits: the nearest, {key}, is off by {errors[key]:.1e} of their scale; "
        "the head is not 'pool evenly, then weigh': export it from PyTorch by 'saliency-tubes export'"
    )


def _matrices(value: np.ndarray[tuple[int, ...], np.dtype[np.float32]], classes: int, channels: int) -> list[F32]:
    """An initializer as [K, C], as it stands and transposed, where its shape allows."""
    shape = tuple(size for size in value.shape if size != 1)
    found = []
    if shape == (classes, channels):
        found.append(value.reshape(classes, channels))
    if shape == (channels, classes):
        found.append(value.reshape(channels, classes).T)
    return found
