"""Which explanation belongs to which frame. Pure: no clock, no thread, no I/O; time is the frames' own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ..engine.types import Explanation, Frame


@dataclass(frozen=True, eq=False)
class Placed:
    """A frame and what is to be drawn on it."""

    frame: Frame
    parts: tuple[tuple[Explanation, float], ...] = ()
    """each explanation with its share; shares sum to 1"""
    at: float = 0.0
    """the frame number whose evidence is drawn: the frame's own, or an earlier one in live mode"""
    age: float = 0.0
    """seconds from there to the frame"""
    opacity: float = 1.0


class Aligned:
    """Every frame waits for the windows that saw it, and neighbouring windows cross-fade between their centres.

    hop: frames from one window's centre to the next. The last window may come sooner; its fade is as long all the same.
    """

    def __init__(self, hop: int) -> None:
        if hop < 1:
            raise ValueError(f"hop must be 1 or more, got {hop}")
        self._hop = hop
        self._frames: deque[Frame] = deque()
        self._windows: deque[Explanation] = deque(maxlen=2)

    def push(self, frame: Frame) -> None:
        """Takes a frame, in order."""
        self._frames.append(frame)

    def explain(self, explanation: Explanation) -> Iterator[Placed]:
        """Takes the next window's explanation and gives the frames that waited for it, in order."""
        self._windows.append(explanation)
        while self._frames and self._frames[0].index <= explanation.tube.span.center:
            yield self._place(self._frames.popleft())

    def finish(self) -> Iterator[Placed]:
        """At the end of the stream: the frames after the last window's centre."""
        while self._frames:
            yield self._place(self._frames.popleft())

    def _place(self, frame: Frame) -> Placed:
        saw = [window for window in self._windows if frame.index in window.tube.span]
        if len(saw) == 2:
            one, two = (window.tube.span for window in saw)
            # over the frames that both saw, where that is less
            reach = one.frames * one.stride / 2
            begin, end = max(one.center, two.center - reach), min(one.center + self._hop, one.center + reach)
            share = min(1.0, max(0.0, (frame.index - begin) / (end - begin)))
            parts = tuple((window, part) for window, part in zip(saw, (1 - share, share), strict=True) if part > 0)
        else:
            parts = tuple((window, 1.0) for window in saw)
        return Placed(frame, parts, at=frame.index)


class Live:
    """No frame waits: each takes the newest explanation there is, at its newest slice that can be trusted."""

    def __init__(self, max_age: float = 2.0, fade: float = 0.5) -> None:
        if max_age <= 0 or fade <= 0:
            raise ValueError(f"max_age and fade must be positive seconds, got {max_age}, {fade}")
        self._max_age, self._fade = max_age, fade

    def place(self, frame: Frame, newest: Explanation | None) -> Placed:
        """`newest`: the explanation at hand. Past `max_age` it fades away within `fade` seconds rather than mislead."""
        if newest is None:
            return Placed(frame, at=frame.index)
        tube = newest.tube
        at = min(frame.index, tube.span.slice_center(tube.trusted[1] - 1, len(tube.evidence)))
        age = max(0.0, (frame.index - at) * _seconds_per_frame(frame, newest))
        opacity = min(1.0, max(0.0, 1 - (age - self._max_age) / self._fade))
        return Placed(frame, ((newest, 1.0),) if opacity > 0 else (), at, age, opacity)


def _seconds_per_frame(frame: Frame, newest: Explanation) -> float:
    """Mean over the frames since the window's first one, so that rates may vary."""
    frames = frame.index - newest.tube.span.start
    return float((frame.pts - newest.pts[0]) * frame.time_base) / frames if frames > 0 else 0.0
