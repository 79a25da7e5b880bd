"""Pictures on a GPU for FFmpeg's NVENC encoder, which takes them from there: nothing of them passes through the host.

PyAV's own frames do that, from the version on that can use a CUDA context that is there already.
"""

from __future__ import annotations

import ctypes
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from ...engine.cuda.fit import CudaFit
from ...engine.cuda.jobs import Format, Surface
from ...engine.cuda.pictures import DevicePicture, bytes_of, copy, laid_out
from ...engine.errors import ModelError, UsageError
from ...engine.fit import fit
from ...engine.picture import Color, Image, Layout, on_host
from .av_planes import reason
from .cuda_planes import gpu_of, send
from .info import VideoInfo

if TYPE_CHECKING:
    from ...engine.cuda.driver import Gpu

ENCODER = "h264_nvenc"
"""FFmpeg's name of the encoder that takes pictures from a GPU."""
SURFACES = {True: 4, False: 16}
"""Whether the encoder has low latency -> number of pictures that it may hold at a time, as its option `surfaces`."""
_MORE = 4
"""Pictures of ours beyond those: the encoder may finish one picture a few pictures after a later one (B-frames)."""


class NvencFrames:
    """Copies pictures of one size, from one place on the GPU to another, into frames of PyAV's, which are NV12.

    The encoder registers each address that it meets, and reads the picture after `encode` has returned. So the copies
    take turns in memory that lives as long as the encoder; the originals are free at once.
    """

    def __init__(self, gpu: Gpu, size: tuple[int, int], color: Color, low_latency: bool) -> None:
        """size: width and height, both even. Raises ModelError where the GPU has no memory, and UsageError where PyAV
        is too old."""
        self._gpu, self._context = gpu, _context(gpu)
        with gpu.entered():
            self._stream = gpu.stream("high")
            count = SURFACES[low_latency] + _MORE
            self._memory = [gpu.allocate(bytes_of(Format.NV12, size)) for _ in range(count)]
        self._fit = CudaFit(gpu)
        self._targets = [laid_out(Format.NV12, size, color, memory.pointer) for memory in self._memory]
        self._made = 0

    def prepare(self, layout: Layout) -> None:
        """Compiles what pictures of this layout need, so that the first one does not wait for it."""
        if layout is not Layout.NV12:
            with self._gpu.entered():
                self._fit.prepare()

    def make(self, image: Image) -> VideoFrame:
        """A frame with the picture in it, without a time. The copy is done when this returns, because the encoder
        waits for nobody.

        image: of YUV, on this GPU; or on the host, as frames that came before the output was open. Raises ModelError
        where the GPU fails.
        """
        target = self._targets[self._made % len(self._targets)]
        self._made += 1
        with self._gpu.entered():
            if isinstance(image, DevicePicture):
                self._stream.wait(image.ready)
                if image.format is target.format:
                    copy(self._gpu, image.surface, target, self._stream.handle)
                else:
                    self._fit.queue(image.surface, target, self._stream.handle)
                done = self._stream.record()
                image.used(done)
                done.synchronize()
            else:
                picture = fit(on_host(image), (target.width, target.height), Layout.NV12, target.color)
                send(self._gpu, picture, target, self._stream.handle)
                self._stream.synchronize()
            return self._frame(target)

    def close(self) -> None:
        """Frees the memory. The encoder must be gone."""
        memory, self._memory = self._memory, []
        for each in memory:
            each.close()
        self._stream.close()

    def _frame(self, surface: Surface) -> VideoFrame:
        (luma, chroma), width, height = surface.places, surface.width, surface.height
        index = self._gpu.device.index
        planes = [
            _capsule(luma.pointer, (height, width), luma.pitch, index),
            _capsule(chroma.pointer, (height // 2, width), chroma.pitch, index),
        ]
        return VideoFrame.from_dlpack(planes, "nv12", cuda_context=self._context)


def why_not_there(info: VideoInfo, options: dict[str, str], low_latency: bool) -> str | None:
    """One line that says why NVENC cannot take such pictures where they lie; None if it encodes some here.

    options: of FFmpeg's encoder. info: of pictures on a GPU.
    """
    size = (info.width, info.height)
    if info.width % 2 or info.height % 2:
        return "an odd size is padded there"
    if info.layout is Layout.RGB:
        return "NVENC is given pictures of YUV there"
    try:
        gpu = gpu_of(info.where)
        frames = NvencFrames(gpu, size, info.color, low_latency)
    except (ModelError, UsageError) as error:
        return str(error)
    try:
        frames.prepare(info.layout)
        _try(gpu, frames, size, options)
    except (av.FFmpegError, OSError, ValueError, ModelError) as error:
        return f"{ENCODER} does not take them there: {reason(error) if isinstance(error, OSError) else error}"
    finally:
        frames.close()
    return None


def _try(gpu: Gpu, frames: NvencFrames, size: tuple[int, int], options: dict[str, str]) -> None:
    """Encodes pictures of that size. Raises av.FFmpegError, and ValueError if nothing comes out."""
    encoder = av.CodecContext.create(ENCODER, "w")
    assert isinstance(encoder, VideoCodecContext)
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "cuda", Fraction(1, 25), Fraction(25)
    encoder.options = options
    with gpu.entered():
        memory = gpu.allocate(bytes_of(Format.NV12, size))
        surface = laid_out(Format.NV12, size, Color(), memory.pointer)
        picture = DevicePicture(gpu, surface)
    packets: list[Any] = []
    try:
        for index in range(2):
            frame = frames.make(picture)
            frame.pts = index
            packets += encoder.encode(frame)
        packets += encoder.encode(None)
    finally:
        memory.close()
    if not packets:
        raise ValueError("it gives nothing")


def _context(gpu: Gpu) -> Any:
    """The GPU's primary context as PyAV's frames name it. Raises UsageError."""
    try:
        from av.video.frame import CudaContext

        # FFmpeg would refuse the primary context itself, since it was not made with FFmpeg's flags.
        return CudaContext(gpu.device.index, primary_ctx=False, current_ctx=True)
    except (ImportError, TypeError):
        raise UsageError(f"PyAV {av.__version__} takes no pictures from a GPU (pip install -U av)") from None


class _Tensor(ctypes.Structure):
    """DLManagedTensor of dlpack.h, and behind it the two arrays that it points to."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape_at", ctypes.c_void_p),
        ("strides_at", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("shape", ctypes.c_int64 * 2),
        ("strides", ctypes.c_int64 * 2),
    )


_CUDA, _UNSIGNED = 2, 1
"""kDLCUDA, kDLUInt"""
_libc = ctypes.CDLL(None)
_libc.malloc.argtypes, _libc.malloc.restype = (ctypes.c_size_t,), ctypes.c_void_p
_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.argtypes, _new_capsule.restype = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p), ctypes.py_object


def _capsule(pointer: int, shape: tuple[int, int], pitch: int, device: int) -> Any:
    """Bytes on the GPU as a DLPack capsule, for FFmpeg alone: it lets go of them in any of its threads, maybe after
    Python has ended, so that what it then calls is C's `free`."""
    at = _libc.malloc(ctypes.sizeof(_Tensor))
    ctypes.memset(at, 0, ctypes.sizeof(_Tensor))
    made = _Tensor.from_address(at)
    made.data, made.device[:], made.ndim = pointer, (_CUDA, device), len(shape)
    made.code, made.bits, made.lanes = _UNSIGNED, 8, 1
    made.shape[:], made.strides[:] = shape, (pitch, 1)
    made.shape_at, made.strides_at = at + _Tensor.shape.offset, at + _Tensor.strides.offset
    made.deleter = ctypes.cast(_libc.free, ctypes.c_void_p).value
    return _new_capsule(at, b"dltensor", None)
