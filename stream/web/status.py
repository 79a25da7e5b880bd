"""How a stream is, as the page and the API tell it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..telemetry.health import reasons
from ..telemetry.stats import Snapshot


def status(name: str, told: Snapshot | str | None, viewers: int | None = None, since: float = 0.0) -> dict[str, Any]:
    """The status of a stream as a dictionary for JSON; floats may be nan.

    told: its snapshot, why it could not be opened, or None where it is not open yet. since: seconds since the process
    started, for a stream that is not open.
    """
    wrong = [
        {"reason": reason.name, "failing": reason.failing, "detail": detail, "remedy": reason.remedy}
        for reason, detail in reasons(told, since)
    ]
    if not isinstance(told, Snapshot):
        state = told or "opening"
        return {"name": name, "state": state, "connected": False, "why": state, "problems": wrong, "viewers": viewers}
    dropped: dict[str, dict[str, int]] = {}
    for (place, reason), count in told.dropped.items():
        dropped.setdefault(place, {})[reason] = count
    return {
        "name": name,
        "source": told.name,
        "state": told.state,
        "connected": told.connected,
        "why": "" if told.connected else told.state,
        "problems": wrong,
        "uptime": told.uptime,
        "fps_in": told.fps_in,
        "fps_out": told.fps_out,
        "frames_in": told.frames_in,
        "frames_out": told.frames_out,
        "latency_ms": told.latency.p50 * 1e3,
        "tube_age": told.tube_age,
        "max_age": told.max_age,
        "windows": told.windows,
        "windows_per_second": told.window_rate,
        "dropped": dropped,
        "reconnects": told.reconnects,
        "skips": told.skips,
        "decoder_errors": told.decoder_errors,
        "damaged": told.frames_damaged,
        "label": told.label,
        "probability": told.probability,
        "viewers": viewers,
        "sinks": [{"name": sink.name, "state": sink.state, "note": sink.note} for sink in told.sinks],
        "size": list(told.size),
        "facts": dict(told.facts),
    }


def lost(told: Mapping[tuple[str, str], int]) -> int:
    """Number of frames of a snapshot's `dropped` that this machine had no time for."""
    return sum(count for (place, _), count in told.items() if place in ("source", "read"))
