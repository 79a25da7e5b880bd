"""Draws on pictures in a GPU's memory, in place, with the bytes of `draw.host.HostPainter`."""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..draw.caption import Caption, Patch, caption_patches
from ..draw.fixed import cubic_cells
from ..draw.outline import outline_lines
from ..draw.overlay import weighed_cells
from ..draw.style import Style
from ..errors import UsageError
from ..picture import Image
from ..types import Crop, Explanation, Parts, leading
from .frames import FrameEvent, FrameQueue
from .jobs import MOST_PARTS, Surface, between, check_cells, scale_numbers
from .kernel import KernelJob
from .marks import MARKED_PLANE, PackedPatches, marks_of, packed
from .overlay import OverlayPlans, kernel_of
from .pictures import DevicePicture
from .uploads import Uploads

if TYPE_CHECKING:
    pass

_TUBES, _CAPTIONS, _SPLINES = 8, 4, 32
"""Numbers of arrays that are kept on the GPU: tubes, captions, and the coefficients of the newest frames."""
_MOST_MARKS = 32
"""captions and outlines, each for one kind of picture, that are remembered"""


class CudaPainter:
    """An `ImagePainter` for `DevicePicture`s. Work is queued, and nothing waits for it on the host.

    A tube and a caption are sent to the GPU when they are first drawn, and not with each frame. With the geometry
    `paper` the few coefficients of a frame's spline are made on the host, and sent, unless they are the last frame's.
    """

    path = "cuda"

    def __init__(self, frames: FrameQueue, style: Style) -> None:
        """frames: for all that is drawn; it must outlive the painter."""
        gpu = frames.gpu
        self.style, self.not_finite = style, 0
        self._gpu, self._frames = gpu, frames
        self._plans, self._kernel = OverlayPlans(gpu, style), kernel_of(style)
        self._tubes = Uploads[_Tube](frames, _TUBES)
        self._splines = Uploads[None](frames, _SPLINES)
        self._spline: _Spline | None = None
        self._last: FrameEvent | None = None
        self._marks = _Marks(frames, style)

    @property
    def description(self) -> str:
        """What draws, as printed at the start."""
        return f"CUDA, {self._gpu.device.name}"

    def paint(
        self,
        image: Image,
        parts: Parts,
        *,
        at: float,
        opacity: float,
        outline: Crop | None,
        caption: Caption | None,
        pixel_aspect: float,
    ) -> None:
        """As `ImagePainter.paint`. Raises UsageError for evidence of more than 64 cells on an axis; ModelError where
        the GPU fails, or has failed with the frame before."""
        if not parts and outline is None and caption is None:
            return
        picture, jobs = self._mine(image), dict[str, KernelJob]()
        if parts:
            jobs[self._kernel] = self._overlay(picture.surface, parts, at, opacity)
        if outline is not None or caption is not None:
            jobs["marks"] = self._marks.job(picture.surface, outline, caption, pixel_aspect)
        last, self._last = self._last, None
        if last is not None:
            last.check()  # another thread may have queued it
        self._last = self._frames.do(picture.ready, jobs)
        picture.drawn(self._last)

    def close(self) -> None:
        """Gives the memory back once all is drawn."""
        with self._gpu.entered():
            for kept in (self._tubes, self._splines, self._marks):
                kept.close()

    def _mine(self, image: Image) -> DevicePicture:
        if not isinstance(image, DevicePicture) or image.gpu is not self._gpu:
            raise ValueError(f"{self._gpu.name} cannot draw on an image on {image.where}: `Place.bring` it there")
        return image

    def _overlay(self, surface: Surface, parts: Parts, at: float, opacity: float) -> KernelJob:
        crop, (_, *cells) = leading(parts).tube.crop, parts[0][0].tube.evidence.shape
        check_cells(cells)
        if len(parts) > MOST_PARTS:
            raise UsageError(f"the GPU draws at most {MOST_PARTS} windows on a frame, got {len(parts)}")
        plan = self._plans.of(surface, crop, (cells[0], cells[1]), self._frames.stream.handle)
        if self.style.geometry == "linear":
            return plan.job(surface, [self._part(*part, at, opacity) for part in parts])
        if self._spline is None or (self._spline.parts, self._spline.at, self._spline.opacity) != (parts, at, opacity):
            evidence, odd = weighed_cells(self.style, parts, at, opacity)
            self._spline = _Spline(parts, at, opacity, cubic_cells(evidence), odd)
        spline = self._spline
        self.not_finite += spline.odd
        coefficients, _ = self._splines.find(spline, lambda: (spline.coefficients, None))
        return plan.job(surface, coefficients=coefficients)

    def _part(self, explanation: Explanation, share: float, at: float, opacity: float) -> tuple[int, int, Any]:
        """The addresses of the two slices that an explanation's part of a frame lies between, and its numbers."""
        pointer, tube = self._tubes.find(explanation, lambda: _tube_of(explanation))
        before, after, fraction = between(explanation.tube.span.slice_at(at, len(tube.odd)), len(tube.odd))
        self.not_finite += tube.odd[before]
        numbers = (fraction, *tube.scale, opacity * share)
        return pointer + before * tube.slice_bytes, pointer + after * tube.slice_bytes, numbers


@dataclass(frozen=True, eq=False)
class _Spline:
    """The newest frame's evidence as a spline: a live stream draws the same one until the next explanation comes."""

    parts: Parts
    at: float
    opacity: float
    coefficients: npt.NDArray[np.int32]
    """[h, w]"""
    odd: int
    """number of cells that are not finite numbers"""


@dataclass(frozen=True, eq=False)
class _Tube:
    """What is known of a tube on the GPU."""

    slice_bytes: int
    scale: tuple[float, float, float]
    """`jobs.scale_numbers`"""
    odd: tuple[int, ...]
    """for each slice: the number of cells that are not finite numbers in it or in the next one"""


def _tube_of(explanation: Explanation) -> tuple[npt.NDArray[Any], _Tube]:
    evidence = np.ascontiguousarray(explanation.tube.evidence, np.float32)
    finite = np.isfinite(evidence)
    following = np.concatenate([finite[1:], finite[-1:]])
    odd = np.count_nonzero(~(finite & following), axis=(1, 2))
    scale = scale_numbers(explanation.scale.low, explanation.scale.high)
    return evidence, _Tube(evidence[0].nbytes, scale, tuple(odd.tolist()))


@dataclass(frozen=True, eq=False)
class _Marked:
    """What kernels/marks.cu is told of one caption and outline on surfaces of one kind."""

    record: bytes
    """`marks.MARKS`; without the addresses of planes and patches"""
    blocks: int
    patches: tuple[Patch, ...] | None
    """the object by which the packed ones are found on the GPU"""
    packed: PackedPatches | None


class _Marks:
    """The caption and the outline."""

    def __init__(self, frames: FrameQueue, style: Style) -> None:
        self._style = style
        self._captions = Uploads[None](frames, _CAPTIONS)
        self._made = OrderedDict[tuple[Any, ...], _Marked]()

    def job(self, surface: Surface, outline: Crop | None, caption: Caption | None, pixel_aspect: float) -> KernelJob:
        """What the kernel is told of one surface."""
        key = (surface.kind, outline, caption, pixel_aspect)
        marked = self._made.get(key)
        if marked is None:
            if len(self._made) == _MOST_MARKS:
                self._made.popitem(last=False)
            marked = self._made[key] = self._marked(surface, outline, caption, pixel_aspect)
        data, at, made = bytearray(marked.record), 0, marked.packed
        for place in surface.places:
            _ADDRESS.pack_into(data, at, place.pointer)
            at += MARKED_PLANE.itemsize
        if made is not None:
            pointer, _ = self._captions.find(marked.patches, lambda: (made.data, None))
            for index, offset in enumerate(made.offsets):
                _ADDRESS.pack_into(data, index * MARKED_PLANE.itemsize + _COVER, pointer + offset)
        return KernelJob(data, marked.blocks)

    def _marked(self, surface: Surface, outline: Crop | None, caption: Caption | None, pixel_aspect: float) -> _Marked:
        size, color = (surface.height, surface.width), surface.color
        lines = () if outline is None else outline_lines(surface.layout, color, size, outline)
        if caption is None:
            record, blocks = marks_of(surface, None, lines)
            return _Marked(record.tobytes(), blocks, None, None)
        patches = caption_patches(caption, self._style, surface.layout, color, size, pixel_aspect)
        made = packed(patches, surface.format)
        record, blocks = marks_of(surface, made, lines)
        return _Marked(record.tobytes(), blocks, patches, made)

    def close(self) -> None:
        self._captions.close()


_ADDRESS, _COVER = struct.Struct("<Q"), 16
"""of the kernel's struct MarkedPlane: `data` and `cover`, and where the latter lies"""
