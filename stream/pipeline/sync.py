"""Which explanation belongs to which frame. Pure: no clock, no thread, no I/O; time is the frames' own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ...engine.types import Explanation, Frame


@dataclass(frozen=True, eq=False)
class Placed:
    """A frame and what is to be drawn on it."""

    frame: Frame
    parts: tuple[tuple[Explanation, float], ...] = ()
    """each explanation with its share of the picture; the shares sum to 1"""
    at: float = 0.0
    """the frame number whose evidence is drawn: the frame's own, or an earlier one in live mode"""
    age: float = 0.0
    """seconds from the evidence's frame to this one, also if the evidence is too old to be drawn; 0 if there is none"""
    opacity: float = 1.0
    awaited: float = 0.0
    """live mode: seconds since the first frame, or since the last gap, if no evidence has come since then and evidence
    of that age would be too old; else 0"""

    @property
    def is_too_old(self) -> bool:
        """Whether the evidence fades, or is not drawn at all, because of its age."""
        return self.opacity < 1


class Aligned:
    """Every frame waits for the windows that saw it, and neighbouring windows cross-fade between their centres.

    hop: frames from one window's centre to the next. The last window's centre may be nearer; its cross-fade has the
    same length.
    """

    def __init__(self, hop: int) -> None:
        if hop < 1:
            raise ValueError(f"hop must be 1 or more, got {hop}")
        self._hop = hop
        self._frames: deque[Frame] = deque()
        self._windows: deque[Explanation] = deque(maxlen=2)
        self._sound = False
        """whether a frame has come since the last gap that is not damaged: windows begin there"""

    @staticmethod
    def most_held(extent: int, hop: int) -> int:
        """The most frames that wait at a time: those up to the end of the first window, or from one window's centre to
        the end of the next one. extent: frames from the first to the last of a window, both counted."""
        return max(extent, hop + (extent + 1) // 2) + 1

    def push(self, frame: Frame) -> list[Placed]:
        """Takes the next frame. Returns the frames that no further window will see: those before a gap, and damaged
        ones before the first sound one, with which windows begin."""
        ended = []
        if frame.gap:
            ended = list(self.finish())
            self._windows.clear()
            self._sound = False
        self._sound = self._sound or not frame.damaged
        if self._sound:
            self._frames.append(frame)
        else:
            ended.append(self._place(frame))
        return ended

    def explain(self, explanation: Explanation) -> Iterator[Placed]:
        """Takes the next window's explanation and yields the frames that waited for it, in order."""
        self._windows.append(explanation)
        while self._frames and self._frames[0].index <= explanation.tube.span.center:
            yield self._place(self._frames.popleft())

    def finish(self) -> Iterator[Placed]:
        """Yields the frames after the last window's centre, at the end of the stream or at a gap."""
        while self._frames:
            yield self._place(self._frames.popleft())

    def _place(self, frame: Frame) -> Placed:
        return Placed(frame, _crossfade(frame.index, list(self._windows), self._hop), at=frame.index)


class Gaps:
    """Remembers where frames are missing. One thread adds gaps, in order. Other threads may ask meanwhile, because the
    tuple is replaced and never changed."""

    def __init__(self, remembered: int = 64) -> None:
        self._remembered = remembered
        self._firsts: tuple[int, ...] = ()

    def add(self, index: int) -> None:
        """Frames are missing before this one."""
        self._firsts = (*self._firsts, index)[-self._remembered :]

    def between(self, index: float, other: float) -> bool:
        """Whether frames are missing between these two; their order does not matter."""
        low, high = min(index, other), max(index, other)
        return any(low < first <= high for first in self._firsts)


class Delayed:
    """`Aligned` for a live stream: every frame is held for one fixed delay, then drawn from the windows known by then.

    hop: frames from one window's centre to the next. The caller holds the frames: this class has no clock. One thread
    may call `explain` while another calls `place`.
    """

    def __init__(self, hop: int, gaps: Gaps) -> None:
        if hop < 1:
            raise ValueError(f"hop must be 1 or more, got {hop}")
        self._hop, self._gaps = hop, gaps
        self._windows: deque[Explanation] = deque()

    def explain(self, explanation: Explanation) -> None:
        """Takes the next window's explanation."""
        self._windows.append(explanation)

    def place(self, frame: Frame) -> Placed:
        """Takes the next frame whose delay is over, and forgets the windows that no later frame can need."""
        windows = self._windows
        while len(windows) > 1 and windows[1].tube.span.center <= frame.index:
            windows.popleft()
        near = [windows[i] for i in range(min(2, len(windows)))]  # another thread may append meanwhile
        parts = _crossfade(
            frame.index,
            [window for window in near if not self._gaps.between(window.tube.span.start, frame.index)],
            self._hop,
        )
        return Placed(frame, parts, at=frame.index)


def _crossfade(index: int, windows: list[Explanation], hop: int) -> tuple[tuple[Explanation, float], ...]:
    """The shares of two neighbouring windows in a frame; they change linearly between the windows' centres."""
    saw = [window for window in windows if index in window.tube.span]
    if len(saw) < 2:
        return tuple((window, 1.0) for window in saw)
    first, second = (window.tube.span for window in saw)
    # The cross-fade is limited to the frames that both windows saw.
    reach = first.clip_length * first.stride / 2
    begin, end = max(first.center, second.center - reach), min(first.center + hop, first.center + reach)
    # If windows between the two were lost, there may be no such frames.
    share = min(1.0, max(0.0, (index - begin) / (end - begin))) if end > begin else float(index >= begin)
    return tuple((window, part) for window, part in zip(saw, (1 - share, share), strict=True) if part > 0)


class Live:
    """No frame waits: each is drawn with the newest explanation, at its newest slice that can be trusted."""

    def __init__(self, max_age: float = 2.0, fade: float = 0.5, gaps: Gaps | None = None) -> None:
        if max_age <= 0 or fade <= 0:
            raise ValueError(f"max_age and fade must be positive seconds, got {max_age}, {fade}")
        self.max_age = max_age
        """seconds; may be changed between two frames"""
        self._fade, self._gaps = fade, gaps or Gaps()
        self._begun: float | None = None
        """time of the first frame after the last gap, in seconds from the stream's zero"""

    def place(self, frame: Frame, newest: Explanation | None) -> Placed:
        """newest: the newest explanation. Beyond `max_age` it fades away within `fade` seconds, so as not to mislead.

        An explanation from before a gap is not drawn after it.
        """
        if frame.gap or self._begun is None:
            self._begun = frame.time
        if newest is None or self._gaps.between(newest.tube.span.start, frame.index):
            awaited = frame.time - self._begun
            return Placed(frame, at=frame.index, awaited=awaited if awaited > self.max_age else 0.0)
        tube = newest.tube
        at = min(frame.index, tube.span.slice_center(tube.trusted[1] - 1, len(tube.evidence)))
        age = max(0.0, (frame.index - at) * _seconds_per_frame(frame, newest))
        opacity = min(1.0, max(0.0, 1 - (age - self.max_age) / self._fade))
        return Placed(frame, ((newest, 1.0),) if opacity > 0 else (), at, age, opacity)


def _seconds_per_frame(frame: Frame, newest: Explanation) -> float:
    """Seconds a frame, as the mean since the window's first frame, so that the rate may vary."""
    frames = frame.index - newest.tube.span.start
    return float((frame.pts - newest.pts[0]) * frame.time_base) / frames if frames > 0 else 0.0
