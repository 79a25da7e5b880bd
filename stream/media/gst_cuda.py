"""Pictures in GStreamer's CUDA memory, read and written by their addresses on the GPU.

Needs the plugin nvcodec of GStreamer 1.22 or later, whose library GstCuda others may use.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from ...engine.cuda.jobs import PLANES, Format, RawPlane, Surface
from ...engine.cuda.pictures import DevicePicture
from ...engine.errors import ModelError
from .gst_lend import CUDA, READ, WRITE, BufferLender
from .gst_load import Missing, load
from .gst_memory import JOIN, decoded_by
from .gst_planes import CapsReader

if TYPE_CHECKING:
    from ...engine.cuda.driver import Gpu
    from ...engine.cuda.resources import CudaEvent

FORMATS = {"NV12": Format.NV12, "I420": Format.I420, "P010_10LE": Format.P010}
"""GStreamer's names of the formats that pictures on a GPU are taken in."""
PACKAGES = "gir1.2-gst-plugins-bad-1.0 gstreamer1.0-plugins-bad"


@cache
def _streams() -> Any:
    """The functions that tell on which stream a memory is written, since GStreamer 1.24; None before, where it is
    written completely when it is handed on."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libgstcuda-1.0.so.0")
        for name in ("gst_cuda_memory_get_stream", "gst_cuda_stream_get_handle"):
            getattr(library, name).argtypes, getattr(library, name).restype = (ctypes.c_void_p,), ctypes.c_void_p
        library.gst_cuda_memory_sync.argtypes, library.gst_cuda_memory_sync.restype = (ctypes.c_void_p,), None
        return library
    return None


def why_no_cuda_memory() -> str | None:
    """One line that says why GStreamer cannot keep pictures on a GPU here; None if it can."""
    try:
        found = load("GstApp", "GstVideo", "GstCuda")
    except Missing as missing:
        return f"GStreamer keeps no pictures on the GPU here: {missing}"
    if found.Gst.ElementFactory.find("cudaupload") is None or not found.GstCuda.cuda_load_library():
        return f"GStreamer keeps no pictures on the GPU here: it has no cudaupload (apt-get install {PACKAGES})"
    return None


@cache
def context_of(gpu: Gpu) -> Any:
    """The GPU's primary context, which this project uses, as GStreamer's elements take it (GstCuda.CudaContext)."""
    found = load("GstApp", "GstVideo", "GstCuda")
    found.GstCuda.cuda_load_library()
    with gpu.entered():
        handle = int(gpu.cuda.cuCtxGetCurrent()[1])
    return found.GstCuda.CudaContext.new_wrapped(handle, gpu.device.index)


def share(pipeline: Any, gpu: Gpu) -> None:
    """Makes the pipeline's elements use our context: pictures of another one would be out of our kernels' reach."""
    pipeline.set_context(load("GstApp", "GstVideo", "GstCuda").GstCuda.context_new_cuda_context(context_of(gpu)))


@cache
def _prefer(gst: Any) -> None:
    """Makes decodebin try NVIDIA's decoders before those that run on the CPU, which may have the same rank and would
    then be first by their names. For the whole process; in the same order among themselves."""
    for feature in gst.Registry.get().get_feature_list_by_plugin("nvcodec"):
        if isinstance(feature, gst.ElementFactory) and "Decoder/Video" in feature.get_metadata("klass"):
            feature.set_rank(gst.Rank.PRIMARY + feature.get_rank())


class InCuda:
    """The memory of one GPU. Pictures are not copied: they are drawn on where GStreamer's elements left them."""

    def __init__(self, gpu: Gpu) -> None:
        """Needs that `why_no_cuda_memory` has no reason."""
        self.gpu, self.where = gpu, gpu.name
        self._found = found = load("GstApp", "GstVideo", "GstCuda")
        self.tail = _tail(found.Gst)
        _prefer(found.Gst)
        self.lender = BufferLender(gpu)

    def attach(self, pipeline: Any) -> None:
        share(pipeline, self.gpu)
        for element in pipeline.children:
            if element.find_property("cuda-device-id") and element.get_factory().get_name().startswith("cuda"):
                element.set_property("cuda-device-id", self.gpu.device.index)

    def wrong(self, elements: Sequence[Any]) -> str:
        """As `PictureMemory.wrong`: each kind of decoder works on one GPU, and decodebin prefers those of the first."""
        for element in elements:
            index = element.get_property("cuda-device-id") if element.find_property("cuda-device-id") else -1
            if index not in (-1, self.gpu.device.index):
                name = element.get_factory().get_name()
                return (
                    f"{name} works on cuda:{index}, not on {self.where}: set CUDA_VISIBLE_DEVICES="
                    f"{self.gpu.device.index} and use cuda:0"
                )
        return ""

    def reader(self, caps: Any) -> CudaReader:
        return CudaReader(self, self._found, caps)

    def words(self, decoders: Sequence[str]) -> str:
        stay = any(name.startswith("nv") for name in decoders)
        return f"{decoded_by(decoders)}" + (
            f" on {self.where}, pictures stay there" if stay else f" on the CPU, uploaded to {self.where} by cudaupload"
        )

    def written(self, buffer: Any) -> CudaEvent | None:
        """When the elements have written the buffer; None: they already have."""
        streams, memory = _streams(), hash(buffer.peek_memory(0))
        if streams is None:
            return None
        stream = streams.gst_cuda_memory_get_stream(memory)
        if not stream:
            streams.gst_cuda_memory_sync(memory)
            return None
        with self.gpu.entered():
            return self.gpu.record(int(streams.gst_cuda_stream_get_handle(stream)))


def _tail(gst: Any) -> str:
    """Elements that pass on what a decoder of NVIDIA's left on the GPU, and bring there what the CPU decoded."""
    host, upload = "video/x-raw,format=(string){ I420, NV12 }", "cudaupload"
    formats = list(FORMATS)
    if gst.ElementFactory.find("cudaconvert") is not None:  # else 10 bits stay 10 bits, which fewer encoders take
        upload, formats = "cudaupload ! cudaconvert", formats[:2]
    there = f"video/x-raw(memory:CUDAMemory),format=(string){{ {', '.join(formats)} }}"
    return f'videoconvert name={JOIN} ! capsfilter caps="{host};{there}" ! {upload} ! {there}'


class CudaReader(CapsReader):
    """Reads samples in CUDA memory that all have the same caps."""

    def __init__(self, memory: InCuda, found: Any, caps: Any) -> None:
        super().__init__(found.GstVideo, caps, FORMATS)
        self._memory, self._video = memory, found.GstVideo
        self.format = FORMATS[self.name]

    def read(self, buffer: Any) -> DevicePicture:
        """The buffer's picture, where it lies. Raises ValueError for a buffer that cannot be mapped."""
        ready = self._memory.written(buffer)
        lent = self._memory.lender.lend(buffer, READ | WRITE | CUDA)
        surface = surface_of(self._video, buffer, lent.address, self)
        return DevicePicture(self._memory.gpu, surface, ready=ready, lease=lent)

    def close(self) -> None:
        """Gives back the buffers that nobody holds any more, once the GPU is done with them."""
        with suppress(ModelError):  # a GPU that has failed, which who asked for its pictures is told
            self._memory.lender.collect(wait=True)


def surface_of(video: Any, buffer: Any, address: int, reader: CudaReader) -> Surface:
    """The planes of a buffer that is mapped at the address."""
    meta = video.buffer_get_video_meta(buffer)
    offsets, strides = (meta.offset, meta.stride) if meta is not None else (reader.offsets, reader.strides)
    count = len(PLANES[reader.format])
    planes = [RawPlane(address + int(offset), int(stride)) for offset, stride in zip(offsets, strides, strict=False)]
    return Surface(reader.format, planes[:count], *reader.size, reader.color)
