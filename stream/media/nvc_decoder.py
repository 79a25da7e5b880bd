"""NVIDIA's decoder without GStreamer, by the wheel PyNvVideoCodec: coded pictures in, pictures on the GPU out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine.cuda.jobs import Format, RawPlane, Surface
from ...engine.cuda.memory import view_of
from ...engine.cuda.pictures import DevicePicture, copy
from ...engine.errors import ModelError, one_line
from ...engine.picture import Color

if TYPE_CHECKING:
    from ...engine.cuda.place import CudaPlace

INSTALL = "pip install PyNvVideoCodec"
CODECS = {"h264": "H264", "hevc": "HEVC", "av1": "AV1", "vp9": "VP9", "vp8": "VP8", "mpeg2video": "MPEG2"}
"""FFmpeg's names of codecs -> those of the members of `cudaVideoCodec`."""


def why_no_nvdec(index: int, codec: str, bits: int = 8) -> str | None:
    """One line that says why PyNvVideoCodec cannot decode this codec on GPU `index`; None if it can."""
    if codec not in CODECS:
        return f"NVIDIA's decoders know no {codec}"
    try:
        nvc: Any = import_module("PyNvVideoCodec")
        caps = nvc.GetDecoderCaps(gpuid=index, codec=getattr(nvc.cudaVideoCodec, CODECS[codec]), bitdepth=bits)
    except ModuleNotFoundError:
        return f"PyNvVideoCodec is not installed ({INSTALL})"
    except Exception as error:  # what the wheel raises where the driver has no libnvcuvid, as in some containers
        return f"PyNvVideoCodec cannot be used ({one_line(error)})"
    if not caps.get("num_decoder_engines", 1):
        return f"this GPU has no decoder for {codec}"
    return None


@dataclass(frozen=True, eq=False)
class NvcFrame:
    """A decoded picture, with the time that its packet had."""

    pts: int
    picture: DevicePicture


class NvcDecoder:
    """Decodes one stream. Each picture is copied into the memory of its place, once: the decoder uses its few surfaces
    again, and never waits for one of them to come back."""

    def __init__(self, place: CudaPlace, codec: str, color: Color, reorders: bool) -> None:
        """place: of the pictures, color: theirs. reorders: whether some pictures are shown after others that are coded
        later; if not, each leaves the decoder at once. Raises ModelError where the decoder cannot be made."""
        self._nvc: Any = import_module("PyNvVideoCodec")
        gpu = place.gpu
        self._place, self._gpu, self._color = place, gpu, color
        with gpu.entered():
            self._stream = gpu.stream("high")
            context = int(gpu.cuda.cuCtxGetCurrent()[1])
        latency = self._nvc.DisplayDecodeLatencyType
        try:
            self._decoder = self._called(
                self._nvc.CreateDecoder,
                gpuid=gpu.device.index,
                codec=getattr(self._nvc.cudaVideoCodec, CODECS[codec]),
                cudacontext=context,
                cudastream=self._stream.handle,
                usedevicememory=True,
                latency=latency.NATIVE if reorders else latency.LOW,
            )
        except ModelError:
            self._stream.close()
            raise

    def decode(self, data: bytes, pts: int) -> Iterator[NvcFrame]:
        """The pictures that are ready, each copied when it is asked for; all must be, before the next call.

        data: an access unit, in Annex B form where the codec has one; empty: the stream has ended, and the last
        pictures are given out. Raises ModelError where the decoder fails, or all memory for pictures is in use.
        """
        coded = np.frombuffer(data, np.uint8)
        packet = self._nvc.PacketData()
        packet.bsl, packet.pts = len(data), pts
        packet.bsl_data = coded.ctypes.data if len(data) else 0
        for frame in self._called(self._decoder.Decode, packet):
            yield self._taken(frame)

    def close(self) -> None:
        """Ends the decoder. Its pictures stay as they are for as long as somebody holds them."""
        del self._decoder
        with suppress(ModelError):  # a GPU that has failed, which who asked for pictures is told
            self._stream.close()

    def _taken(self, frame: Any) -> NvcFrame:
        """A copy of the decoder's picture, queued behind what the decoder itself still does."""
        gpu, views = self._gpu, [view_of(view) for view in frame.cuda()]
        deep = views[0].dtype.itemsize == 2
        height, width = views[0].shape[:2]
        planes = [RawPlane(view.pointer, view.strides[0]) for view in views]
        source = Surface(Format.P010 if deep else Format.NV12, planes, width, height, self._color)
        with gpu.entered():
            self._decoder.WaitOnCUStream(self._stream.handle)
            target, block = self._place.lay(source.format, (width, height), self._color, self._stream)
            copy(gpu, source, target, self._stream.handle)
            ready = self._stream.record()
        block.used(ready)
        return NvcFrame(int(frame.getPTS()), DevicePicture(gpu, target, ready, block))

    def _called(self, function: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except Exception as error:  # of a class that the wheel makes
            raise ModelError(f"PyNvVideoCodec: {one_line(error)}") from None
