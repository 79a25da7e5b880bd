"""The memory that frames live in: a place takes samples of them, draws on them, and copies them to the host.

The host's place is in draw/host.py. A device has a place of its own, with its own images and samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .draw.caption import Caption
from .draw.style import Style
from .manifest import InputSpec
from .picture import Color, Image, Layout, Picture
from .types import Crop, Frame, Parts, Sample

Fit = Callable[[Image, tuple[int, int], Layout, Color], Image]
"""A function like `Place.fit`."""


class Sampler(Protocol):
    """Takes samples of frames for one network."""

    def put(self, frame: Frame) -> Sample:
        """The sample of a frame. It does not change when the frame is drawn on."""
        ...


class ImagePainter(Protocol):
    """Draws in one style. For one thread at a time."""

    @property
    def style(self) -> Style: ...

    @property
    def path(self) -> str:
        """What draws the overlay: one of `draw.overlay.paths`, or cuda."""
        ...

    @property
    def description(self) -> str:
        """What draws, as printed at the start."""
        ...

    @property
    def not_finite(self) -> int:
        """Number of cells so far whose evidence was not a finite number; they are drawn as no evidence."""
        ...

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
        """Draws in place: first the evidence of `parts`, where there are any, at frame number `at`, times `opacity`;
        then the outline of the part that the network looks at; then the caption.
        """
        ...

    def close(self) -> None:
        """Frees what it uses of a device."""
        ...


@dataclass(frozen=True)
class Needs:
    """The most that one stream holds of a place's memory at a time, as the plan of its pipeline tells."""

    size: tuple[int, int]
    """width and height of its pictures in pixels, as long as they do not change"""
    layout: Layout
    pictures: int
    """number of pictures"""
    samples: int
    """number of samples"""
    spec: InputSpec
    """the network that the samples are for"""
    cells: tuple[int, int] | None = None
    """h and w of the network's activation; None: not known"""
    stored: str = ""
    """how its pictures lie there, as `Image.stored`: ten bits take twice the memory; empty: as in the layout"""


class Place(Protocol):
    """A memory in which images live, with the operations on them. It serves one stream."""

    name: str
    """what `Image.where` is for its images: "host", "cuda:0" """
    description: str
    """the place, and how frames come there, as printed at the start"""
    uploads: int
    """number of images copied from the host's memory into this place so far; 0 for the host's own"""
    host_copies: int
    """number of images copied to the host's memory so far"""
    copies: int
    """number of images copied within this place so far, because another owner had lent them; 0 for the host's"""

    @property
    def leases(self) -> int:
        """Number of images and samples in this place's own memory that somebody holds at the moment."""
        ...

    def reserve(self, needs: Needs) -> str:
        """Takes the memory that a stream needs, before its first frame. Returns what that is, as printed at the start;
        empty where there is nothing to say. Raises ModelError where there is not so much, UsageError for a network that
        cannot be drawn here.
        """
        ...

    def bring(self, image: Image, *, keep: bool = False) -> Image:
        """The image in this place: itself if it lies there, else a copy, which `uploads` counts.

        keep: it will be held for long. An image that another owner lent, such as a decoder, which has few buffers and
        waits for them, is then copied into this place's own memory, which `copies` counts; and so it is at any time if
        few of them are left.
        """
        ...

    def sampler(self, spec: InputSpec) -> Sampler: ...

    def painter(self, style: Style) -> ImagePainter:
        """Raises UsageError for a style that cannot be drawn here."""
        ...

    def fit(self, image: Image, size: tuple[int, int], layout: Layout, color: Color) -> Image:
        """The image at `size` = (width, height), in that layout and colour; the image itself if nothing changes.

        An image in this place gives one in this place, a picture on the host gives one on the host.
        """
        ...

    def host(self, image: Image) -> Picture:
        """The image in the host's memory: itself if it lies there, else a copy, which `host_copies` counts."""
        ...

    def close(self) -> None:
        """Frees its memory. Images and samples that are still held stay valid until they are let go."""
        ...
