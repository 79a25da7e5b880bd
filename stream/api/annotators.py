"""Draws explanations on the pictures of a program that has a loop of its own, as supervision's annotators do."""

from __future__ import annotations

import numpy as np
from saliency_tubes.engine.draw.caption import Caption, draw_caption
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.picture import U8, Layout, Picture
from saliency_tubes.stream.app.config import read_preset
from saliency_tubes.stream.sources.arrays import checked_rgb

from .explanation import Explanation


class TubeAnnotator:
    """Draws an explanation on a scene. It is used like the annotators of `supervision`, which need not be installed.

        annotator = TubeAnnotator()
        scene = annotator.annotate(scene=frame.copy(), explanation=explainer.latest)

    Scenes are BGR, as OpenCV and supervision have them; everything else in this package is RGB. One thread may use it
    at a time.
    """

    def __init__(self, preset: Style | str | None = None, *, caption: bool = True, opacity: float = 1.0) -> None:
        """preset: a `Style`, or the name of one of `PRESETS`; None: the style of each explanation.

        caption: write the class and its colour bar in the upper left corner. opacity: 0 (nothing is drawn) to 1; lower
        it where evidence grows old.

        Raises UsageError for an unknown preset, and for an opacity out of range.
        """
        if not 0 <= opacity <= 1:
            raise UsageError(f"opacity must be between 0 and 1, got {opacity:g}")
        self._style = read_preset(preset) if isinstance(preset, str) else preset
        self._caption, self._opacity = caption, opacity
        self._overlay: Overlay | None = None

    def annotate(self, scene: U8, explanation: Explanation | None, frame: float | None = None) -> U8:
        """The scene, BGR [H, W, 3] uint8, with the explanation drawn on it in place; the same array is returned.

        explanation: None, as `Explainer.latest` is before the first window is full: the scene is left as it is.
        frame: the index of the frame whose evidence is drawn; None: the newest that can be trusted.
        Raises UsageError for an array of another shape or type.
        """
        checked_rgb(scene, "scene")
        if explanation is None:
            return scene
        picture = Picture(Layout.RGB, (np.ascontiguousarray(scene[..., ::-1]),))
        overlay = self._made_for(explanation)
        at = explanation.newest if frame is None else frame
        overlay.draw(picture, overlay.blend([(explanation, 1.0)], at, self._opacity), explanation.tube.crop)
        if self._caption:
            draw_caption(picture, Caption.of(explanation, overlay.style), overlay.style, opacity=self._opacity)
        scene[...] = picture.planes[0][..., ::-1]
        return scene

    def _made_for(self, explanation: Explanation) -> Overlay:
        style = self._style or explanation.style
        if self._overlay is None or self._overlay.style != style:
            self._overlay = Overlay(style)
        return self._overlay
