"""Explains the frames of a program that has a loop of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType

from saliency_tubes.engine import types
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.manifest import Manifest
from saliency_tubes.engine.picture import U8, Layout, Picture
from saliency_tubes.engine.preprocess import HostSampler, default_stride
from saliency_tubes.engine.runtimes.base import run_one
from saliency_tubes.engine.runtimes.open import open_runner
from saliency_tubes.engine.saliency import Run, parse_target
from saliency_tubes.stream.app.config import read_preset
from saliency_tubes.stream.pipeline import explainer
from saliency_tubes.stream.pipeline.sync import Gaps
from saliency_tubes.stream.pipeline.window import Window
from saliency_tubes.stream.sources.arrays import checked_rgb
from saliency_tubes.stream.telemetry.stopwatch import Stopwatch

from .explanation import Explanation
from .run import rate_of

TICKS = 1_000_000
"""ticks a second of the time base of frames that come as arrays"""


class Explainer:
    """Explains the newest frames of a loop that is yours. Nothing runs beside it: a full window is explained in `push`.

        with Explainer("i3d", fps=30) as explainer:
            for rgb in frames:
                explanation = explainer.push(rgb)   # an Explanation when a hop is full, else None
                latest = explainer.latest           # the newest there is

    Not for several threads at once.

    model: one shipped with the package, an ONNX file with a manifest, or a TensorRT plan.

    fps: frames a second of what will be pushed.

    frames: in a window, T; None: the model's own default. stride: frames from one sample to the next; None: so that
    samples come at the rate the model was trained on. hop: frames from one window to the next; None: a quarter of a
    window.

    explain: top1, a class name or index, or A:B for the evidence for A rather than B.

    preset: the look that scales are made for and that explanations draw themselves in: a `Style`, or the name of
    one of `PRESETS`.

    steady: as live runs do, smooth the scale over windows, and change the class only when another one leads for
    `hold` windows.

    runtime, precision, device: as `open_runner` takes them.
    """

    def __init__(
        self,
        model: str | Path = "i3d",
        *,
        fps: float | Fraction = 25,
        frames: int | None = None,
        stride: int | None = None,
        hop: int | None = None,
        explain: str = "top1",
        preset: Style | str = "default",
        steady: bool = False,
        hold: int = 3,
        runtime: str = "auto",
        precision: str = "f32",
        device: str = "auto",
    ) -> None:
        """Raises UsageError for a value that is out of range, ModelError for a file that cannot be used."""
        for name, value in (("stride", stride), ("hop", hop), ("hold", hold), ("frames", frames)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be 1 or more, got {value}")
        self._rate = rate_of(fps)
        runner = open_runner(model, clip_length=frames, runtime=runtime, precision=precision, device=device)
        self.manifest: Manifest = runner.manifest
        """what the model says of itself: its classes (`labels`), its input, its windows"""
        self.stride = stride or default_stride(self.manifest.input, self._rate)
        """frames from one sample of a window to the next"""
        self.hop = hop or max(1, runner.clip_length * self.stride // 4)
        """frames from one window to the next"""
        self.style = read_preset(preset) if isinstance(preset, str) else preset
        """the style in which explanations are drawn"""
        self.latest: Explanation | None = None
        """the newest explanation; None before the first window is full"""
        self._look = explainer.Look(parse_target(explain, self.manifest.labels), self.style, hold=hold)
        self._window = Window(HostSampler(self.manifest.input), runner.clip_length, self.stride, self.hop)
        self._gaps = Gaps()
        self._explainer = explainer.Explainer(self.manifest, Stopwatch(), self._gaps, steady=steady)
        self._run: Run | None = partial(run_one, runner)
        """the model; None once it was released"""
        self._last: _Last | None = None
        self._cut = False

    def push(self, frame: U8 | types.Frame, *, time: float | None = None) -> Explanation | None:
        """Takes the next frame. When `hop` new frames have come, explains the newest window.

        frame: RGB [H, W, 3] uint8, which is copied where it is kept, or a `Frame`, whose index and time count. time:
        seconds, increasing, when the frame was taken; None: by `fps`. A frame of another size begins a new stretch, as
        `cut` does. Raises UsageError for an array of another shape or type, a time that does not increase, and when
        closed.
        """
        made = frame if isinstance(frame, types.Frame) else self._of_array(frame, time)
        last, picture = self._last, made.picture
        size = (picture.width, picture.height)
        if last is not None:
            if made.index != last.index + 1 or made.time <= last.time:
                was = f"frame {last.index} at {last.time:g} s"
                raise UsageError(f"frame {made.index} at {made.time:g} s cannot come after {was}: give the next one")
            made = replace(made, gap=made.gap or self._cut or size != last.size)
        if made.gap:
            self._gaps.add(made.index)
        self._last, self._cut = _Last(made.index, made.time, size), False
        return self._explained(self._window.push(made), size, made)

    def finish(self) -> Explanation | None:
        """At the end: explains the last frames, if no window has had them yet, and forgets all frames.

        A video shorter than a window is explained too, with its last frame repeated. Frames pushed afterwards begin a
        new stretch, as after `cut`.
        """
        explanation = self._explained(self._window.flush(), self._last.size) if self._last is not None else None
        self.cut()
        return explanation

    def cut(self) -> None:
        """Begins a new stretch of video: no window will have frames from before and after this call."""
        self._window.cut()
        self._cut = True

    def close(self) -> None:
        """Releases the model: nothing more can be explained, `latest` stays. May be called twice."""
        self._run = None

    def __enter__(self) -> Explainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _of_array(self, array: U8, time: float | None) -> types.Frame:
        index = self._last.index + 1 if self._last is not None else 0
        pts = round(index * TICKS / self._rate) if time is None else round(time * TICKS)
        picture = Picture(Layout.RGB, (checked_rgb(array, f"frame {index}"),))
        return types.Frame(index, pts, Fraction(1, TICKS), picture)

    def _explained(
        self, clip: types.Clip | None, size: tuple[int, int], newest: types.Frame | None = None
    ) -> Explanation | None:
        if self._run is None:
            raise UsageError("this explainer is closed: make another one")
        if clip is None:
            return None
        given = self._explainer.explain(self._run, clip, self._look)
        self.latest = Explanation.of(given, style=self.style, size=size, rgb=None if newest is None else newest.rgb)
        return self.latest


@dataclass(frozen=True)
class _Last:
    """What is kept of the last frame; not its picture, whose memory its owner may use again."""

    index: int
    time: float
    """seconds"""
    size: tuple[int, int]
    """width, height"""
