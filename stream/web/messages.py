"""The messages of the WebSocket, both ways; docs/web.md is their reference. Pure.

Text is one JSON object with a "type". Binary is the length of such an object (32 bits, little endian), the object in
UTF-8, and what it describes; spaces at the object's end make that begin at a multiple of four bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...engine.draw.style import Style
from ...engine.picture import F32
from ...engine.types import ClassScore, Explanation, Shown
from ..media.info import VideoInfo
from .fmp4 import TIMESCALE

VERSION = 1
LONGEST = 1024
"""Maximum bytes of a message from a page."""
_SECONDS = 3600.0


class MessageError(ValueError):
    """What a page sent is none of its messages."""


@dataclass(frozen=True)
class PageRequest:
    """A message from a page."""

    type: str
    """pause: it wants no media from here on. play: it wants them again. behind: how late it is"""
    seconds: float = 0.0
    """behind: from a frame's coming to this machine to its being shown, as far as the page knows"""


def read_request(text: str | bytes) -> PageRequest:
    """Raises MessageError, in one line, for whatever is not a message of a page."""
    if isinstance(text, bytes) or len(text) > LONGEST:
        raise MessageError(f"a page sends texts of up to {LONGEST} bytes")
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise MessageError("that is not JSON") from None
    kind = found.get("type") if isinstance(found, dict) else None
    if kind in ("pause", "play") and len(found) == 1:
        return PageRequest(kind)
    if kind == "behind" and len(found) == 2:
        seconds = found.get("seconds")
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds <= _SECONDS:
            return PageRequest(kind, float(seconds))
    raise MessageError('a page says {"type":"pause"}, {"type":"play"} or {"type":"behind","seconds":S}')


def text(kind: str, /, **fields: Any) -> str:
    """A text message. Numbers that are none become null."""
    return as_json({"type": kind, **fields})


def binary(kind: str, payload: bytes, /, **fields: Any) -> bytes:
    """A binary message."""
    header = as_json({"type": kind, **fields}).encode()
    header += b" " * (-len(header) % 4)
    return struct.pack("<I", len(header)) + header + payload


def split(message: bytes) -> tuple[dict[str, Any], bytes]:
    """The object and what it describes. Raises ValueError."""
    (length,) = struct.unpack_from("<I", message)
    return json.loads(message[4 : 4 + length]), message[4 + length :]


@dataclass(frozen=True)
class Facts:
    """What a page is told of a stream, once."""

    stream: str
    """its name in addresses"""
    info: VideoInfo
    run: str
    """another one each time that the stream begins anew, and with it time, frames and windows are counted anew"""
    model: str
    window: tuple[int, int]
    """number of frames that a window samples, and the distance between two of them"""
    sync: str
    """live or aligned"""
    max_age: float
    """seconds"""
    fade: float
    """seconds over which evidence fades that is older"""
    style: Style
    why_no_classes: str = ""
    """why only the explained class has evidence; empty if others have it as well"""


def hello(facts: Facts, classes: int, operator: bool, why_no_video: str, web_rtc: bool = False) -> str:
    """classes: number of most probable classes with evidence. operator: whether this viewer may change the stream.
    why_no_video: empty if there is H.264. web_rtc: whether that may be had by WebRTC, too."""
    info, style = facts.info, facts.style
    normalize = style.normalize
    limits = {"low": normalize.low, "high": normalize.high} if normalize.mode == "fixed" else {}
    return text(
        "hello",
        version=VERSION,
        stream=facts.stream,
        run=facts.run,
        width=info.width,
        height=info.height,
        pixel_aspect=float(info.pixel_aspect),
        rate=float(info.rate) if info.rate else None,
        clip_length=facts.window[0],
        stride=facts.window[1],
        sync=facts.sync,
        max_age=facts.max_age,
        fade=facts.fade,
        model=facts.model,
        classes=0 if facts.why_no_classes else classes,
        why_no_classes=facts.why_no_classes,
        style={
            "threshold": style.threshold,
            "alpha": style.alpha,
            "colormap": style.colormap,
            "normalize": {"mode": normalize.mode, **limits},
            "geometry": style.geometry,
            "soft": style.soft,
            "add": style.add,
            "focus": style.focus,
            "frame": style.frame,
        },
        operator=operator,
        video="none" if why_no_video else "h264",
        web_rtc=web_rtc and not why_no_video,
        why_no_video=why_no_video,
    )


def window(explanation: Explanation) -> bytes:
    """The evidence of a window: first the tube as it is drawn, then one map for each class in `maps`, all [t, h, w]."""
    tube, span, crop = explanation.tube, explanation.tube.span, explanation.tube.crop
    maps: dict[int, F32] = {score.id: evidence for score, evidence in explanation.others}
    if len(explanation.explained) == 1:
        maps[explanation.explained[0].id] = tube.evidence
    order = [score.id for score in (*explanation.top, *explanation.explained) if score.id in maps]
    ids = list(dict.fromkeys(order))
    stack = np.stack([tube.evidence, *(maps[i] for i in ids)])
    payload = np.where(np.isfinite(stack), stack, 0).astype("<f4").tobytes()
    return binary(
        "window",
        payload,
        n=explanation.window,
        start=span.start,
        clip_length=span.clip_length,
        stride=span.stride,
        shape=list(tube.evidence.shape),
        crop=[crop.left, crop.top, crop.right, crop.bottom],
        trusted=list(tube.trusted),
        t=list(times(explanation)),
        wall=explanation.wall.seconds if explanation.wall else None,
        explained=[_score(score) for score in explanation.explained],
        top=[_score(score) for score in explanation.top],
        low=explanation.scale.low,
        high=explanation.scale.high,
        maps=ids,
        repeated=explanation.repeated,
        damaged=explanation.damaged,
    )


def frame(shown: Shown, time: int) -> dict[str, Any]:
    """What a media message says of a frame. time: in ticks of TIMESCALE."""
    return {
        "i": shown.frame.index,
        "t": time / TIMESCALE,
        "at": shown.at,
        "opacity": shown.opacity,
        "age": shown.age,
        "awaited": shown.awaited,
        "gap": shown.frame.gap,
        "damaged": shown.frame.damaged,
        "parts": [[explanation.window, share] for explanation, share in shown.parts],
    }


def media(data: bytes, key: bool, frames: Sequence[Mapping[str, Any]]) -> bytes:
    return binary("media", data, key=key, frames=list(frames))


def frames(facts: Sequence[Mapping[str, Any]]) -> str:
    """What a media message says of its frames, for a page that gets them by WebRTC."""
    return text("frames", frames=list(facts))


def times(explanation: Explanation) -> tuple[float, float]:
    """Seconds from the stream's zero of a window's first and last frame."""
    first, last = (round(float(pts * explanation.time_base), 6) for pts in explanation.pts)
    return first, last


def names_of(scores: Iterable[ClassScore]) -> dict[str, str]:
    """Class index -> name, as JSON has it."""
    return {str(score.id): score.name for score in scores}


def _score(score: ClassScore) -> dict[str, Any]:
    return {"id": score.id, "name": score.name, "p": score.probability, "logit": score.logit}


def as_json(record: Any) -> str:
    """JSON in one line, in which numbers that are none are null."""
    return json.dumps(_told(record), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _told(value: Any) -> Any:
    """The value as JSON can have it: null for what is not a number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _told(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_told(one) for one in value]
    return value
