"""The caption: class, probability and a colour bar, drawn on a picture in its own planes, in place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from ..picture import F32, Color, Layout, Picture
from ..types import ClassScore, Explanation
from .lettering import lettering, width_of
from .overlay_ref import CHANNELS
from .style import Style, palette

LINES_PER_FRAME = 30
"""The frame's height divided by this is that of capitals, in pixels; but SMALLEST at least."""
SMALLEST = 9
"""minimum height of capitals in pixels"""
SMALLEST_NUMBER = 8
"""minimum height in pixels of the digits beside the colour bar: the strokes of smaller ones run into one another"""
MOST_LINES = 3
"""maximum number of lines of a label that is too long for one line of SMALLEST letters; a still longer one gets smaller
letters"""
NOTE = 0.7
"""height of capitals in a note, as a share of those in the name of a class"""
_WORD = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]\s*|[^\s\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]*\s*")
"""what stays on one line: a word, or one character of Chinese or Japanese, with the space after it"""
BACKGROUND = 0.55
"""opacity of the dark box behind the text"""


@dataclass(frozen=True)
class Caption:
    """What is written."""

    text: str
    low: str = ""
    high: str = ""
    """at the two ends of the colour bar: evidence in logits, or words; where neither is given it is a note: small,
    without a bar"""

    @classmethod
    def of(cls, explanation: Explanation, style: Style) -> Caption:
        text = " vs ".join(_score(score) for score in explanation.explained)
        if style.focus:  # each frame has its own
            return cls(text, "least", "most")
        return cls(text, f"{explanation.scale.low:.1f}", f"{explanation.scale.high:.1f}")

    @classmethod
    def of_age(cls, age: float) -> Caption:
        """Why there is little or nothing to see: evidence that is `age` seconds old."""
        return cls(f"evidence {age:.1f} s old" if age < 10 else f"evidence {age:.0f} s old")

    @classmethod
    def of_waiting(cls, seconds: float) -> Caption:
        """Why there is nothing to see: no evidence has come for so many seconds."""
        return cls(f"no evidence yet, {seconds:.0f} s")

    @property
    def is_note(self) -> bool:
        return not (self.low or self.high)


def draw_caption(
    picture: Picture, caption: Caption, style: Style, pixel_aspect: float = 1.0, opacity: float = 1.0
) -> None:
    """Draws in the upper left corner, in place. opacity: 0 (nothing) to 1, for explanations that grow old."""
    size = (picture.height, picture.width)
    patches = caption_patches(caption, style, picture.layout, picture.color, size, pixel_aspect)
    for plane, patch in zip(picture.planes, patches, strict=True):
        height, width, _ = patch.added.shape
        part = plane[patch.top : patch.top + height, patch.left : patch.left + width]
        samples = part.reshape(patch.added.shape)
        samples[...] = np.clip(samples * (1 - opacity * patch.cover) + opacity * patch.added + 0.5, 0, 255)


@dataclass(frozen=True, eq=False)
class Patch:
    """The caption's part of one plane, which lies within it: sample -> floor(sample * (1 - cover) + added + 0.5),
    limited to 0..255, each step rounded to float32."""

    top: int
    left: int
    cover: F32
    """[h, w, 1], 0..1"""
    added: F32
    """[h, w, channels], in the plane's own samples"""


def caption_patches(
    caption: Caption, style: Style, layout: Layout, color: Color, size: tuple[int, int], pixel_aspect: float = 1.0
) -> tuple[Patch, ...]:
    """The caption as a patch for each plane of a picture of `size` = (height, width). The same object for the same
    arguments, as long as few others come between: what lies on a device is kept by it."""
    return _patches(caption, style, layout, color, size, round(pixel_aspect, 3))


def _score(score: ClassScore) -> str:
    return f"{score.name.strip() or f'class {score.id}'} {score.probability:.2f}"


@lru_cache(maxsize=16)
def _patches(
    caption: Caption, style: Style, layout: Layout, color: Color, size: tuple[int, int], pixel_aspect: float
) -> tuple[Patch, ...]:
    note = caption.is_note
    cover, rgb = _render_note(caption.text, size, pixel_aspect) if note else _render(caption, style, size, pixel_aspect)
    margin = max(2, size[0] // 60 // 2 * 2)
    values = rgb if layout is Layout.RGB else cv2.transform(rgb, np.column_stack(color.rgb_to_yuv()).astype(np.float32))
    values = values * cover
    made = list[Patch]()
    for index, (channels, plane) in enumerate(zip(CHANNELS[layout], layout.shapes(size[::-1]), strict=True)):
        step = 2 if layout is not Layout.RGB and index else 1
        shape = (cover.shape[1] // step, cover.shape[0] // step)
        # the mean of the pixels that a sample covers
        small = (cv2.resize(part, shape, interpolation=cv2.INTER_AREA) for part in (cover, values[..., channels]))
        covered, added = (np.asarray(part, np.float32).reshape(shape[1], shape[0], -1) for part in small)
        top, left = min(margin // step, plane[0]), min(margin // step, plane[1])
        inside = np.s_[: plane[0] - top, : plane[1] - left]
        made.append(Patch(top, left, covered[inside], added[inside]))
    return tuple(made)


def _render(caption: Caption, style: Style, size: tuple[int, int], pixel_aspect: float) -> tuple[F32, F32]:
    """cover [h, w, 1] 0..1 and RGB [h, w, 3] 0..255, float32, both sides even."""
    height = float(max(SMALLEST, size[0] / LINES_PER_FRAME))
    widest = max(16.0, size[1] * pixel_aspect * 0.94 - 1.6 * height)
    text = _label(caption.text, height, math.ceil(widest))
    low, high = (_number(number, max(SMALLEST_NUMBER, 0.7 * height)) for number in (caption.low, caption.high))
    pad, bar_height = round(0.5 * height), max(4, round(0.6 * height))
    gap = pad // 3  # a line of text ends with room for what hangs below it
    bar_width = round(6 * height)
    second = low.shape[1] + bar_width + high.shape[1] + 2 * pad
    total_width = _even(max(text.shape[1], second) + 2 * pad)
    total_height = _even(text.shape[0] + max(low.shape[0], bar_height) + 2 * pad + gap)
    cover = np.full((total_height, total_width), BACKGROUND, np.float32)
    rgb = np.zeros((total_height, total_width, 3), np.float32)
    _paste(cover, rgb, text, pad, pad)
    middle = pad + text.shape[0] + gap + max(low.shape[0], bar_height) // 2
    _paste(cover, rgb, low, middle - low.shape[0] // 2, pad)
    left = pad + low.shape[1] + pad
    _paste(cover, rgb, high, middle - high.shape[0] // 2, left + bar_width + pad)
    area = np.s_[middle - bar_height // 2 : middle - bar_height // 2 + bar_height, left : left + bar_width]
    cover[area], rgb[area] = 1.0, _bar(style, bar_width)
    return _as_shown(cover, rgb, pixel_aspect)


def _label(text: str, height: float, widest: int) -> F32:
    """Of `text`, at most `widest` pixels wide: by smaller letters, down to SMALLEST, then more lines, then smaller."""
    width = width_of(text, height)
    if width <= widest:
        return lettering(text, height)[:, :widest]
    height = min(height, max(SMALLEST, height * widest / width))
    broken = _broken(text, height, widest)
    needed = max(width_of(line, height) for line in broken)
    if needed > widest:
        height = max(2.0, height * widest / needed)
    lines = [lettering(line, height)[:, :widest] for line in broken]
    width = max(line.shape[1] for line in lines)
    return np.concatenate([np.pad(line, ((0, 0), (0, width - line.shape[1]))) for line in lines])


def _broken(text: str, height: float, widest: int) -> list[str]:
    """The text in lines, broken where words end, each as full as fits, but for the last of MOST_LINES."""
    lines = [""]
    for word in _WORD.findall(text):
        longer = lines[-1] + word
        if lines[-1].strip() and len(lines) < MOST_LINES and width_of(longer.rstrip(), height) > widest:
            lines.append(word)
        else:
            lines[-1] = longer
    return [line.strip() for line in lines]


def _number(text: str, height: float) -> F32:
    """As `lettering`, without the room below the line, where digits have nothing."""
    image = lettering(text, height)
    return image[: int(np.flatnonzero(image.any(axis=1)).max(initial=0)) + 1]


def _render_note(text: str, size: tuple[int, int], pixel_aspect: float) -> tuple[F32, F32]:
    """As `_render`."""
    height = float(max(SMALLEST, NOTE * size[0] / LINES_PER_FRAME))
    pad = round(0.5 * height)
    line = _label(text, height, math.ceil(max(16.0, size[1] * pixel_aspect * 0.94 - 2 * pad)))
    # a line of text ends with room for what hangs below it
    shape = [_even(line.shape[0] + pad + pad // 2), _even(line.shape[1] + 2 * pad)]
    cover = np.full(shape, BACKGROUND, np.float32)
    rgb = np.zeros((*shape, 3), np.float32)
    _paste(cover, rgb, line, pad, pad)
    return _as_shown(cover, rgb, pixel_aspect)


def _as_shown(cover: F32, rgb: F32, pixel_aspect: float) -> tuple[F32, F32]:
    """As wide as it must be for pixels of another shape, both sides still even."""
    height, width = cover.shape
    target = (max(2, round(width / pixel_aspect / 2) * 2), height)
    cover, rgb = (
        np.asarray(cv2.resize(part, target, interpolation=cv2.INTER_AREA), np.float32) for part in (cover, rgb)
    )
    return cover[..., None], rgb


def _even(side: int) -> int:
    """Both sides are even, as planes of half the size need them. Room is added: letters resized would be blurred."""
    return (side + 1) // 2 * 2


def _paste(cover: F32, rgb: F32, text: F32, top: int, left: int) -> None:
    area = np.s_[top : top + text.shape[0], left : left + text.shape[1]]
    cover[area] += (1 - cover[area]) * text
    rgb[area] = 255 * (text / cover[area])[..., None]


@lru_cache(maxsize=16)
def _bar(style: Style, width: int) -> F32:
    """The levels from 0 to 1 as they look over mid-grey, [1, width, 3]."""
    table = palette(style, Layout.RGB, Color())
    level = np.rint(np.linspace(0, 255, width)).astype(int)
    bar: F32 = np.clip(96 * table.keep[level, None] + table.add[level], 0, 255)[None].astype(np.float32)
    return bar
