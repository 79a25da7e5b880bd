"""int8, by onnxruntime's quantiser: QuantizeLinear and DequantizeLinear around convolutions, as TensorRT wants them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from ..engine.errors import ModelError, UsageError, one_line
from ..engine.manifest import Manifest
from ..engine.picture import F32

OPERATORS = ("Conv",)
"""what is computed in int8; everything between convolutions stays float32, and runtimes fuse the ReLUs in"""

OPTIONS = {
    # TensorRT takes no zero point but 0
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    # a convolution's output goes to its ReLU as it is: what is quantised is what the next convolution reads
    "OpTypesToExcludeOutputQuantization": list(OPERATORS),
    # TensorRT takes no int32 bias under a DequantizeLinear
    "QuantizeBias": False,
    # each convolution has a pair of its own: of a pair that branches share, OpenVINO 2026.4 makes wrong results (on I3D
    # tubes that correlate 0.58 with the right ones, instead of 0.99)
    "DedicatedQDQPair": True,
    # the mean of the clips' extremes rather than the extreme of all, so that no one clip coarsens the scale for the
    # others: on I3D the worst tube of 16 clips correlates 0.986 instead of 0.968
    "CalibMovingAverage": True,
}


def quantize(
    proto: onnx.ModelProto, manifest: Manifest, calibration: Sequence[F32], nodes: Sequence[onnx.NodeProto]
) -> onnx.ModelProto:
    """A float32 graph with those convolutions among `nodes` that have a kernel of their own in int8.

    Kernels have one scale for each output channel, the tensors they read one each, symmetric, from the mean over
    `calibration`, clips [1, 3, T, H, W], of the largest magnitude each makes there. Raises UsageError without clips,
    ModelError where there is nothing to quantise or the quantiser fails.
    """
    if not calibration:
        raise UsageError("int8 needs clips to calibrate on: give a folder of videos with --calibrate DIR")
    for clip in calibration:
        expected = (1, 3, clip.shape[2] if clip.ndim == 5 else 0, *manifest.input.size)
        if clip.shape != expected or clip.dtype != np.float32:
            raise UsageError(f"clips must be float32 [1, 3, T, H, W] of {manifest.input.size}, got {clip.shape}")
        manifest.window(clip.shape[2])
    kernels = {tensor.name for tensor in proto.graph.initializer}
    chosen = [node.name for node in nodes if node.op_type in OPERATORS and node.input[1] in kernels]
    if not chosen:
        raise ModelError(f"{manifest.name} has no {' or '.join(OPERATORS)} before its tap that int8 could be used for")
    # the quantiser moves the weights of what it is given out into a temporary file
    source = onnx.ModelProto()
    source.CopyFrom(proto)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        try:
            quantize_static(
                source,
                path,
                _Clips(manifest, calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                # Kernels have 7 bits: processors without VNNI add two products in 16 bits, which 8 bits would overflow.
                reduce_range=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=list(OPERATORS),
                nodes_to_quantize=chosen,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options=OPTIONS,
            )
        except Exception as error:  # the quantiser, and the runtime that it uses, raise exceptions of many kinds
            raise ModelError(f"cannot quantise {manifest.name}: {one_line(error)}") from None
        return onnx.load(path)


class _Clips(CalibrationDataReader):
    """Gives the quantiser one clip after the other."""

    def __init__(self, manifest: Manifest, clips: Sequence[F32]) -> None:
        self._manifest, self._clips = manifest, iter(clips)

    def get_next(self) -> dict[str, Any] | None:
        clip = next(self._clips, None)
        if clip is None:
            return None
        feed: dict[str, Any] = {self._manifest.input.name: clip}
        if self._manifest.head is None:
            feed[self._manifest.class_input] = np.array([-1], np.int64)
        return feed


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the quantiser's advice, given through the root logger, from the user's terminal."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
