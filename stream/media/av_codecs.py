"""What PyAV's FFmpeg can decode."""

from __future__ import annotations

import av

CODECS = {
    "H.264": ("h264",),
    "HEVC": ("hevc",),
    "AV1": ("libdav1d", "libaom-av1"),
    "VP9": ("vp9",),
    "MJPEG": ("mjpeg",),
}
"""Codec that cameras and files use -> FFmpeg's decoders of it, of which one suffices. Its own `av1` needs a GPU."""


def decoders() -> tuple[str, ...]:
    """Those of CODECS that can be decoded without a GPU."""
    return tuple(codec for codec, names in CODECS.items() if any(map(_is_there, names)))


def _is_there(name: str) -> bool:
    try:
        av.Codec(name, "r")
    except (ValueError, av.FFmpegError):
        return False
    return True
