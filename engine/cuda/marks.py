"""The records that kernels/marks.cu reads: the caption and the outline, as the host draws them, for one surface.

Pure: numbers in, records out. The memory behind the addresses belongs to the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ..draw.caption import Patch
from ..draw.fixed import Record
from ..draw.outline import Line
from ..picture import F32
from .jobs import MOST_PLANES, PLANES, Format, Surface

MOST_LINES, MOST_COLORS, THREADS = 8, 2, 256
"""Constants of kernels/marks.cu: rectangles of a plane, their colours, threads of a block."""

BOX = np.dtype([(name, "u2") for name in ("top", "left", "rows", "columns")])
MARKED_PLANE = np.dtype(
    [("data", "u8"), ("pitch", "i8"), ("cover", "u8"), ("patch", BOX)]
    + [(name, "u1") for name in ("sample_bytes", "channels", "drawn", "line_count", "first_lines")]
    + [("unused", "u1", 3), ("colors", "u2", (MOST_COLORS, 4)), ("lines", BOX, MOST_LINES)]
)
MARKS = np.dtype([("planes", MARKED_PLANE, MOST_PLANES), ("plane_count", "i4"), ("unused", "i4")])


@dataclass(frozen=True, eq=False)
class PackedPatches:
    """A caption's patches in one array, as the kernel reads them."""

    data: F32
    """for each plane how much is kept of each sample, [h, w], then what is added to it, [h, w, channels]"""
    boxes: tuple[tuple[int, int, int, int], ...]
    """of each plane: top, left, rows, columns"""
    offsets: tuple[int, ...]
    """of each plane: bytes from the start of `data` to its own"""


def packed(patches: Sequence[Patch], format: Format) -> PackedPatches:
    """The patches of `caption.caption_patches` for a surface of this format, whose channels may have another order and
    whose samples may have ten bits."""
    parts, boxes, offsets, size = list[F32](), [], [], 0
    for patch in patches:
        kept, added = 1 - patch.cover[..., 0], patch.added  # as caption.draw_caption computes it
        if format in (Format.BGR, Format.BGRA):
            added = added[..., ::-1]
        if format is Format.P010:
            added = 4 * added
        boxes.append((patch.top, patch.left, *kept.shape))
        offsets.append(4 * size)
        size += kept.size + added.size
        parts += [kept.ravel(), added.ravel()]
    return PackedPatches(np.concatenate(parts, dtype=np.float32), tuple(boxes), tuple(offsets))


def marks_of(surface: Surface, patches: PackedPatches | None, lines: Sequence[Line]) -> tuple[Record, int]:
    """The record for surfaces like this one, and its number of blocks.

    The addresses of the planes are 0, and those of the patches are `PackedPatches.offsets`. Lines of one plane and
    colour must follow each other, as those of `outline.outline_lines` do.
    """
    made: Record = np.zeros((), MARKS)
    forms, blocks = PLANES[surface.format], 0
    made["plane_count"] = len(forms)
    for index, (form, place) in enumerate(zip(forms, surface.places, strict=True)):
        record = made["planes"][index]
        record["pitch"], record["sample_bytes"] = place.pitch, form.sample_bytes
        record["channels"], record["drawn"] = form.channels, min(form.channels, 3)
        if patches is not None:
            record["patch"], record["cover"] = patches.boxes[index], patches.offsets[index]
            blocks += _blocks(*patches.boxes[index][2:])
        own = [line for line in lines if line.plane == index]
        record["line_count"] = len(own)
        for number, (color, same) in enumerate(groupby(own, lambda line: line.value.tobytes())):
            value = np.frombuffer(color, np.uint8)[:: -1 if surface.format in (Format.BGR, Format.BGRA) else 1]
            record["colors"][number, : len(value)] = value.astype(np.uint16) << (8 if form.sample_bytes > 1 else 0)
            if number == 0:
                record["first_lines"] = len(list(same))
        for number, line in enumerate(own):
            top, left, rows, columns = _box(line.rows, line.columns)
            record["lines"][number] = top, left, rows, columns
            blocks += _blocks(rows, columns)
    return made, blocks


def _box(rows: slice, columns: slice) -> tuple[int, int, int, int]:
    return rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start


def _blocks(rows: int, columns: int) -> int:
    return -(-rows * columns // THREADS)
