"""How large a picture may be, and the message about one that is larger. Pure."""

from __future__ import annotations

Size = tuple[int, int]
"""width, height; pixels"""


def exceeds(size: Size, most: Size) -> bool:
    """Whether a picture of `size` has more pixels than one of `most`. Its width or height alone may be larger."""
    return size[0] * size[1] > most[0] * most[1]


def too_large(size: Size, most: Size) -> str:
    """The message about a picture of `size` that has too many pixels."""
    return f"a picture of {size[0]}x{size[1]} has more pixels than --max-size {most[0]}x{most[1]} allows"


def coded_size(kind: str, data: bytes) -> Size | None:
    """The size in the head of a coded picture, for formats that GStreamer decodes without a parser in front.

    kind: image/jpeg, image/png or video/x-vp8. None: the size is not in these bytes, or another kind was given.
    """
    if kind == "image/jpeg":
        return _jpeg_size(data)
    if kind == "image/png":
        return (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) if len(data) >= 24 else None
    if kind == "video/x-vp8" and data[3:6] == b"\x9d\x01\x2a" and len(data) >= 10:  # RFC 6386, section 9.1
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return None


def _jpeg_size(data: bytes) -> Size | None:
    """The size in a JPEG's frame header, ITU-T T.81, section B.2.2."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
