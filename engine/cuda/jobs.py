"""The records that the overlay's CUDA kernel reads, the structs of kernels/overlay.cu: surfaces and what to draw on
them.

Pure: numbers in, records out. The memory behind the addresses belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

from ..draw.fixed import U16, Record, axis_places, table
from ..draw.style import Style
from ..errors import UsageError
from ..geometry import faded_ends
from ..picture import F32, Color, Layout
from ..types import Crop, Explanation
from .memory import View, view_of

MOST_PARTS, MOST_PLANES, MOST_CELLS = 4, 3, 64
"""Limits of kernels/overlay.cu: parts for each frame, planes, cells along each axis."""
MOST_JOBS = 8
"""Frames of one launch of the kernels that prepare and draw them, as in kernels/device.h."""
TILE_ROWS = 16
MOST_PIXELS = 1 << 15
"""Maximum of a frame's width and of its height."""
_ALIGNED = 32
"""Bytes that a GPU reads at once: tiles begin at multiples of this."""

PLANE_JOB = np.dtype(
    [("data", "u8"), ("pitch", "i8"), ("across", "u8"), ("down", "u8")]
    + [(name, "i4") for name in ("columns", "rows", "sample_bytes", "channels")]
    + [(name, "i4") for name in ("channel", "shift", "tiles_across", "tiles")]
)
PART = np.dtype(
    [("slice", "u8"), ("next", "u8")]
    + [(name, "f4") for name in ("fraction", "low", "scale", "none", "share")]
    + [("unused", "i4")]
)
JOB = np.dtype(
    [("planes", PLANE_JOB, MOST_PLANES), ("parts", PART, MOST_PARTS), ("coefficients", "u8"), ("table", "u8")]
    + [("odd", "u8")]
    + [(name, "i4") for name in ("height", "width", "part_count", "plane_count")]
    + [(name, "i4") for name in ("above", "below", "before", "after")]
)


@dataclass(frozen=True)
class _Plane:
    sample_bytes: int
    channels: int
    """samples for each column"""
    channel: int
    """index of its first channel in the table"""
    subsampled: bool


_LUMA, _RGB, _RGBA = _Plane(1, 1, 0, False), _Plane(1, 3, 0, False), _Plane(1, 4, 0, False)


class Format(Enum):
    """How the samples of a surface lie. Chroma planes have half the height and width, rounded up. Samples have 8 bits,
    but those of P010."""

    NV12 = "nv12"
    """Y [H, W], UV interleaved"""
    I420 = "i420"
    """Y [H, W], U and V"""
    P010 = "p010"
    """as NV12, with 16 bits a sample of which the upper ten are used"""
    RGB = "rgb"
    """[H, W, 3]"""
    BGR = "bgr"
    RGBA = "rgba"
    """[H, W, 4]; alpha is left as it is"""
    BGRA = "bgra"


PLANES = {
    Format.NV12: (_LUMA, _Plane(1, 2, 1, True)),
    Format.I420: (_LUMA, _Plane(1, 1, 1, True), _Plane(1, 1, 2, True)),
    Format.P010: (_Plane(2, 1, 0, False), _Plane(2, 2, 1, True)),
    **dict.fromkeys((Format.RGB, Format.BGR), (_RGB,)),
    **dict.fromkeys((Format.RGBA, Format.BGRA), (_RGBA,)),
}


@dataclass(frozen=True)
class RawPlane:
    """A plane given as an address."""

    pointer: int
    pitch: int
    """bytes from one row to the next"""


@dataclass(frozen=True, eq=False)
class Surface:
    """A frame on the GPU. Planes: `RawPlane`, or arrays with `__cuda_array_interface__` or DLPack.

    Arrays are uint8, those of P010 uint16: [h, w] for planes of one channel, [h, w, channels] or [h, w * channels] for
    the others. Rows may be padded. The surface keeps the arrays alive. Raises TypeError and ValueError for planes that
    cannot be drawn on.
    """

    format: Format
    planes: Sequence[Any]
    width: int
    height: int
    color: Color = Color()

    def __post_init__(self) -> None:
        if not (1 <= self.width <= MOST_PIXELS and 1 <= self.height <= MOST_PIXELS):
            raise ValueError(f"width and height must be 1 to {MOST_PIXELS}, got {self.width} x {self.height}")
        forms = PLANES[self.format]
        if len(self.planes) != len(forms):
            raise ValueError(f"{self.format.value} has {len(forms)} planes, got {len(self.planes)}")
        planes = [plane if isinstance(plane, RawPlane) else view_of(plane) for plane in self.planes]
        places = tuple(
            _place(index, plane, form, *self.size_of(form))
            for index, (plane, form) in enumerate(zip(planes, forms, strict=True))
        )
        lies = tuple((place.pitch, place.pointer % _ALIGNED) for place in places)
        object.__setattr__(self, "places", places)
        object.__setattr__(self, "views", tuple(plane for plane in planes if isinstance(plane, View)))
        object.__setattr__(self, "kind", _number_of((self.format, self.width, self.height, self.color, lies)))

    places: tuple[RawPlane, ...] = field(init=False, default=())
    """where each plane lies"""
    views: tuple[View, ...] = field(init=False, default=())
    """the planes that are arrays"""
    kind: int = field(init=False, default=0)
    """equal for surfaces that differ in nothing but where their planes begin, and there by whole aligned groups"""

    @property
    def devices(self) -> set[int]:
        """The GPUs that planes say they are on."""
        return {view.device for view in self.views if view.device is not None}

    def size_of(self, form: _Plane) -> tuple[int, int]:
        """Rows and columns of a plane."""
        return ((self.height + 1) // 2, (self.width + 1) // 2) if form.subsampled else (self.height, self.width)

    @property
    def layout(self) -> Layout:
        """The layout of pictures on the CPU that are drawn with the same table."""
        if self.format in (Format.NV12, Format.P010):
            return Layout.NV12
        return Layout.I420 if self.format is Format.I420 else Layout.RGB


@lru_cache(maxsize=1024)
def _number_of(kind: tuple[Any, ...]) -> int:
    """A number for each kind of surface. Every frame looks it up, and what it stands for takes longer to hash."""
    return next(_NUMBERS)


_NUMBERS = count(1)


def _place(index: int, plane: RawPlane | View, form: _Plane, rows: int, columns: int) -> RawPlane:
    row_bytes = columns * form.channels * form.sample_bytes
    if isinstance(plane, RawPlane):
        place = plane
    else:
        view, dtype = plane, np.dtype(f"u{form.sample_bytes}")
        shapes = {(rows, columns * form.channels), (rows, columns, form.channels)}
        if view.dtype != dtype:
            raise TypeError(f"plane {index} must be {dtype}, got {view.dtype}")
        if view.shape not in shapes:
            raise ValueError(f"plane {index} must be {' or '.join(map(str, sorted(shapes)))}, got {view.shape}")
        if view.read_only:
            raise ValueError(f"plane {index} must be writable")
        if not view.packed(len(view.shape) - 1):
            raise ValueError(f"plane {index} must have no gaps within a row, got strides {view.strides}")
        place = RawPlane(view.pointer, view.strides[0] if rows > 1 else row_bytes)
    if place.pointer <= 0 or place.pointer % form.sample_bytes or place.pitch % form.sample_bytes:
        raise ValueError(f"plane {index} must lie at a multiple of {form.sample_bytes} bytes, got {place}")
    if rows > 1 and place.pitch < row_bytes:
        raise ValueError(f"plane {index} must have a pitch of {row_bytes} bytes or more, got {place.pitch}")
    return place


@dataclass(frozen=True, eq=False)
class Part:
    """One window's part of what is drawn on a frame, which lies between two slices of the window's tube."""

    evidence: View | F32
    """[t, h, w] float32 in logits, contiguous: on the GPU, or in NumPy, from which the two slices needed are sent"""
    position: float
    """of the frame on the tube's axis of slices; limited to the tube"""
    low: float
    high: float
    """evidence of low is drawn as 0, of high as 1"""
    share: float = 1.0
    """weight of this part in the frame, 0..1, with the opacity included; 0 draws nothing"""

    def __post_init__(self) -> None:
        evidence: Any = self.evidence
        if not isinstance(evidence, np.ndarray):
            evidence = view_of(evidence)
            object.__setattr__(self, "evidence", evidence)
        if evidence.dtype != np.float32 or len(evidence.shape) != 3:
            raise ValueError(f"evidence must be float32 [t, h, w], got {evidence.dtype} {evidence.shape}")
        if isinstance(evidence, View) and not evidence.contiguous:
            raise ValueError(f"evidence must have no gaps, got strides {evidence.strides}")
        if not (np.isfinite([self.position, self.low, self.high, self.share]).all() and self.low < self.high):
            raise ValueError(f"a part needs finite numbers and low < high, got {self}")

    @classmethod
    def of(
        cls, explanation: Explanation, share: float, frame: float, opacity: float = 1.0, evidence: Any = None
    ) -> Part:
        """An explanation's part of a frame. evidence: the tube's evidence, if it is on the GPU already."""
        tube, scale = explanation.tube, explanation.scale
        position = tube.span.slice_at(frame, len(tube.evidence))
        given = np.asarray(tube.evidence, np.float32) if evidence is None else evidence
        return cls(given, position, scale.low, scale.high, opacity * share)

    @property
    def slices(self) -> tuple[int, int, float]:
        """The slice before the frame, the one after it, and the fraction towards that."""
        return between(self.position, self.evidence.shape[0])

    @property
    def sent(self) -> bytes:
        """The two slices, or the only one, of evidence in NumPy; nothing of evidence on the GPU."""
        if isinstance(self.evidence, View):
            return b""
        before, after, _ = self.slices
        return self.evidence[before : after + 1].tobytes()

    @property
    def numbers(self) -> PartNumbers:
        return (self.slices[2], *scale_numbers(self.low, self.high), self.share)


PartNumbers = tuple[float, float, float, float, float]
"""fraction, low, scale, none and share of the kernel's struct Part"""


def check_cells(cells: Sequence[int]) -> None:
    """cells: h and w of the evidence. Raises UsageError for more than the kernel draws from."""
    if max(cells) > MOST_CELLS:
        raise UsageError(
            f"the GPU draws from at most {MOST_CELLS} cells on an axis, this network has "
            f"{'x'.join(map(str, cells))}: frames must live on the host, by --memory host"
        )


def between(position: float, slices: int) -> tuple[int, int, float]:
    """The slices before and after a position on a tube's axis, limited to the tube, and the fraction towards the
    latter."""
    limited = min(max(position, 0.0), slices - 1.0)
    first = int(limited)
    return first, min(first + 1, slices - 1), limited - first


def scale_numbers(low: float, high: float) -> tuple[float, float, float]:
    """low, scale and none of the kernel's struct Part: evidence of low is drawn as 0, of high as 1."""
    return low, 1 / (high - low), min(max(0.0, low), high)


def table_of(style: Style, format: Format, layout: Layout, color: Color) -> npt.NDArray[Any]:
    """The style's table [1] of `fixed.TABLE`, in the order of the format's channels."""
    made = _table(style, layout, color, 10 if format is Format.P010 else 8).copy()
    if format in (Format.BGR, Format.BGRA):
        made["offset"] = made["offset"][::-1].copy()
    # The kernel keeps both in one word of 32 bits.
    if not (np.all(np.abs(made["offset"]) < 1 << 21) and np.all((made["keep"] >= 0) & (made["keep"] < 1024))):
        raise ValueError("the style's table does not fit the GPU's words")
    return np.array([made])


@lru_cache(maxsize=32)
def _table(style: Style, layout: Layout, color: Color, bits: int) -> Record:
    return table(style, layout, color, bits)


@lru_cache(maxsize=256)
def axis(
    geometry: str, is_rows: bool, cells: int, low: float, high: float, pixels: int, subsampled: bool
) -> tuple[int, U16]:
    """`fixed.axis_places`, cached."""
    return axis_places(geometry, is_rows, cells, low, high, pixels, subsampled)


def ring_of(geometry: str, crop: Crop, surface: Surface) -> tuple[int, int, int, int]:
    """Rows of zeros above and below a frame's cells, and columns of them before and after: `geometry.faded_ends`."""
    down = faded_ends(geometry, crop.top, crop.bottom, surface.height)
    return *down, *faded_ends(geometry, crop.left, crop.right, surface.width)


def axes_of(geometry: str, cells: tuple[int, int], crop: Crop, surface: Surface, form: _Plane) -> tuple[Any, Any]:
    """The keys of `axis` for a plane's rows and columns."""
    down = (geometry, True, cells[0], crop.top, crop.bottom, surface.height, form.subsampled)
    across = (geometry, False, cells[1], crop.left, crop.right, surface.width, form.subsampled)
    return down, across


def plane_job(
    place: RawPlane, form: _Plane, top: int, left: int, down: tuple[int, int], across: tuple[int, int]
) -> Record:
    """The record for one plane. down, across: the address and the number of samples of each axis."""
    column_bytes = form.channels * form.sample_bytes
    words = 3 if form.channels == 3 else 4
    tile_columns = 32 * words * 4 // column_bytes
    data = place.pointer + top * place.pitch + left * column_bytes
    # Tiles begin before the crop, at an aligned address, so that whole words can be read. If no column has an aligned
    # address, the kernel reads single samples.
    shift = next((n for n in range(_ALIGNED) if (data - n * column_bytes) % _ALIGNED == 0), 0)
    rows, columns = down[1], across[1]
    tiles_across = -(-(columns + shift) // tile_columns) if rows and columns else 0
    tiles = tiles_across * -(-rows // TILE_ROWS)
    sizes = (columns, rows, form.sample_bytes, form.channels, form.channel, shift, tiles_across, tiles)
    return np.array((data, place.pitch, across[0], down[0], *sizes), PLANE_JOB)[()]
