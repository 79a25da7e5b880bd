"""A contact sheet: some frames of a run side by side in one picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ...engine.errors import SinkError
from ...engine.picture import U8
from ...engine.types import Shown

COLUMNS = 3
WIDTH = 480
"""Width of each picture in pixels."""
GAP = 6


class ContactSheet:
    """Keeps `count` small pictures of a run, evenly spread over its `total` frames, and writes them as one PNG."""

    def __init__(self, total: int, count: int = 9) -> None:
        self._wanted = {int((i + 0.5) * total / count) for i in range(count)}
        self._pictures: list[U8] = []

    def add(self, shown: Shown) -> None:
        """Takes the next frame of the run."""
        if shown.frame.index in self._wanted:
            picture = shown.frame.picture
            aspect = picture.width * float(shown.frame.pixel_aspect) / picture.height
            self._pictures.append(picture.rgb((WIDTH, max(1, round(WIDTH / aspect)))))

    def write(self, path: Path) -> None:
        """Writes the sheet. Raises SinkError if it cannot, or if there was no frame."""
        if not self._pictures:
            raise SinkError(f"cannot write {path}: there was no frame to show")
        height = self._pictures[0].shape[0]
        rows = -(-len(self._pictures) // COLUMNS)
        sheet = np.full((rows * (height + GAP) + GAP, COLUMNS * (WIDTH + GAP) + GAP, 3), 255, np.uint8)
        for index, picture in enumerate(self._pictures):
            top = GAP + index // COLUMNS * (height + GAP)
            left = GAP + index % COLUMNS * (WIDTH + GAP)
            sheet[top : top + height, left : left + WIDTH] = picture
        try:
            path.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
        except OSError as error:
            raise SinkError(f"cannot write {path}: {error.strerror}") from None
