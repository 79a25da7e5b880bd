"""A file that plays like a camera: at its own speed, and again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from fractions import Fraction

from ...engine.types import Frame
from ..media.info import FALLBACK_RATE, VideoInfo
from ..media.pace import Pace
from ..media.timeline import leap
from .base import Source, SourceHealth


class Replay:
    """The frames of a file. `loop`: it is opened again at its end. `realtime`: each frame is given out when it is due.

    Indexes and pts go on from one round to the next; the first frame of a round has `gap` set.
    """

    def __init__(
        self,
        once: Callable[[], Source],
        realtime: bool,
        loop: bool,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """once: opens the source; its errors pass through. clock, wait: see LiveSource."""
        self.live = realtime
        self._once, self._loop, self._clock = once, loop, clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._errors = 0
        self._source = once()
        self.name = self._source.name
        info = self._source.info
        # No audio: it would go on while frames are dropped, as a camera's are, and end with the first round.
        self.info: VideoInfo = replace(
            info,
            audio=None,
            expected_frames=None if loop else info.expected_frames,
            duration=None if loop else info.duration,
        )
        self._rounds, self._frames = self._all(), self._read()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    @property
    def remarks(self) -> tuple[str, ...]:
        return self._source.remarks

    def health(self) -> SourceHealth:
        return SourceHealth(errors=self._errors + self._source.health().errors)

    def stop(self) -> None:
        self._stop.set()
        self._source.stop()

    def close(self) -> None:
        self.stop()
        self._frames.close()  # these hold the last frame, which may be memory of a GPU
        self._rounds.close()
        self._source.close()

    def _read(self) -> Generator[Frame, None, None]:
        pace = Pace(leap(self.info.rate))
        for frame in self._rounds:
            if self.live:
                delay = pace.delay(frame.time, self._clock())
                if delay and self._wait(delay):
                    return
                if pace.leapt:
                    frame = replace(frame, gap=True)
            if self._stop.is_set():
                return
            yield frame

    def _all(self) -> Generator[Frame, None, None]:
        index, offset, seam = 0, 0, False
        last: int | None = None
        step = max(1, round(Fraction(1) / ((self.info.rate or FALLBACK_RATE) * self.info.time_base)))
        while True:
            for frame in self._source:
                if seam and last is not None:
                    offset = last + step - frame.pts
                last = frame.pts + offset
                yield replace(frame, index=index, pts=last, gap=frame.gap or seam)
                index, seam = index + 1, False
            if not self._loop or seam or self._stop.is_set():  # seam: this round gave no frame at all
                return
            self._source.close()
            fresh, seam = self._once(), True
            self._errors, self._source = self.health().errors, fresh
