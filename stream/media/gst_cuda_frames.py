"""Gives pictures on a GPU to GStreamer's encoders, which take them from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ...engine.cuda.jobs import Format, RawPlane, Surface
from ...engine.cuda.pictures import DevicePicture, copy
from ...engine.errors import SinkError
from ...engine.picture import Image, Layout, on_host
from .cuda_planes import send
from .gst_cuda import context_of, share
from .gst_frames import FrameBuffers
from .gst_lend import CUDA, WRITE, BufferLender
from .info import VideoInfo

if TYPE_CHECKING:
    from ...engine.cuda.driver import Gpu

ENCODERS = frozenset({"nvh264enc"})
"""The encoders that take pictures from CUDA memory."""


class CudaFrames(FrameBuffers):
    """Copies pictures of one size into GStreamer's CUDA memory, from one place on the GPU to another: an encoder may
    hold them for some time, and repeats the last one during a pause."""

    formats: ClassVar = {Layout.NV12: Format.NV12, Layout.I420: Format.I420}

    def __init__(self, gst: Any, info: VideoInfo, gpu: Gpu) -> None:
        """gst: the namespace of `gst_load.load`, with GstVideo and GstCuda. info: of an even size."""
        super().__init__(gst, info)
        self._gpu, self._format, self.where = gpu, self.formats[info.layout], gpu.name
        self.caps.set_features(0, gst.Gst.CapsFeatures.from_string("memory:CUDAMemory"))
        self._pool = gst.GstCuda.CudaBufferPool.new(context_of(gpu))
        config = self._pool.get_config()
        gst.Gst.BufferPool.config_set_params(config, self.caps, self.bytes, 0, 0)
        self._pool.set_config(config)
        self._pool.set_active(True)
        self._lender = BufferLender(gpu)
        with gpu.entered():
            self._stream = gpu.stream("high")

    def make(self, image: Image) -> Any:
        """A GstBuffer with the picture in it, without a time. The copy is done when this returns.

        image: in the place `where`; or on the host, as frames that came before the output was open.
        """
        if isinstance(image, DevicePicture) and image.format is not self._format:
            raise SinkError(f"pictures in {image.format.value} cannot be encoded on {image.where}")
        result, buffer = self._pool.acquire_buffer(None)
        if buffer is None:
            raise SinkError(f"GStreamer has no memory left on {self.where} ({result.value_nick})")
        lent = self._lender.lend(buffer, WRITE | CUDA)
        target = self._target(buffer, lent.address, image)
        with self._gpu.entered():
            if isinstance(image, DevicePicture):
                self._stream.wait(image.ready)
                copy(self._gpu, image.surface, target, self._stream.handle)
            else:
                send(self._gpu, on_host(image), target, self._stream.handle)
            self._stream.synchronize()
        del lent
        self._lender.collect()
        return buffer

    def attach(self, pipeline: Any) -> None:
        share(pipeline, self._gpu)

    def close(self) -> None:
        self._pool.set_active(False)
        self._stream.close()

    def _target(self, buffer: Any, address: int, like: Image) -> Surface:
        """The planes of a buffer that is mapped at the address."""
        places, meta = self.places, self.gst.GstVideo.buffer_get_video_meta(buffer)
        if meta is not None:
            places = [(int(meta.offset[index]), int(meta.stride[index])) for index in range(len(places))]
        planes = [RawPlane(address + offset, stride) for offset, stride in places]
        return Surface(self._format, planes, like.width, like.height, like.color)
