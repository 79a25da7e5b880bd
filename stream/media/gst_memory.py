"""The memories in which a GStreamer pipeline's pictures can come out: the elements each needs, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol

from ...engine.picture import HOST, Image
from .gst_load import load
from .gst_planes import CAPS, SampleReader
from .limits import Size


class Reader(Protocol):
    """Reads samples that all have the same caps."""

    size: Size
    rate: Fraction | None
    """frames a second, as the caps tell"""
    pixel_aspect: Fraction
    matrix: int
    """as `VideoInfo.matrix`"""

    def read(self, buffer: Any) -> Image:
        """The picture in a GstBuffer, which belongs to the caller. Raises ValueError for a buffer without one."""
        ...

    def close(self) -> None:
        """Lets go of what it keeps of buffers; called when the pipeline has ended or its caps have changed."""
        ...


class PictureMemory(Protocol):
    """A memory that a pipeline's pictures come out in."""

    where: str
    """as `Image.where`"""
    tail: str
    """the elements from a decoder's raw video to an appsink, in the words of gst-launch; the first one may be linked
    late, and is called by `JOIN`"""

    def attach(self, pipeline: Any) -> None:
        """Gives a new pipeline what its elements need, before it starts."""
        ...

    def wrong(self, elements: Sequence[Any]) -> str:
        """What keeps pictures of these elements of a running pipeline out of reach, in one line; empty: nothing."""
        ...

    def reader(self, caps: Any) -> Reader:
        """Raises ValueError for caps that `tail` does not give."""
        ...

    def words(self, decoders: Sequence[str]) -> str:
        """What happens to pictures on their way, for people. decoders: names of the elements that decode."""
        ...


JOIN = "saliency_tubes_raw"
"""name of the first element behind the raw video"""


class InHost:
    """The host's memory, which every element can write to: each picture is copied out of GStreamer's buffer."""

    where = HOST
    tail = f"videoconvert name={JOIN} ! {CAPS}"

    def __init__(self, why: str = "") -> None:
        """why: the reason why no other memory was chosen, for people."""
        self._found, self._why = load("GstApp", "GstVideo"), why

    def attach(self, pipeline: Any) -> None:
        pass

    def wrong(self, elements: Sequence[Any]) -> str:
        return ""

    def reader(self, caps: Any) -> SampleReader:
        return SampleReader(self._found.Gst, self._found.GstVideo, caps)

    def words(self, decoders: Sequence[str]) -> str:
        return decoded_by(decoders) + (f"; {self._why}" if self._why else "")


def decoded_by(decoders: Sequence[str]) -> str:
    return f"decoded by {' and '.join(decoders)}" if decoders else "raw video"
