"""The fonts that come with the package: which has a character, and each at a size."""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ImageFont, features

FOLDER = Path(__file__).parents[1] / "assets" / "fonts"
LATIN = "DejaVuSans.ttf"
SHAPED = tuple(
    f"NotoSans{script}.ttf"
    for script in (
        *("Bengali", "Devanagari", "Gujarati", "Gurmukhi", "Kannada", "Khmer", "Malayalam", "Myanmar", "Oriya"),
        *("Sinhala", "Tamil", "Telugu", "Thai"),
    )
)
"""fonts of scripts whose letters change their shape or place beside others"""
BITMAP = ("Unifont.otf", "UnifontUpper.otf")
"""bitmap fonts of 16 dots to an em, for characters that no other font has"""
FONTS = ("NotoEmoji.ttf", LATIN, *SHAPED, "NotoSansEthiopic.ttf", "DroidSansFallback.ttf", *BITMAP)
"""in the order in which they are asked: the first font that has a character draws it"""
CAPITAL = 1493 / 2048
"""height of a capital of LATIN, as a share of its em"""


@lru_cache(maxsize=4096)
def font_of(char: str) -> str:
    """The first of FONTS that has a character; empty: none has."""
    return next((name for name in FONTS if has(name, ord(char))), "")


def has(name: str, code: int) -> bool:
    """Whether one of FONTS has a character, by its code point."""
    firsts, lasts = coverage(name)
    at = bisect_right(firsts, code) - 1
    return at >= 0 and code <= lasts[at]


@lru_cache(maxsize=len(FONTS))
def coverage(name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First and last code point of each range of characters that a font has, ascending.

    From its table `cmap` in format 12 (OpenType 1.9, "cmap"), which each of FONTS has.
    """
    with (FOLDER / name).open("rb") as file:
        _, tables = struct.unpack(">IH", file.read(6))
        file.seek(12)
        records = [struct.unpack(">4sIII", file.read(16)) for _ in range(tables)]
        offset, length = next((offset, length) for tag, _, offset, length in records if tag == b"cmap")
        file.seek(offset)
        cmap = file.read(length)
    (count,) = struct.unpack_from(">H", cmap, 2)
    for index in range(count):
        (at,) = struct.unpack_from(">I", cmap, 4 + 8 * index + 4)
        if struct.unpack_from(">H", cmap, at) == (12,):
            (groups,) = struct.unpack_from(">I", cmap, at + 12)
            ranges = np.frombuffer(cmap, ">u4", 3 * groups, at + 16).reshape(-1, 3)
            return tuple(ranges[:, 0].tolist()), tuple(ranges[:, 1].tolist())
    raise ValueError(f"{name} has no cmap of format 12")


@lru_cache(maxsize=1)
def has_raqm() -> bool:
    """Whether Pillow can shape text: it needs FriBiDi, which some systems lack."""
    return bool(features.check("raqm"))


@lru_cache(maxsize=256)
def sized(name: str, size: float, layout: ImageFont.Layout) -> ImageFont.FreeTypeFont:
    """One of FONTS, `size` pixels to the em."""
    return ImageFont.truetype(FOLDER / name, size, layout_engine=layout)
