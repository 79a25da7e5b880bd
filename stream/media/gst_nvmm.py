"""Pictures in a Jetson's memory:NVMM, read and written by the GPU.

Such a buffer holds the address of an NvBufSurface, of NVIDIA's library libnvbufsurface. The GPU reaches its memory as
an EGL image, which the driver is told of once for each of the few surfaces that take turns.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from ...engine.cuda.jobs import Format, RawPlane, Surface
from ...engine.cuda.pictures import DevicePicture
from ...engine.cuda.resources import given
from ...engine.errors import ModelError
from .gst_lend import READ, BufferLender
from .gst_load import Missing, load
from .gst_memory import JOIN, decoded_by
from .gst_planes import CapsReader

if TYPE_CHECKING:
    from ...engine.cuda.driver import Gpu

LIBRARY = "libnvbufsurface.so.1.0.0"
FORMATS = {"NV12": Format.NV12, "I420": Format.I420}
BUFFERS = 24
"""Surfaces of nvvidconv. It waits for one to come back when all are with us: in the appsink and the inbox, in the
queues of a run, and in outputs. So when half of them are lent, pictures are copied."""
_PLANES, _PADDING = 4, 4
"""NVBUF_MAX_PLANES, STRUCTURE_PADDING"""
_PITCH = 0
"""NVBUF_LAYOUT_PITCH"""
_FRAME_PITCH = 1
"""CU_EGL_FRAME_TYPE_PITCH, cudaEGL.h"""
_U32, _POINTER = ctypes.c_uint32, ctypes.c_void_p


class PlaneParams(ctypes.Structure):
    """NvBufSurfacePlaneParams, as all structures here of nvbufsurface.h, JetPack 5 and 6"""

    _fields_ = (
        ("num_planes", _U32),
        *((name, _U32 * _PLANES) for name in ("width", "height", "pitch", "offset", "psize", "bytesPerPix")),
        ("reserved", _POINTER * (_PADDING * _PLANES)),
    )


class MappedAddr(ctypes.Structure):
    """NvBufSurfaceMappedAddr"""

    _fields_ = (("addr", _POINTER * _PLANES), ("eglImage", _POINTER), ("reserved", _POINTER * _PADDING))


class SurfaceParams(ctypes.Structure):
    """NvBufSurfaceParams"""

    _fields_ = (
        *((name, _U32) for name in ("width", "height", "pitch", "colorFormat", "layout")),
        ("bufferDesc", ctypes.c_uint64),
        ("dataSize", _U32),
        ("dataPtr", _POINTER),
        ("planeParams", PlaneParams),
        ("mappedAddr", MappedAddr),
        ("paramex", _POINTER),
        ("reserved", _POINTER * (_PADDING - 1)),
    )


class BufSurface(ctypes.Structure):
    """NvBufSurface"""

    _fields_ = (
        *((name, _U32) for name in ("gpuId", "batchSize", "numFilled")),
        ("isContiguous", ctypes.c_bool),
        ("memType", _U32),
        ("surfaceList", ctypes.POINTER(SurfaceParams)),
        ("reserved", _POINTER * _PADDING),
    )


@cache
def _library() -> Any:
    library = ctypes.CDLL(LIBRARY)
    for name in ("NvBufSurfaceMapEglImage", "NvBufSurfaceUnMapEglImage"):
        getattr(library, name).argtypes = (ctypes.POINTER(BufSurface), ctypes.c_int)
    return library


def why_no_nvmm() -> str | None:
    """One line that says why pictures cannot stay in a Jetson's memory here; None if they can."""
    try:
        found = load("GstApp", "GstVideo")
    except Missing as missing:
        return f"GStreamer keeps no pictures on the GPU here: {missing}"
    if found.Gst.ElementFactory.find("nvvidconv") is None:
        return "GStreamer has no nvvidconv here (apt-get install nvidia-l4t-gstreamer)"
    try:
        _library()
    except OSError as error:
        return f"{LIBRARY} cannot be loaded ({error})"
    return None


class InNvmm:
    """The memory of a Jetson. Pictures are drawn on where nvvidconv left them, row by row and not in blocks, as
    decoders do."""

    tail = (
        f"videoconvert name={JOIN} ! nvvidconv bl-output=false output-buffers={BUFFERS} "
        "! video/x-raw(memory:NVMM),format=(string)NV12"
    )

    def __init__(self, gpu: Gpu) -> None:
        """Needs that `why_no_nvmm` has no reason."""
        self.gpu, self.where = gpu, gpu.name
        self._found = load("GstApp", "GstVideo")
        self.lender = BufferLender(gpu, BUFFERS)

    def attach(self, pipeline: Any) -> None:
        pass

    def wrong(self, elements: Sequence[Any]) -> str:
        return ""

    def reader(self, caps: Any) -> NvmmReader:
        return NvmmReader(self, self._found, caps)

    def words(self, decoders: Sequence[str]) -> str:
        return f"{decoded_by(decoders)} and nvvidconv into memory:NVMM, pictures stay on {self.where}"


class NvmmReader(CapsReader):
    """Reads samples in NVMM that all have the same caps."""

    def __init__(self, memory: InNvmm, found: Any, caps: Any) -> None:
        super().__init__(found.GstVideo, caps, FORMATS)
        self._memory, self._gst = memory, found.Gst
        self.format = FORMATS[self.name]
        self._known: dict[tuple[int, int], Surface] = {}
        """address of the parameters and file descriptor of each surface -> its planes on the GPU"""
        self._registered: list[tuple[Any, Any]] = []

    def read(self, buffer: Any) -> DevicePicture:
        """The buffer's picture, where it lies. Raises ValueError for a buffer that cannot be mapped, ModelError where
        the GPU cannot reach it."""
        lent = self._memory.lender.lend(buffer, READ)
        surface = ctypes.cast(lent.address, ctypes.POINTER(BufSurface))
        params = surface.contents.surfaceList[0]
        key = (ctypes.addressof(params), int(params.bufferDesc))
        if key not in self._known:
            self._known[key] = self._register(surface, params)
        return DevicePicture(self._memory.gpu, self._known[key], lease=lent)

    def _register(self, surface: Any, params: SurfaceParams) -> Surface:
        gpu = self._memory.gpu
        if params.layout != _PITCH:
            raise ModelError("nvvidconv gives pictures in blocks, which cannot be drawn on: it has no bl-output=false")
        if _library().NvBufSurfaceMapEglImage(surface, 0) != 0:
            raise ModelError("a picture cannot be shown to the GPU (NvBufSurfaceMapEglImage): unset DISPLAY")
        with gpu.entered():
            image = gpu.cuda.EGLImageKHR(params.mappedAddr.eglImage)
            resource = given(gpu.cuda, gpu.cuda.cuGraphicsEGLRegisterImage(image, 0))
            self._registered.append((surface, resource))
            frame = given(gpu.cuda, gpu.cuda.cuGraphicsResourceGetMappedEglFrame(resource, 0, 0))
        if int(frame.frameType) != _FRAME_PITCH:
            raise ModelError("the GPU sees a picture in blocks, which cannot be drawn on")
        planes = [
            RawPlane(int(frame.frame.pPitch[index]), int(params.planeParams.pitch[index]))
            for index in range(int(frame.planeCount))
        ]
        return Surface(self.format, planes, *self.size, self.color)

    def close(self) -> None:
        """Lets the driver forget the surfaces, once all work on them is done."""
        gpu = self._memory.gpu
        with suppress(ModelError), gpu.entered():  # a GPU that has failed, which who asked for its pictures is told
            self._memory.lender.collect(wait=True)
            for surface, resource in self._registered:
                gpu.cuda.cuGraphicsUnregisterResource(resource)
                _library().NvBufSurfaceUnMapEglImage(surface, 0)
        self._registered, self._known = [], {}
