"""One JSON line a window: the same facts as the picture, for programs. docs/events.md is its reference."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from ...engine.measure import Peak, boxes, centroids, peak, shares
from ...engine.types import ClassScore, Explanation

VERSION = 2


def event(
    explanation: Explanation,
    threshold: float,
    size: tuple[int, int],
    timings: Mapping[str, float] | None = None,
    stream: str = "",
) -> str:
    """The line, without its end, for frames of `size` = (width, height). stream: its name, where it is told.

    Key order and rounding are fixed, so that equal explanations give equal bytes.
    """
    tube, span = explanation.tube, explanation.tube.span
    first, last = explanation.pts
    record: dict[str, Any] = {
        "version": VERSION,
        "window": explanation.window,
        "frames": [span.start, span.last - explanation.repeated * span.stride],
        "stride": span.stride,
        "repeated": explanation.repeated,
        **({"damaged": explanation.damaged} if explanation.damaged else {}),
        "pts": [first, last],
        "time_base": f"{explanation.time_base.numerator}/{explanation.time_base.denominator}",
        "time": [round(float(pts * explanation.time_base), 6) for pts in (first, last)],
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
            "boxes": [[list(box) for box in found] for found in boxes(tube, explanation.scale, threshold, size)],
        },
    }
    record |= _live_fields(explanation, stream)
    if timings is not None:
        record["timings"] = {stage: round(seconds * 1e3, 3) for stage, seconds in timings.items()}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


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
