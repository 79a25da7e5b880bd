"""The sliding window: frames in, clips out. Pure: no clock, no thread, no I/O."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

from ...engine.place import Sampler
from ...engine.types import Clip, Frame, Sample, Span, WallTime


@dataclass(frozen=True, eq=False)
class _Held:
    seen: Sample
    index: int
    pts: int
    time_base: Fraction
    wall: WallTime | None
    damaged: bool = False
    """the picture is that of the frame before"""


class Window:
    """Cuts a stream into clips of `clip_length` samples, `stride` frames apart, a new one every `hop` frames."""

    def __init__(self, sampler: Sampler, clip_length: int, stride: int, hop: int) -> None:
        if clip_length < 1 or stride < 1 or hop < 1:
            raise ValueError(f"clip_length, stride and hop must be 1 or more, got {clip_length}, {stride}, {hop}")
        self._sampler, self._clip_length, self._stride, self._hop = sampler, clip_length, stride, hop
        self._extent = (clip_length - 1) * stride + 1
        self._samples: deque[_Held] = deque(maxlen=self._extent)
        self._seen = 0
        self._next = self._extent
        """number of frames that must have been seen when the next clip is made"""
        self._covered = 0
        """number of frames that had been seen when the last clip was made"""
        self._gaps = 0

    def spans(self, rate: Fraction) -> float:
        """Seconds from the first to the last frame of a clip, at so many frames a second."""
        return float((self._extent - 1) / rate)

    @property
    def extent(self) -> int:
        """Frames from the first to the last of a clip, both counted."""
        return self._extent

    def push(self, frame: Frame) -> Clip | None:
        """The clip that this frame completes, if it completes one. A frame after a gap starts anew.

        A damaged frame keeps its place in time, so that samples stay evenly spaced, and shows the picture of the one
        before, as many cameras do when they are late. After a gap there is no frame before, so windows begin with an
        undamaged frame.
        """
        if frame.gap:
            self.cut()
        if frame.damaged:
            if not self._samples:
                return None
            before = self._samples[-1]
            seen = before.seen
        else:
            seen = self._sampler.put(frame)
        self._samples.append(_Held(seen, frame.index, frame.pts, frame.time_base, frame.wall, frame.damaged))
        self._seen += 1
        if self._seen < self._next:
            return None
        self._next += self._hop
        return self._clip()

    def flush(self) -> Clip | None:
        """At the end of the stream: a clip over its last frames, if they are in no clip yet.

        A stream shorter than a window is explained anyway, its last frame repeated (`Clip.repeated` says how often);
        what is left between a gap and the end is not.
        """
        if self._gaps and len(self._samples) < self._extent:
            return None
        return self._clip() if self._covered < self._seen else None

    @property
    def stride(self) -> int:
        """Frames from one sample to the next, of the windows from here on."""
        return self._stride

    def cut(self, stride: int | None = None) -> Clip | None:
        """At a gap: a clip over the last frames before it, if they fill a window and are in no clip yet. Then it starts
        anew.

        stride: of the windows from here on, where it changes.

        Where fewer frames than a window lie between two gaps, they are not explained: the connection may come and go
        many times, and each time would give a clip of one repeated picture.
        """
        clip = self._clip() if self._covered < self._seen and len(self._samples) == self._extent else None
        self._gaps += self._seen > 0
        if stride is not None:
            self._stride, self._extent = stride, (self._clip_length - 1) * stride + 1
        self._samples = deque(maxlen=self._extent)
        self._seen = self._covered = 0
        self._next = self._extent
        return clip

    def _clip(self) -> Clip:
        self._covered = self._seen
        window = list(self._samples)
        offsets = [i * self._stride for i in range(self._clip_length)]
        last_sample = (len(window) - 1) // self._stride * self._stride
        chosen = [window[min(offset, last_sample)] for offset in offsets]
        first, last = window[0], chosen[-1]
        return Clip(
            samples=tuple(held.seen for held in chosen),
            span=Span(first.index, self._clip_length, self._stride),
            crop=first.seen.crop,
            pts=(first.pts, last.pts),
            time_base=first.time_base,
            repeated=sum(offset >= len(window) for offset in offsets),
            wall=last.wall,
            damaged=sum(held.damaged for held in window[: last_sample + 1]),
        )
