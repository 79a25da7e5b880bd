"""What is wrong with a stream, and how bad that is: the answer of /healthz. Pure: the caller tells the time.

A stream is failing if no picture of it comes, or if an output works again only after a restart. It is degraded if
pictures still come and something else is wrong, which a restart would not mend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..sinks.condition import SinkHealth
from .stats import Snapshot

STALE = 5.0
"""Seconds without a frame after which a stream is failing."""
OPENING = 60.0
"""Seconds that opening a stream may take; beyond that it is `opening_too_long`."""
LATE = 2.0
"""Maximum seconds that frames may come later than the promptest frame, by the camera's clock."""
TRYING = 60.0
"""Seconds for which an output may be tried again and again before that is reported."""

Told = Snapshot | str | None
"""What a stream tells about itself; None if it is not open yet; a text if it could not be opened: the reason."""


@dataclass(frozen=True)
class Reason:
    """One thing that can be wrong with a stream."""

    name: str
    failing: bool
    """True: the stream is failing; False: it is degraded"""
    remedy: str
    """what the operator should do"""
    find: Callable[[Told, float], str]
    """Takes what a stream tells about itself, and the seconds since the process started. Returns what is wrong exactly;
    empty if nothing is.
    """


def _running(find: Callable[[Snapshot], str]) -> Callable[[Told, float], str]:
    """Limits `find` to streams that are open and run."""
    return lambda told, since: find(told) if isinstance(told, Snapshot) and told.alive else ""


def _outputs(wrong: Callable[[SinkHealth], bool]) -> Callable[[Told, float], str]:
    def find(snapshot: Snapshot) -> str:
        return "; ".join(f"{sink.name}: {sink.note or sink.state}" for sink in snapshot.sinks if wrong(sink))

    return _running(find)


def _failed(told: Told, since: float) -> str:
    text = _over(told)
    return text if text.startswith("failed") else ""


def _ended(told: Told, since: float) -> str:
    return _over(told) if isinstance(told, Snapshot) and not _failed(told, since) else ""


def _over(told: Told) -> str:
    """How a stream ended, or why it could not be opened; empty if it runs."""
    if isinstance(told, Snapshot):
        return "" if told.alive else told.state
    return told or ""


def _is_silent(snapshot: Snapshot) -> bool:
    return (snapshot.connected or snapshot.skipping) and snapshot.last_frame >= STALE


def _overloaded(snapshot: Snapshot) -> str:
    if snapshot.lag > LATE:
        return f"frames come {snapshot.lag:.1f} s late"
    return f"it fell behind the camera, {snapshot.skips} times so far" if snapshot.overloaded else ""


def _opening(late: bool) -> Callable[[Told, float], str]:
    def find(told: Told, since: float) -> str:
        if isinstance(told, Snapshot) or _failed(told, since) or (since > OPENING) != late:
            return ""
        return told or f"for {since:.0f} s"

    return find


REASONS = (
    Reason("failed", True, "see the log for what failed, and start it again", _failed),
    Reason("ended", True, "nothing, where the input is a file; else see the log", _ended),
    Reason("opening", True, "wait", _opening(late=False)),
    Reason("opening_too_long", True, "see whether the camera is on, and its address and password", _opening(late=True)),
    Reason("not_connected", True, "see whether the camera is on, the network to it, and the user and password",
           _running(lambda one: "" if one.connected or one.skipping else one.state)),
    Reason("no_frame", True, "see whether the camera sends; where it does, start this again",
           _running(lambda one: f"for {one.last_frame:.0f} s" if _is_silent(one) else "")),
    Reason("output_failed", True, "mend what it names, and start this again: nothing is written there until then",
           _outputs(lambda sink: sink.state == "failed")),
    Reason("overloaded", False, "take fewer streams, smaller pictures, a lower rate, or --frames 16",
           _running(_overloaded)),
    Reason("tubes_too_old", False, "take fewer frames a window, a smaller model, fewer streams or another machine",
           _running(lambda one: f"older than {one.max_age:g} s, or none" if one.tubes_too_old else "")),
    Reason("disk_full", False, "make room, or set keep and on-full",
           _outputs(lambda sink: sink.state == "disk full")),
    Reason("output_refused", False, "give the right user and password: it is asked again now and then",
           _outputs(lambda sink: sink.state == "refused")),
    Reason("output_lost", False, "see whether the other side answers: the newest call to it was lost",
           _outputs(lambda sink: sink.state == "lost")),
    Reason("output_retrying", False, "see whether the other side is there: it is tried again until it works",
           _outputs(lambda sink: sink.state in ("retrying", "connecting") and sink.trying > TRYING)),
)  # fmt: skip


def reasons(told: Told, since: float) -> list[tuple[Reason, str]]:
    """Everything that is wrong with a stream, each with its particulars. since: seconds since the process started."""
    return [(reason, text) for reason in REASONS if (text := reason.find(told, since))]


def health(streams: Mapping[str, Told], since: float) -> dict[str, Any]:
    """The status of each stream, and the worst of them as the status of all, as a dictionary for JSON."""
    pages = {name: _page(told, reasons(told, since)) for name, told in streams.items()}
    return {"status": _worst(page["status"] for page in pages.values()), "streams": pages}


def _page(told: Told, held: list[tuple[Reason, str]]) -> dict[str, Any]:
    return {
        "status": _worst(["failing" if reason.failing else "degraded" for reason, _ in held] or ["ok"]),
        "state": told.state if isinstance(told, Snapshot) else told or "opening",
        "last_frame_age": round(told.last_frame, 3) if isinstance(told, Snapshot) else None,
        "reasons": [{"reason": reason.name, "detail": text, "remedy": reason.remedy} for reason, text in held],
    }


def _worst(statuses: Iterable[str]) -> str:
    """The worst of several statuses; without any stream it is "failing"."""
    known = set(statuses) or {"failing"}
    return next(status for status in ("failing", "degraded", "ok") if status in known)
