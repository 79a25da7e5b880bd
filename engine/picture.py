"""A picture in the planes that the decoder made, and its conversion to RGB, at its own size or smaller.

A full-size conversion to RGB and back costs more than everything this project draws, so pictures stay in their planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


class Layout(Enum):
    """How the samples of a picture lie in memory. All have 8 bits a sample; chroma planes have half the height and half
    the width, rounded up."""

    I420 = "i420"
    """three planes: Y [H, W], U and V [ceil(H/2), ceil(W/2)]"""
    NV12 = "nv12"
    """two planes: Y [H, W], UV interleaved [ceil(H/2), ceil(W/2), 2]"""
    RGB = "rgb"
    """one plane [H, W, 3]"""

    def shapes(self, size: tuple[int, int]) -> list[tuple[int, ...]]:
        """The shape of each plane of a picture of `size` = (width, height)."""
        width, height = size
        half = ((height + 1) // 2, (width + 1) // 2)
        shapes: dict[Layout, list[tuple[int, ...]]] = {
            Layout.I420: [(height, width), half, half],
            Layout.NV12: [(height, width), (*half, 2)],
            Layout.RGB: [(height, width, 3)],
        }
        return shapes[self]


LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Kr and Kb of each colour matrix: ITU-R BT.601-7, BT.709-6, BT.2020-2 (non-constant luminance)."""


@dataclass(frozen=True)
class Color:
    """What the numbers in Y, U and V mean. RGB pictures ignore it."""

    matrix: str = "bt709"
    """bt601, bt709 or bt2020"""
    full_range: bool = False
    """True: Y, U, V use 0..255 (JPEG); False: 16..235 and 16..240 (broadcast)"""

    def __post_init__(self) -> None:
        if self.matrix not in LUMA_WEIGHTS:
            raise ValueError(f"matrix must be one of {', '.join(LUMA_WEIGHTS)}, got {self.matrix!r}")

    def rgb_to_yuv(self) -> tuple[F64, F64]:
        """M [3, 3] and offset [3] with yuv = M @ rgb + offset, both in 0..255 (BT.709-6, section 3)."""
        kr, kb = LUMA_WEIGHTS[self.matrix]
        luma = np.array([kr, 1 - kr - kb, kb])
        u = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kb))
        v = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kr))
        scale, offset = (np.ones(3), 0.0) if self.full_range else (np.array([219, 224, 224]) / 255, 16.0)
        return scale[:, None] * np.stack([luma, u, v]), np.array([offset, 128.0, 128.0])

    def yuv_to_rgb(self) -> F64:
        """[3, 4] with rgb = it @ (y, u, v, 1), in 0..255: the inverse of `rgb_to_yuv`."""
        matrix, offset = self.rgb_to_yuv()
        inverse = np.linalg.inv(matrix)
        return np.hstack([inverse, (-inverse @ offset)[:, None]])


HOST = "host"
"""the place of what lies in the host's memory"""


class Image(Protocol):
    """One picture, wherever its planes lie."""

    @property
    def width(self) -> int:
        """Pixels."""
        ...

    @property
    def height(self) -> int:
        """Pixels."""
        ...

    @property
    def layout(self) -> Layout:
        """The layout of its copy in the host's memory."""
        ...

    @property
    def color(self) -> Color:
        """What its numbers mean."""
        ...

    @property
    def stored(self) -> str:
        """How its samples lie where it lives: the value of its layout, or what only devices have, such as p010."""
        ...

    @property
    def where(self) -> str:
        """HOST, or the name of the device whose memory has its planes."""
        ...


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, its planes writable: the overlay draws in place."""

    layout: Layout
    planes: tuple[U8, ...]
    """uint8, shaped as the layout says; rows may be padded (any positive row stride, contiguous within a row)"""
    color: Color = Color()

    def __post_init__(self) -> None:
        height, width = self.planes[0].shape[:2] if self.planes and self.planes[0].ndim >= 2 else (0, 0)
        if not height or not width:
            raise ValueError(f"a picture needs a first plane [H, W], got {[p.shape for p in self.planes]}")
        shapes, expected = [plane.shape for plane in self.planes], self.layout.shapes((width, height))
        if shapes != expected:
            raise ValueError(f"planes of {self.layout.value} must be {expected}, got {shapes}")
        if any(plane.dtype != np.uint8 for plane in self.planes):
            raise ValueError(f"planes must be uint8, got {[str(plane.dtype) for plane in self.planes]}")

    @property
    def width(self) -> int:
        return int(self.planes[0].shape[1])

    @property
    def height(self) -> int:
        return int(self.planes[0].shape[0])

    @property
    def stored(self) -> str:
        return self.layout.value

    @property
    def where(self) -> str:
        return HOST

    def copy(self) -> Picture:
        """The same picture with planes of its own, which are writable."""
        return Picture(self.layout, in_one_block(self.planes), self.color)

    def rgb(self, size: tuple[int, int] | None = None) -> U8:
        """The picture as RGB [h, w, 3] uint8, in memory of its own, resized to `size` = (width, height) where given.

        Planes are resized before they are converted: a small picture never costs a full-size conversion. Shrinking
        averages areas, growing interpolates; chroma samples are taken as the centres of their 2x2 pixels.
        """
        width, height = size or (self.width, self.height)
        planes = [_resize(plane, width, height) for plane in self.planes]
        if self.layout is Layout.RGB:
            return planes[0].copy() if planes[0] is self.planes[0] else planes[0]
        return np.asarray(cv2.transform(cv2.merge(planes), self.color.yuv_to_rgb()), np.uint8)


def in_one_block(planes: Sequence[U8]) -> tuple[U8, ...]:
    """Copies of the planes, one after the other in one block of memory, which encoders can read without another
    copy."""
    memory = np.empty(sum(plane.size for plane in planes), np.uint8)
    copies, start = [], 0
    for plane in planes:
        copy = memory[start : start + plane.size].reshape(plane.shape)
        copy[...] = plane
        copies.append(copy)
        start += plane.size
    return tuple(copies)


def on_host(image: Image) -> Picture:
    """The same image, which must lie in the host's memory. Raises ValueError for one that lies elsewhere."""
    if not isinstance(image, Picture):
        raise ValueError(f"an image on {image.where} is out of the host's reach: `Place.host` copies it")
    return image


def _resize(plane: U8, width: int, height: int) -> U8:
    if plane.shape[:2] == (height, width):
        return plane
    shrinks = width <= plane.shape[1] and height <= plane.shape[0]
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))
