"""Chooses an H.264 encoder: the first of a list that really encodes here. Pure: av_encoder and gst_encoder try them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...engine.errors import UsageError

FAMILIES = {
    "nvenc": ("h264_nvenc", "nvh264enc", "nvv4l2h264enc"),
    "v4l2": ("h264_v4l2m2m", "v4l2h264enc"),
    "vaapi": ("h264_vaapi", "vah264enc", "vaapih264enc"),
    "x264": ("libx264", "x264enc"),
}
"""Family of encoders that a user may name -> their names in FFmpeg and in GStreamer."""

ABSENT = "not installed"
"""The result of a probe for an encoder that is not installed, which is not worth a message."""

BITS_PER_PIXEL = 0.12
"""Bits for each pixel of each frame if an encoder needs a bit rate: 3.3 Mbit/s at 720p30, 7.5 Mbit/s at 1080p30."""


@dataclass(frozen=True)
class Chosen:
    """An encoder that works here."""

    name: str
    """its name in FFmpeg or GStreamer"""
    passed_over: tuple[tuple[str, str], ...] = ()
    """the encoders that come before it in order of preference, each with the reason why it failed"""

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on the encoders that are installed, come before this one, and do not work."""
        return tuple(f"{name} does not work here: {why}" for name, why in self.passed_over if why != ABSENT)


def choose(wanted: str, known: Sequence[str], probe: Callable[[str], str | None]) -> Chosen:
    """The first of `known`, in order of preference, that works: `probe(name)` encodes and returns None, or what failed.

    wanted: auto, a family, or a name. An encoder asked for by name is used or refused, never replaced. probe: encodes a
    few frames with the named encoder; returns None, or what failed. Raises UsageError, naming what was tried.
    """
    names = [name for name in known if wanted in ("auto", name) or name in FAMILIES.get(wanted, ())]
    if not names:
        accepted = ", ".join(["auto", *FAMILIES, *known])
        raise UsageError(f"encoder must be one of {accepted}, got {wanted!r}")
    failed: list[tuple[str, str]] = []
    for name in names:
        wrong = probe(name)
        if wrong is None:
            return Chosen(name, tuple(failed))
        failed.append((name, wrong))
    tried = "; ".join(f"{name}: {wrong}" for name, wrong in failed)
    raise UsageError(f"no H.264 encoder works here ({tried})")


def default_bitrate(width: int, height: int, rate: float) -> int:
    """Bits a second for pictures of that size if the user gave no bit rate."""
    return max(200_000, round(BITS_PER_PIXEL * width * height * rate))
