"""H.264 in fragmented MP4, one frame a fragment, as a browser's Media Source Extensions take it. Pure: bytes to bytes.

Boxes are those of ISO/IEC 14496-12, and avc1 and avcC those of 14496-15. FFmpeg's muxer writes the same, but only when
it knows the next frame: each would leave one frame later.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

TIMESCALE = 1_000_000
"""Ticks a second of media time: a browser counts in microseconds."""

_SEQUENCE, _PICTURE = 7, 8
"""Types of the units with the parameter sets, ITU-T H.264, table 7-1."""
_IN_BAND = {_SEQUENCE, _PICTURE, 9}
"""Types of units that are left out of samples: parameter sets, which avcC has, and delimiters."""
_SIMPLE = {66, 77, 88}
"""Profiles whose configuration record does not tell the sampling of colours."""
_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_KEY, _DEPENDENT = 0x02000000, 0x01010000
"""Flags of a sample: it depends on no other; it depends on others and is no sync sample."""


def units(data: bytes) -> list[bytes]:
    """The units of a byte stream in Annex B's form (ITU-T H.264, annex B.1), without start codes and empty ones."""
    found, start = [], data.find(b"\0\0\1")
    while start >= 0:
        end = data.find(b"\0\0\1", start + 3)
        unit = data[start + 3 : end if end >= 0 else len(data)].rstrip(b"\0")
        if unit:
            found.append(unit)
        start = end
    return found


@dataclass(frozen=True)
class Track:
    """What is the same for all fragments of a video."""

    size: tuple[int, int]
    """width and height as coded, in pixels"""
    pixel_aspect: tuple[int, int]
    """width : height of one pixel"""
    header: bytes
    """sequence and picture parameter sets in Annex B's form"""

    def __post_init__(self) -> None:
        kinds = {unit[0] & 31 for unit in units(self.header)}
        if not {_SEQUENCE, _PICTURE} <= kinds:
            raise ValueError(f"the encoder gave no parameter sets, but units of the types {sorted(kinds)}")

    @property
    def codec(self) -> str:
        """The name of the codec for a browser, with profile, constraints and level (RFC 6381)."""
        return f"avc1.{self._sets(_SEQUENCE)[0][1:4].hex()}"

    def init(self) -> bytes:
        """The initialization segment: ftyp and moov."""
        return _box(b"ftyp", b"iso6", _u32(0), b"iso6avc1") + _moov(self)

    def fragment(self, number: int, time: int, duration: int, key: bool, packet: bytes) -> bytes:
        """moof and mdat of one frame. number: of the fragment, from 1 on. time, duration: in ticks of TIMESCALE.

        packet: the frame in Annex B's form.
        """
        sample = b"".join(_u32(len(unit)) + unit for unit in units(packet) if unit[0] & 31 not in _IN_BAND)
        header = _full(b"tfhd", 0, 0x020000, _u32(1))  # offsets are counted from the moof
        decode = _full(b"tfdt", 1, 0, struct.pack(">Q", time))
        flags = _KEY if key else _DEPENDENT
        # data offset, and for each sample its duration, size and flags
        run = struct.pack(">IIIII", 1, 0, duration, len(sample), flags)
        whole = _moof(number, header, decode, run)
        run = struct.pack(">IIIII", 1, len(whole) + 8, duration, len(sample), flags)
        return _moof(number, header, decode, run) + _box(b"mdat", sample)

    def _sets(self, kind: int) -> list[bytes]:
        return [unit for unit in units(self.header) if unit[0] & 31 == kind]

    def avcc(self) -> bytes:
        """The decoder configuration record (ISO/IEC 14496-15, section 5.3.3)."""
        sequence, picture = self._sets(_SEQUENCE), self._sets(_PICTURE)
        sets = [bytes([0xE0 | len(sequence)]), *map(_sized, sequence), bytes([len(picture)]), *map(_sized, picture)]
        more = b"" if sequence[0][1] in _SIMPLE else b"\xfd\xf8\xf8\0"  # 4:2:0, 8 bits, no extensions
        return b"\1" + sequence[0][1:4] + b"\xff" + b"".join(sets) + more


def _moof(number: int, header: bytes, decode: bytes, run: bytes) -> bytes:
    return _box(
        b"moof",
        _full(b"mfhd", 0, 0, _u32(number)),
        _box(b"traf", header, decode, _full(b"trun", 0, 0x000701, run)),
    )


def _moov(track: Track) -> bytes:
    width, height = track.size
    shown = round(width * track.pixel_aspect[0] / track.pixel_aspect[1])
    times = _u32(0) * 2  # of creation and of modification
    movie = struct.pack(">IIIH10x", TIMESCALE, 0, 0x10000, 0x100) + _MATRIX + bytes(24) + _u32(2)
    track_header = times + _u32(1) + bytes(24) + _MATRIX + struct.pack(">II", shown << 16, height << 16)
    return _box(
        b"moov",
        _full(b"mvhd", 0, 0, times, movie),
        _box(
            b"trak",
            _full(b"tkhd", 0, 3, track_header),
            _box(
                b"mdia",
                _full(b"mdhd", 0, 0, times, struct.pack(">IIHH", TIMESCALE, 0, 0x55C4, 0)),
                _full(b"hdlr", 0, 0, bytes(4), b"vide", bytes(12), b"\0"),
                _minf(track),
            ),
        ),
        _box(b"mvex", _full(b"trex", 0, 0, _u32(1), _u32(1), bytes(12))),
    )


def _minf(track: Track) -> bytes:
    tables = [
        _full(b"stsd", 0, 0, _u32(1), _avc1(track)),
        _full(b"stts", 0, 0, _u32(0)),
        _full(b"stsc", 0, 0, _u32(0)),
        _full(b"stsz", 0, 0, _u32(0), _u32(0)),
        _full(b"stco", 0, 0, _u32(0)),
    ]
    source = _box(b"dinf", _full(b"dref", 0, 0, _u32(1), _full(b"url ", 0, 1)))
    return _box(b"minf", _full(b"vmhd", 0, 1, bytes(8)), source, _box(b"stbl", *tables))


def _avc1(track: Track) -> bytes:
    width, height = track.size
    entry = bytes(6) + struct.pack(">H16xHHIII", 1, width, height, 0x480000, 0x480000, 0)
    entry += struct.pack(">H32xHh", 1, 24, -1)
    aspect = _box(b"pasp", struct.pack(">II", *track.pixel_aspect))
    return _box(b"avc1", entry, _box(b"avcC", track.avcc()), aspect)


def _box(kind: bytes, *parts: bytes) -> bytes:
    payload = b"".join(parts)
    return _u32(8 + len(payload)) + kind + payload


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, _u32(version << 24 | flags), *parts)


def _sized(unit: bytes) -> bytes:
    return struct.pack(">H", len(unit)) + unit


def _u32(value: int) -> bytes:
    return struct.pack(">I", value)
