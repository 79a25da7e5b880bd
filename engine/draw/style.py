"""How evidence looks: 256 levels, each with what it keeps of the picture and what it adds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..errors import UsageError
from ..options import check_options, option
from ..picture import F64, Color, Layout
from ..saliency import Normalize

COLORMAPS: dict[str, int | tuple[tuple[int, int, int], ...]] = {
    "cividis": cv2.COLORMAP_CIVIDIS,
    "turbo": cv2.COLORMAP_TURBO,
    "jet": cv2.COLORMAP_JET,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "inferno": cv2.COLORMAP_INFERNO,
}
"""Name -> a colour map of OpenCV's, or two or more RGB colours, 0..255, evenly spaced from weak to strong evidence.
cividis is first because people see the same in it whether or not they are colour-blind."""
RAMP = 0.3
"""The amount of evidence above the threshold over which alpha rises to its full value."""


@dataclass(frozen=True)
class Style:
    """How evidence is drawn, as a user may choose."""

    option_group = "how to show it"

    colormap: str = option("turbo", "the colours of evidence, from weak to strong", choices=tuple(COLORMAPS), live=True)
    alpha: float = option(0.6, "opacity of strong evidence", metavar="A", at_least=0.0, at_most=1.0, live=True)
    threshold: float = option(
        0.2, "weaker evidence leaves the picture untouched", metavar="E", at_least=0.0, at_most=1.0, live=True
    )
    normalize: Normalize = option(
        Normalize(),
        "what full colour means: positive, the strongest evidence in slices that can be trusted; volume, the strongest "
        "in all slices, and no colour the weakest, as in the paper; or fixed:LOW:HIGH in logits",
        default="positive",
        metavar="MODE",
        read=Normalize.parse,
        live=True,
    )
    geometry: str = "linear"
    """linear: cells are areas, blended between their centres; paper: a cubic spline, corner cells on corner pixels"""
    soft: bool = True
    """alpha rises over RAMP from the threshold on; False: a hard edge, and levels and pictures rounded down"""
    add: bool = False
    """colours are added to the picture and not blended with it"""
    focus: bool = False
    """the paper's focus map: the picture darkens where there is little evidence, each frame by its own least and most
    (`focus.py`). `colormap` and `threshold` have no part in it; at alpha 1 the darkest pixels keep 20 of 255"""
    frame: bool = option(False, "draw a thin line around where the network looks", live=True)

    def __post_init__(self) -> None:
        check_options(self)
        if self.geometry not in ("linear", "paper"):
            raise UsageError(f"geometry must be linear or paper, got {self.geometry!r}")
        if self.focus and (self.geometry != "paper" or self.add):
            raise UsageError("a focus map has the geometry paper, and adds nothing to the picture")


_PAPER = Style(colormap="jet", alpha=0.5, geometry="paper", soft=False)
PRESETS = {
    "default": Style(),
    "paper-pytorch": replace(_PAPER, threshold=0.0, normalize=Normalize("volume")),
    "focus": replace(_PAPER, alpha=1.0, threshold=0.0, normalize=Normalize("volume"), soft=True, focus=True),
    "paper-keras": replace(_PAPER, threshold=0.2, normalize=Normalize("positive"), add=True),
}
"""The look for everything, and what the two scripts published with arXiv 1902.01078 draw, to the grey level: their
coloured pictures, and the focus map of the one in PyTorch."""


@dataclass(frozen=True, eq=False)
class Palette:
    """out = floor(keep[level] * picture + add[level]), limited to 0..255, for each sample of a picture."""

    keep: F64
    """[256], 0..1"""
    add: F64
    """[256, 3], in the picture's own samples (R, G, B or Y, U, V), rounding included"""
    first: int
    """the first level that draws; levels below it leave the picture untouched"""
    level_bias: float
    """level = floor(255 evidence + level_bias)"""


def colors(colormap: str) -> F64:
    """The colour map, RGB [256, 3], 0..255."""
    chosen = COLORMAPS[colormap]
    if isinstance(chosen, tuple):
        places = np.linspace(0, 255, len(chosen))
        return np.stack([np.interp(np.arange(256), places, channel) for channel in np.transpose(chosen)], axis=-1)
    ramp = np.arange(256, dtype=np.uint8)
    return np.asarray(cv2.applyColorMap(ramp, chosen).reshape(256, 3)[:, ::-1], np.float64)


def palette(style: Style, layout: Layout, color: Color) -> Palette:
    """The table of a style for pictures of one kind."""
    evidence = np.arange(256) / 255
    if style.focus:
        keep = 1 - style.alpha * (1 - evidence)
        _, offset = (None, np.zeros(3)) if layout is Layout.RGB else color.rgb_to_yuv()
        return Palette(keep, (1 - keep)[:, None] * offset + 0.5, 0, 0.5)
    alpha = np.where(evidence >= style.threshold, style.alpha, 0.0)
    if style.soft:
        alpha *= np.clip((evidence - style.threshold) / RAMP, 0, 1)
    keep = np.ones(256) if style.add else 1 - alpha
    add = alpha[:, None] * colors(style.colormap)
    if layout is not Layout.RGB:
        matrix, offset = color.rgb_to_yuv()
        add = add @ matrix.T + (1 - keep)[:, None] * offset + 0.5
    elif style.soft:
        add += 0.5
    else:
        add = np.floor(add)
    add[alpha == 0] = 0
    drawn = np.flatnonzero(alpha)
    return Palette(keep, add, int(drawn[0]) if len(drawn) else 256, 0.5 if style.soft else 0.0)
