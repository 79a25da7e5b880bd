"""What a stream said in the last minutes: its windows, what went wrong, and small pictures. For any thread."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Any

from ...engine.measure import shares
from ...engine.types import Explanation
from .messages import as_json, names_of, times

SECONDS = 300.0
"""Seconds of windows that are remembered."""
APART = 0.25
"""Minimum seconds from the end of one remembered window to the end of the next: a fast network has many."""
MARKS = 256
"""Maximum number of marks."""
PICTURES = 300
"""Maximum number of small pictures."""
_DIGITS = 4


class History:
    """Remembers by the stream's own time; a window's numbers are some hundred bytes."""

    def __init__(self) -> None:
        self._windows: deque[tuple[float, str, dict[str, str]]] = deque()
        self._marks: deque[dict[str, Any]] = deque(maxlen=MARKS)
        self._pictures: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, explanation: Explanation) -> None:
        """Remembers a window, unless one ended just before it."""
        _, end = times(explanation)
        with self._lock:
            if self._windows and end < self._windows[-1][0] + APART:
                return
            entry = {
                "n": explanation.window,
                "t": end,
                "wall": explanation.wall.seconds if explanation.wall else None,
                "top": [[score.id, round(score.probability, _DIGITS)] for score in explanation.top],
                "explained": [score.id for score in explanation.explained],
                "shares": [round(share, _DIGITS) for share in shares(explanation.tube)],
            }
            names = names_of((*explanation.top, *explanation.explained))
            self._windows.append((end, as_json(entry), names))
            while self._windows[0][0] < end - SECONDS:
                self._windows.popleft()

    def mark(self, time: float, kind: str, words: str) -> dict[str, Any]:
        """Remembers that something happened. time: seconds from the stream's zero. Returns what is told of it."""
        made = {"t": time, "kind": kind, "text": words}
        with self._lock:
            self._marks.append(made)
        return made

    def picture(self, window: int) -> bytes | None:
        """The small picture of a window as JPEG, or of the newest one before it; None if there is none."""
        with self._lock:
            near = [number for number in self._pictures if number <= window]
            return self._pictures[max(near)] if near else None

    def add_picture(self, window: int, jpeg: bytes) -> None:
        with self._lock:
            self._pictures[window] = jpeg
            while len(self._pictures) > PICTURES:
                self._pictures.popitem(last=False)

    def message(self) -> str:
        """The text message `history`."""
        with self._lock:
            windows, marks = list(self._windows), list(self._marks)
        names: dict[str, str] = {}
        for *_, more in windows:
            names |= more
        entries = ",".join(entry for _, entry, _ in windows)  # made once, and not for every page that opens
        return f'{{"type":"history","windows":[{entries}],"names":{as_json(names)},"marks":{as_json(marks)}}}'
