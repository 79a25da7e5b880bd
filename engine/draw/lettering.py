"""A line of text in any script, drawn by FreeType (through Pillow) with the fonts that come with the package.

The fonts are in the package so that a text looks the same on every machine. Scripts in SHAPED need Pillow's "raqm",
which not every machine has: without it their letters are drawn one by one, in the order of the text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..picture import F32
from .fonts import BITMAP, CAPITAL, LATIN, SHAPED, font_of, has, has_raqm, sized
from .rtl import is_right_to_left, spans, visual_order

BELOW = 0.34
"""Room below the line for what hangs down, as in g, as a share of a capital's height; where a letter needs more, it is
more."""
MISSING = "\u25a1"
"""a box, for a character that no font has"""
LONGEST = 20_000
"""maximum number of characters of a text; the rest is left out"""


@dataclass(frozen=True)
class _Run:
    """A part of a line that one font draws."""

    font: str
    """of FONTS"""
    text: str
    """in the order in which it stands on the line, from left to right"""


def lettering(text: str, height: float) -> F32:
    """White on nothing, [h, w] 0..1, capitals `height` pixels high.

    Above it ends with a capital's height and below with BELOW, unless letters of this text reach further. Control
    characters are drawn as spaces. The text is never broken.
    """
    pieces = [_Piece.of(run, height) for run in _runs(text)]
    boxes = [piece.font.getbbox(piece.text, anchor="ls") for piece in pieces]
    above = max([round(height), *(-int(box[1]) for box in boxes)])
    below = max([round(BELOW * height), *(int(box[3]) for box in boxes)])
    left, at = 1, 0.0
    starts = []
    for piece, box in zip(pieces, boxes, strict=True):
        left = max(left, -int(box[0] + at))
        starts.append(round(at))
        at += piece.width
    right = max([round(at), *(int(start + box[2]) for start, box in zip(starts, boxes, strict=True))])
    image = Image.new("L", (left + right + 1, above + below))
    draw = ImageDraw.Draw(image)
    for piece, start in zip(pieces, starts, strict=True):
        draw.text((left + start, above), piece.text, 255, piece.font, anchor="ls")
    return np.asarray(np.asarray(image, np.float32) / 255, np.float32)


def width_of(text: str, height: float) -> float:
    """The approximate width of `lettering` in pixels, without drawing it."""
    return 2 + sum(_Piece.of(run, height).width for run in _runs(text))


@dataclass(frozen=True)
class _Piece:
    """A run at its size."""

    font: ImageFont.FreeTypeFont
    text: str

    @classmethod
    def of(cls, run: _Run, height: float) -> _Piece:
        size = height / CAPITAL
        if run.font in BITMAP:  # a bitmap font is sharp only at whole multiples of its size
            size = 16.0 * max(1, round(size / 16))
        if run.font in SHAPED and has_raqm():
            return cls(sized(run.font, size, ImageFont.Layout.RAQM), run.text)
        text = run.text if run.text.isascii() else "".join(char for char in run.text if not _is_invisible(char))
        return cls(sized(run.font, size, ImageFont.Layout.BASIC), text)

    @property
    def width(self) -> float:
        return float(self.font.getlength(self.text))


@lru_cache(maxsize=64)
def _runs(text: str) -> tuple[_Run, ...]:
    """The parts of a line as they stand side by side, from left to right."""
    if text.isascii() and text.isprintable():  # most are
        return (_Run(LATIN, text[:LONGEST]),)
    line = "".join(visual_order(span) if is_right_to_left(span) else span for span in spans(_cleaned(text)))
    return tuple(_by_font(line))


def _cleaned(text: str) -> str:
    """With accents in their letters where there are such letters, and a space for each control character."""
    composed = unicodedata.normalize("NFC", text[:LONGEST])
    return "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in composed)


def _by_font(text: str) -> Iterator[_Run]:
    font = held = ""
    for char in text:
        found = font_of(char)
        joins = _is_invisible(char) or (unicodedata.category(char)[0] == "M" and font and has(font, ord(char)))
        if not found and not joins:
            found, char = LATIN, MISSING
        if joins or found == font:
            held += char
            continue
        if held:
            yield _Run(font or LATIN, held)
        font, held = found or LATIN, char
    if held:
        yield _Run(font or LATIN, held)


def _is_invisible(char: str) -> bool:
    """Whether a character only says how its neighbours are to be drawn: joiners, marks of direction, variations."""
    code = ord(char)
    formats = unicodedata.category(char) == "Cf" and unicodedata.bidirectional(char) != "AN"  # Arabic's are drawn
    return formats or 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
