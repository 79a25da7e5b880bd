"""What users may say about the video that browsers get."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoSettings:
    """How the video for browsers is encoded."""

    encoder: str = "auto"
    """as `media.av_encoder.choose_encoder` takes it"""
    bitrate: int | None = None
    """bits a second; None: constant quality"""
    crf: int = 23
    """constant quality, 0 to 51; smaller is better"""
    preset: str = "superfast"
    """x264's"""
    baseline: bool = False
    """only what every receiver of WebRTC can decode (RFC 7742): the constrained baseline profile"""
