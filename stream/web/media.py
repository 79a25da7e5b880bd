"""An encoded frame as it goes to viewers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Media:
    """One frame."""

    data: bytes
    """the whole message"""
    key: bool
    windows: tuple[int, ...]
    """the windows that it is drawn from"""
    facts: str = ""
    """what the message says of the frame, as a message of its own"""
    packet: bytes = b""
    """the frame alone, in Annex B's form"""
    time: int = 0
    """media time, in ticks of `fmp4.TIMESCALE`"""
