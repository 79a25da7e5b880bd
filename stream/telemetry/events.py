"""One event a window: the same facts as the picture, for programs. docs/events.md is the reference of its JSON."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from ...engine.measure import Peak, boxes, centroids, peak, shares
from ...engine.types import ClassScore, Explanation

VERSION = 2


@dataclass(frozen=True, eq=False)
class Event:
    """What one window says, as outputs are told of it. Outputs that write JSON ask for `json`."""

    explanation: Explanation
    threshold: float
    """of the boxes: evidence on the explanation's scale, 0..1, from which on a cell belongs to a box"""
    size: tuple[int, int]
    """(width, height) of the stream's frames, in pixels"""
    timings: Mapping[str, float] | None = None
    """seconds spent in each stage since the event before; None where they are not told"""
    stream: str = ""
    """the stream's name, where there are several"""
    _making: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    """held while the record and its JSON are made: outputs ask from threads of their own"""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold must be 0 to 1, got {self.threshold}")
        if min(self.size) < 1:
            raise ValueError(f"size must be 1 or more pixels each way, got {self.size}")

    @property
    def time(self) -> tuple[float, float]:
        """Presentation times of the window's first and last frame: seconds from the stream's zero, to a microsecond."""
        first, last = (round(float(pts * self.explanation.time_base), 6) for pts in self.explanation.pts)
        return first, last

    @property
    def record(self) -> Mapping[str, object]:
        """The keys of docs/events.md with their values, as `json` has them. Not to be changed."""
        with self._making:
            return self._record

    @property
    def json(self) -> str:
        """The record as one line of JSON, without the line's end. It is made once, when first asked for.

        Key order and rounding are fixed: equal explanations give equal bytes.
        """
        with self._making:
            return self._json

    @cached_property
    def _record(self) -> dict[str, Any]:
        return _record(self)

    @cached_property
    def _json(self) -> str:
        return json.dumps(self._record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def probability(self, label: str) -> float:
        """What the event says of a class, by its name or index; 0 where it is not among the classes named.

        Rounded as it is in the JSON, so that who reads that comes to the same conclusions.
        """
        index = int(label) if label.isdecimal() else None
        for score in (*self.explanation.explained, *self.explanation.top):
            if label.lower() == score.name.lower() or index == score.id:
                return _round(score.probability) or 0.0
        return 0.0


def _record(event: Event) -> dict[str, Any]:
    explanation, size = event.explanation, event.size
    tube, span = explanation.tube, explanation.tube.span
    record: dict[str, Any] = {
        "version": VERSION,
        "window": explanation.window,
        "frames": [span.start, span.last - explanation.repeated * span.stride],
        "stride": span.stride,
        "repeated": explanation.repeated,
        **({"damaged": explanation.damaged} if explanation.damaged else {}),
        "pts": list(explanation.pts),
        "time_base": f"{explanation.time_base.numerator}/{explanation.time_base.denominator}",
        "time": list(event.time),
        "top": [_score(score) for score in explanation.top],
        "explained": [_score(score) for score in explanation.explained],
        "tube": {
            "shape": list(tube.evidence.shape),
            "scale": [_round(explanation.scale.low), _round(explanation.scale.high)],
            "trusted": list(tube.trusted),
            "peak": _peak(peak(tube, size)),
            "peak_all_slices": _peak(peak(tube, size, all_slices=True)),
            "centroids": [center and [_round(value) for value in center] for center in centroids(tube, size)],
            "shares": [_round(share) for share in shares(tube)],
            "boxes": [[list(box) for box in found] for found in boxes(tube, explanation.scale, event.threshold, size)],
        },
    }
    record |= _live_fields(explanation, event.stream)
    if event.timings is not None:
        record["timings"] = {stage: round(seconds * 1e3, 3) for stage, seconds in event.timings.items()}
    return record


def _live_fields(explanation: Explanation, stream: str) -> dict[str, Any]:
    """What events of live inputs hold beside the others: the stream's name and the time by a clock. Else nothing."""
    wall = explanation.wall
    if wall is None:
        return {}
    first, last = explanation.pts
    # Both from one reading: by two of them, of two clocks, a window could seem to end before it began.
    seconds = (wall.seconds - float((last - first) * explanation.time_base), wall.seconds)
    name = {"stream": stream} if stream else {}
    return {**name, "clock": wall.clock, "utc": [utc(moment) for moment in seconds]}


def utc(seconds: float) -> str:
    """Seconds since 1970 as RFC 3339 writes them, in UTC, to the millisecond."""
    text = datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _score(score: ClassScore) -> dict[str, Any]:
    return {"id": score.id, "class": score.name, "p": _round(score.probability), "logit": _round(score.logit)}


def _peak(strongest: Peak) -> dict[str, Any]:
    return {
        "slice": strongest.slice,
        "frame": round(strongest.frame, 3),
        "x": _round(strongest.x),
        "y": _round(strongest.y),
        "evidence": _round(strongest.evidence),
    }


def _round(value: float) -> float | None:
    """Six significant digits: what float32 holds, less the last one. None (null) for what is not a number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
