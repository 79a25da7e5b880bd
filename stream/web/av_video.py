"""Encodes the pictures of a stream for browsers: H.264 as fragments of MP4, through PyAV."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import av

from ...engine.errors import SinkError
from ...engine.picture import Picture
from ...engine.types import Frame
from ..media.av_encoder import H264, LooseEncoder, WrongSizeError, choose_encoder
from ..media.av_planes import reason
from ..media.fit import followed
from ..media.info import FALLBACK_RATE, VideoInfo
from .fmp4 import TIMESCALE, Track
from .settings import VideoSettings

KEY_EVERY = TIMESCALE
"""Ticks from one key frame to the next: whoever begins to watch waits for none, but gets so much of the past."""
KEY_SOONEST = TIMESCALE // 2
"""Minimum ticks from one key frame to one that somebody asks for: a bad connection to one viewer makes more of them,
which cost all the others."""
SHORTEST, LONGEST = TIMESCALE // 240, TIMESCALE // 2
"""Minimum and maximum ticks for which a frame is said to last; the next one tells when it ends."""


@dataclass(frozen=True)
class Init:
    """The beginning of a video; a new one follows where the size changes."""

    codec: str
    """RFC 6381"""
    size: tuple[int, int]
    """width and height of the pictures, in pixels; if odd, the coded ones are one larger, at the right and below"""
    data: bytes
    """ftyp and moov"""

    @property
    def is_baseline(self) -> bool:
        """Whether this is the baseline profile (ITU-T H.264, section A.2.1). No encoder here uses what only the whole
        of it has, and not the constrained one, whether it says so or not."""
        return self.codec.startswith("avc1.42")


@dataclass(frozen=True)
class Fragment:
    """One frame."""

    time: int
    """media time, in ticks of TIMESCALE"""
    key: bool
    data: bytes
    """moof and mdat"""
    packet: bytes
    """the frame in Annex B's form, a key frame with the parameter sets"""


class Video:
    """The encoder of one stream. For one thread. Raises SinkError where it cannot encode."""

    def __init__(self, info: VideoInfo, settings: VideoSettings) -> None:
        """Raises UsageError for an encoder that does not work here."""
        chosen = choose_encoder(settings.encoder)
        self._info = info
        self._settings = H264(
            crf=settings.crf,
            preset=settings.preset,
            threads=2,
            keyframe_seconds=10.0,  # they are asked for below, by time
            encoder=chosen.name,
            bitrate=settings.bitrate,
            low_latency=True,
            global_header=True,
            baseline=settings.baseline,
        )
        self._encoder: LooseEncoder | None = None
        self._track: Track | None = None
        self._kind: object = None
        self.time = 0
        """media time of the newest frame that was given, in ticks of TIMESCALE"""
        self._number, self._last, self._key = 0, -1, -KEY_EVERY
        self._key_wanted = False
        self._duration = round(TIMESCALE / (info.rate or FALLBACK_RATE))

    def encode(self, frame: Frame, picture: Picture) -> tuple[Init | None, list[Fragment]]:
        """The frame, with the picture in place of its own. Init: if a new video begins with it."""
        try:
            return self._encode(replace(frame, image=picture))
        except (av.FFmpegError, OSError, ValueError, WrongSizeError) as error:
            self._encoder = None
            raise SinkError(f"H.264: {reason(error)}") from error

    def want_key(self) -> None:
        """Asks for a key frame soon. From any thread."""
        self._key_wanted = True

    def _encode(self, frame: Frame) -> tuple[Init | None, list[Fragment]]:
        picture = frame.picture
        kind = (picture.width, picture.height, picture.layout, picture.color, frame.pixel_aspect)
        init = self._begin(frame) if self._encoder is None or kind != self._kind else None
        self._kind = kind
        assert self._encoder is not None
        assert self._track is not None
        time = max(self._last + 1, round(frame.pts * frame.time_base * TIMESCALE))
        if self._last >= 0:
            self._duration = min(LONGEST, max(SHORTEST, time - self._last))
        self._last = time
        key = init is not None or time - self._key >= (KEY_SOONEST if self._key_wanted else KEY_EVERY)
        if key:
            self._key_wanted = False
        made = []
        for pts, is_key, data in self._encoder.encode(replace(frame, pts=time, time_base=_TICK), key):
            self._number += 1
            self._key = pts if is_key else self._key
            fragment = self._track.fragment(self._number, pts, self._duration, is_key, data)
            made.append(Fragment(pts, is_key, fragment, self._track.header + data if is_key else data))
        self.time = time
        return init, made

    def _begin(self, frame: Frame) -> Init:
        picture = frame.picture
        info = replace(
            followed(self._info, frame), layout=picture.layout, color=picture.color, time_base=_TICK, audio=None
        )
        self._encoder = encoder = LooseEncoder(info, self._settings)
        aspect = frame.pixel_aspect.limit_denominator(1000)
        self._track = Track(encoder.coded, (aspect.numerator, aspect.denominator), encoder.header)
        return Init(self._track.codec, encoder.size, self._track.init())


_TICK = Fraction(1, TIMESCALE)
