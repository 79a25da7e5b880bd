"""Writes the colour maps as the page has them: `python -m saliency_tubes.stream.web.colormaps FILE`, by `make page`."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import numpy as np

from ...engine.draw.style import COLORMAPS, colors

HEAD = "// Made by `make page` from engine/draw/style.py: 256 colours each, red, green and blue, in base64."


def typescript() -> str:
    """The file's text."""
    maps = {name: np.rint(colors(name)).astype(np.uint8).tobytes() for name in COLORMAPS}
    lines = [f'  {name}: "{base64.b64encode(data).decode()}",' for name, data in maps.items()]
    return "\n".join([HEAD, "", "export const COLORMAPS: Record<string, string> = {", *lines, "};", ""])


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(typescript(), encoding="utf-8")
