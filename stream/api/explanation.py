"""Explanations that can draw themselves, for people at a prompt or in a notebook."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field, fields
from html import escape
from typing import Any

import cv2
import numpy as np
from saliency_tubes.engine import types
from saliency_tubes.engine.draw.caption import Caption, draw_caption
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.geometry import plane_weights
from saliency_tubes.engine.picture import F32, U8, Layout, Picture
from saliency_tubes.stream.sources.arrays import checked_rgb


@dataclass(frozen=True, eq=False)
class Explanation(types.Explanation):
    """What one window says: the class, the evidence for it, and which frames it is about.

    explanation.label                  # "juggling soccer ball"
    explanation.explained[0]           # ClassScore: id, name, probability, logit
    explanation.tube.evidence          # [t, h, w] float32, in logits, as the network has it
    explanation.heatmap()              # [H, W] float32, 0..1, as it is drawn
    explanation.overlay(rgb)           # [H, W, 3] uint8, drawn on a copy of the frame
    """

    style: Style = Style()
    """how it is drawn unless another style is asked for; its scale was made for this one"""
    size: tuple[int, int] | None = None
    """width and height, in pixels, of the frames that it explains; None where nobody said"""
    rgb: U8 | None = field(default=None, repr=False)
    """the newest frame of its window, RGB [H, W, 3] uint8, where `Explainer` kept it; else None"""

    @classmethod
    def of(
        cls,
        given: types.Explanation,
        *,
        style: Style | None = None,
        size: tuple[int, int] | None = None,
        rgb: U8 | None = None,
    ) -> Explanation:
        """The same explanation as one that can draw itself: outputs are told of plain ones.

        style: None: the default one. The rest as the fields.
        """
        return cls(**_values(given) | {"style": style or Style(), "size": size, "rgb": rgb})

    @property
    def newest(self) -> float:
        """The frame number, between frames as a rule, whose evidence is the newest that can be trusted: the centre of
        the last of the time slices that zero padding does not spoil."""
        tube = self.tube
        return tube.span.slice_center(tube.trusted[1] - 1, len(tube.evidence))

    def heatmap(self, frame: float | None = None, size: tuple[int, int] | None = None) -> F32:
        """The evidence at one frame as it is drawn there: [H, W] float32, 0..1.

        0 where there is none, or where the network did not look; 1 the strongest by the style's `normalize`. Drawn,
        what is below the style's `threshold` leaves the picture untouched.

        frame: a frame's index in the stream; None: the newest that can be trusted. Outside of the window it is that of
        its first or last slice. size: width and height in pixels; None: that of the frames.
        Raises UsageError where no size is known.
        """
        width, height = self._size(size)
        cells = self._cells(frame)
        weights = plane_weights(self.style.geometry, cells.shape, self.tube.crop, (height, width), Layout.RGB, 0)
        (top, down), (left, across) = weights
        made = np.zeros((height, width), np.float32)
        drawn = np.clip(np.nan_to_num(down @ cells @ across.T), 0, 1)
        made[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
        return made

    def overlay(self, rgb: U8 | None = None, frame: float | None = None, *, caption: bool = False) -> U8:
        """A frame with the evidence drawn on it: RGB [H, W, 3] uint8, in memory of its own.

        rgb: the frame, RGB [H, W, 3] uint8, of any size but as the network saw it: the same part of the same scene;
        None: the one that was kept. frame: as in `heatmap`. caption: write the class and its colour bar in the corner.
        Raises UsageError for what is no such array, or where none was given and none kept.
        """
        given = self.rgb if rgb is None else rgb
        if given is None:
            raise UsageError("this explanation has kept no frame: overlay(rgb) needs one to draw on")
        picture = Picture(Layout.RGB, (checked_rgb(given, "rgb").copy(),))
        Overlay(self.style).draw(picture, self._cells(frame), self.tube.crop)
        if caption:
            draw_caption(picture, Caption.of(self, self.style), self.style)
        return picture.planes[0]

    def _cells(self, frame: float | None) -> F32:
        """[h, w], 0..1 after interpolation."""
        at = self.newest if frame is None else frame
        return np.asarray(Overlay(self.style).blend([(self, 1.0)], at), np.float32)

    def _size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        chosen = size or self.size
        if chosen is None:
            raise UsageError("the size of the frames is not known: give heatmap(size=(width, height))")
        if min(chosen) < 1:
            raise UsageError(f"size must be 1x1 or more, got {chosen[0]}x{chosen[1]}")
        return chosen

    def _repr_png_(self) -> bytes:
        """For notebooks: the kept frame with the evidence drawn; where none was kept, the time slices side by side."""
        return _png(self.overlay(caption=True) if self.rgb is not None else self._slices())

    def _repr_html_(self) -> str:
        """For notebooks: the same picture over the most probable classes."""
        rows = "".join(
            f"<tr><td>{escape(score.name)}</td><td>{score.probability:.3f}</td><td>{score.logit:.2f}</td></tr>"
            for score in self.top
        )
        image = f'<img alt="{escape(self.label)}" src="data:image/png;base64,{b64encode(self._repr_png_()).decode()}">'
        table = f"<table><tr><th>class</th><th>probability</th><th>logit</th></tr>{rows}</table>"
        return f"<div><p><b>{escape(self.label)}</b></p>{image}{table}</div>"

    def _slices(self, height: int = 112, gap: int = 4) -> U8:
        """Every time slice's heat map on mid-grey, the first at the left: RGB [height, ..., 3] uint8."""
        crop, slices = self.tube.crop, len(self.tube.evidence)
        width, tall = self.size or (1, 1)
        aspect = (crop.right - crop.left) * width / ((crop.bottom - crop.top) * tall)
        whole = types.Crop()
        row = np.full((height, 0, 3), 255, np.uint8)
        for index in range(slices):
            picture = Picture(Layout.RGB, (np.full((height, max(8, round(height * aspect)), 3), 96, np.uint8),))
            Overlay(self.style).draw(picture, self._cells(self.tube.span.slice_center(index, slices)), whole)
            space = np.full((height, gap if index else 0, 3), 255, np.uint8)
            row = np.concatenate([row, space, picture.planes[0]], axis=1)
        return row


@dataclass(frozen=True, eq=False)
class Shown(types.Shown):
    """A frame with its tube drawn, and the explanations that it was drawn from.

    shown.rgb            # [H, W, 3] uint8: the drawn frame
    shown.frame          # Frame: its index, its time, its planes
    shown.explanation    # the Explanation with the largest share in it; None where there was none to draw
    """

    parts: tuple[tuple[Explanation, float], ...] = ()
    """each explanation with its share of the picture; empty where none was there to draw"""

    @property
    def explanation(self) -> Explanation | None:
        """The explanation with the largest share; None where there was none to draw."""
        return max(self.parts, key=lambda part: part[1])[0] if self.parts else None

    def _repr_png_(self) -> bytes:
        """For notebooks."""
        return _png(self.rgb)


class Views:
    """Makes the explanations of a stream into those that can draw themselves: each once, however often it is shown."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[types.Explanation, Explanation]] = {}
        """by the identity of what they were made from, which is kept alive for as long"""

    def shown(self, shown: types.Shown, style: Style) -> Shown:
        """style: that it was drawn in."""
        picture = shown.frame.picture
        size = (picture.width, picture.height)
        made = {id(given): self._of(given, style, size) for given, _ in shown.parts}
        self._made = {id(given): (given, made[id(given)]) for given, _ in shown.parts}
        parts = tuple((made[id(given)], share) for given, share in shown.parts)
        return Shown(**{**_values(shown), "parts": parts})

    def _of(self, given: types.Explanation, style: Style, size: tuple[int, int]) -> Explanation:
        kept = self._made.get(id(given))
        return kept[1] if kept is not None else Explanation.of(given, style=style, size=size)


def _values(item: types.Explanation | types.Shown) -> dict[str, Any]:
    return {one.name: getattr(item, one.name) for one in fields(item)}


def _png(rgb: U8) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1])
