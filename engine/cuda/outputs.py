"""What a network on a GPU says of a clip: logits on the host, the activation where the network left it."""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from typing import Any

import numpy as np

from ..errors import ModelError
from ..picture import F32
from .driver import Gpu
from .memory import View
from .resources import Stream
from .work import CudaEvidence


class Readout:
    """Reads activations on a GPU. For any thread, on a stream of its own: its work is short, and waits neither for the
    network's next run nor for other outputs of the same one."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._evidence = CudaEvidence(gpu.device.index)
        self._lock = threading.Lock()  # two threads that ask the same outputs share their scratch
        with gpu.entered():
            self._stream = gpu.stream("high")
        weakref.finalize(self, _close, self._stream)

    def evidence(self, activation: View, weights: F32, scratch: View) -> F32:
        """[C, t, h, w] and [C] to [t, h, w] on the host. scratch: [t, h, w] float32 on the GPU, of these outputs."""
        found = np.empty(scratch.shape, np.float32)
        with self._lock, self._gpu.entered():
            self._evidence.compute(activation, np.ascontiguousarray(weights, np.float32), scratch, self._stream.handle)
            self._gpu.read(scratch.pointer, found, self._stream.handle)
        return found

    def download(self, array: View) -> F32:
        """An array on the GPU as float32 on the host."""
        found: Any = np.empty(array.shape, array.dtype)
        with self._gpu.entered():
            self._gpu.read(array.pointer, found, self._stream.handle)
        return np.asarray(found, np.float32)


def _close(stream: Stream) -> None:
    with suppress(ModelError):  # a GPU that has failed fails again here
        stream.close()


class DeviceOutputs:
    """`Outputs` whose activation lies on a GPU, in memory that is theirs until they are garbage.

    The network has written it before this is made. `evidence` sums on the GPU, in a fixed order (kernels/evidence.cu):
    the same activation and weights always give the same bytes.
    """

    def __init__(self, logits: F32, weights: F32 | None, activation: View, scratch: View, readout: Readout) -> None:
        """activation: [C, t, h, w] float32 or float16; scratch: [t, h, w] float32. Both keep their memory alive."""
        self.logits, self.weights = logits, weights
        self._activation, self._scratch, self._readout = activation, scratch, readout

    @property
    def activation(self) -> F32:
        """As `Outputs.activation`: copied to the host at each request."""
        return self._readout.download(self._activation)

    def evidence(self, weights: F32) -> F32:
        """As `Outputs.evidence`. Raises ModelError where the GPU fails."""
        return self._readout.evidence(self._activation, weights, self._scratch)
