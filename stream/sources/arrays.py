"""Frames that a program has already, as arrays: nothing is opened, nothing decoded."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from ...engine.errors import UsageError
from ...engine.picture import U8, Layout, Picture
from ...engine.types import Frame
from ..media.info import VideoInfo
from .base import SourceHealth


class ArraySource:
    """A source of arrays, each RGB [H, W, 3] uint8, all of one size, `rate` of them a second.

    Each array is copied when its turn comes, so whoever makes them may use their memory again. The iterable is asked in
    the thread that reads; it is not closed.

    Raises UsageError for an iterable without a frame, and while reading for one that is no such array.
    """

    live = False
    name = "arrays"
    remarks: tuple[str, ...] = ()

    def __init__(self, arrays: Iterable[U8], rate: Fraction) -> None:
        if rate <= 0:
            raise UsageError(f"fps must be more than 0, got {float(rate):g}")
        self._arrays = iter(arrays)
        self._next = next(self._arrays, None)
        if self._next is None:
            raise UsageError("there is no frame: the iterable is empty")
        height, width = checked_rgb(self._next, "frame 0").shape[:2]
        self._stopped = threading.Event()
        self._frames = self._made()
        self.info = VideoInfo(width, height, 1 / rate, rate, layout=Layout.RGB, matrix=0)

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def _made(self) -> Iterator[Frame]:
        index = 0
        while self._next is not None and not self._stopped.is_set():
            array = checked_rgb(self._next, f"frame {index}")
            height, width = array.shape[:2]
            if (width, height) != (self.info.width, self.info.height):
                first = f"{self.info.width}x{self.info.height}"
                raise UsageError(f"frame {index} is {width}x{height}: all must be as large as the first, {first}")
            yield Frame(index, index, self.info.time_base, Picture(Layout.RGB, (array.copy(),)))
            self._next = None if self._stopped.is_set() else next(self._arrays, None)
            index += 1

    def health(self) -> SourceHealth:
        return SourceHealth()

    def stop(self) -> None:
        """Ends the stream after the frame that is being made."""
        self._stopped.set()

    def close(self) -> None:
        """Lets go of the iterable."""
        self.stop()


def checked_rgb(array: U8, name: str) -> U8:
    """The array, contiguous within a row, copied only where it is not. Raises UsageError unless it is RGB uint8."""
    given = np.asarray(array)
    if given.ndim != 3 or given.shape[2] != 3 or given.dtype != np.uint8 or not given.size:
        raise UsageError(f"{name} must be RGB [H, W, 3] uint8, got {list(given.shape)} {given.dtype}")
    return np.ascontiguousarray(given)
