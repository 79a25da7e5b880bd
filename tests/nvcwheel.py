"""The wheel PyNvVideoCodec, as far as this project calls it, on the GPU that is not there (tests/gpu_double): FFmpeg
decodes. Its few surfaces are used again, as the real one does.
"""

from __future__ import annotations

import ctypes
import enum
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, ClassVar

import av
import numpy as np
from cuda.bindings import driver as cuda

SURFACES = 2
ALIGNED = 256
"""Bytes that the pitch of a surface is a multiple of."""


class cudaVideoCodec(enum.Enum):
    H264, HEVC, AV1, VP9, VP8, MPEG2 = "h264", "hevc", "av1", "vp9", "vp8", "mpeg2video"


class DisplayDecodeLatencyType(enum.Enum):
    NATIVE, LOW, ZERO = range(3)


class PacketData:
    bsl = bsl_data = pts = 0


def GetDecoderCaps(gpuid: int = 0, codec: Any = None, chromaformat: Any = None, bitdepth: int = 8) -> dict[str, int]:
    return {"num_decoder_engines": int(bitdepth == 8)}


def CreateDecoder(**arguments: Any) -> Decoder:
    return Decoder(**arguments)


class Decoder:
    latencies: ClassVar[list[DisplayDecodeLatencyType]] = []
    """of all decoders"""

    def __init__(
        self, gpuid: int, codec: cudaVideoCodec, cudacontext: int, cudastream: int, usedevicememory: bool, latency: Any
    ) -> None:
        assert (cudacontext, cudastream) != (0, 0)
        assert usedevicememory
        self.stream, self.context = cudastream, cuda.CUcontext(cudacontext)
        self.latencies.append(latency)
        self.codec = av.CodecContext.create(codec.value, "r")
        self.codec.thread_count = 1  # the real one decodes in hardware
        self.surfaces: list[int] = []
        self.size = (0, 0)
        """of the surfaces"""
        self.kept: list[Any] = []
        self.count = 0

    def Decode(self, packet: PacketData) -> list[Any]:
        coded = av.Packet(ctypes.string_at(packet.bsl_data, packet.bsl)) if packet.bsl else None
        if coded is not None:
            coded.pts = coded.dts = packet.pts
            coded.time_base = Fraction(1, 90_000)
        frames = self.codec.decode(coded)
        cuda.cuCtxPushCurrent(self.context)
        try:
            return [self.placed(frame) for frame in frames]
        finally:
            cuda.cuCtxPopCurrent()

    def __del__(self) -> None:
        cuda.cuCtxPushCurrent(self.context)
        self.free()
        cuda.cuCtxPopCurrent()

    def free(self) -> None:
        cuda.cuCtxSynchronize()
        while self.surfaces:
            cuda.cuMemFree(self.surfaces.pop())

    def WaitOnCUStream(self, stream: int) -> None:
        assert stream == self.stream

    def placed(self, frame: av.VideoFrame) -> Any:
        rows, pitch = frame.height * 3 // 2, -(-frame.width // ALIGNED) * ALIGNED
        if self.size != (frame.width, frame.height):
            self.free()
            self.size = (frame.width, frame.height)
        if len(self.surfaces) < SURFACES:
            self.surfaces.append(int(cuda.cuMemAlloc(pitch * rows)[1]))
        pointer = self.surfaces[self.count % len(self.surfaces)]
        self.count += 1
        host = np.zeros((rows, pitch), np.uint8)
        host[:, : frame.width] = frame.to_ndarray(format="nv12")
        self.kept = [*self.kept[-8:], host]
        cuda.cuMemcpyHtoDAsync(pointer, host.ctypes.data, host.nbytes, self.stream)
        height, width = frame.height, frame.width
        views = [
            view(pointer, (height, width, 1), (pitch, 1, 1)),
            view(pointer + pitch * height, (height // 2, width // 2, 2), (pitch, 2, 1)),
        ]
        return SimpleNamespace(cuda=lambda: views, getPTS=lambda: frame.pts)


def view(pointer: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    told = {"data": (pointer, False), "shape": shape, "strides": strides, "typestr": "|u1", "version": 3}
    return SimpleNamespace(__cuda_array_interface__=told)
