"""The explanation alone: one window's tube, drawn with its caption on `hop` frames, against the network's own time; and
the network as live streams run it, against float32.

Nothing runs beside it, so that it says what the arithmetic costs; the rows of `video` say what a whole run sees.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from statistics import median

from clips import CLIP
from harness import Row, Setup, Target, interleave, ratio
from saliency_tubes.engine.draw.caption import Caption, draw_caption
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.preprocess import HostSampler, tensor
from saliency_tubes.engine.runtimes.base import Runner, run_one
from saliency_tubes.engine.runtimes.open import open_runner
from saliency_tubes.engine.saliency import Target as Class
from saliency_tubes.engine.saliency import make_explanation, run_target
from saliency_tubes.engine.types import Clip, Frame
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.app.model_choice import model_speeds
from saliency_tubes.stream.pipeline.window import Window
from saliency_tubes.stream.sources.open import open_source
from video import HOPS

ROUNDS = 9
STYLE = Style()
TARGET = Target(0.02)
FASTER = Target(1.0)
"""of float32's time, for a precision that is less exact: or else it must not be what `auto` chooses"""


def rows(setup: Setup) -> list[Row]:
    """For every T: milliseconds of the network and of the explanation, and their ratio."""
    work: dict[str, Callable[[], object]] = {}
    for length, hop in HOPS.items():
        runner = open_runner(clip_length=length)
        speeds = model_speeds(Config("test://", clip_length=length), runner.manifest, live=True)
        clip, frames = _window(runner)
        data = tensor([clip], runner.manifest.input)
        work[f"infer {length}"] = partial(runner.infer, data)
        if speeds is not None and speeds.quickest != "f32":
            live = open_runner(clip_length=length, precision=speeds.quickest)
            work[f"live {length}"] = partial(live.infer, data)
        work[f"explain {length}"] = _Explain(runner, clip, frames[:hop])
    times = interleave(work, setup.pick(ROUNDS), warmup=setup.pick(1, 0))
    found: list[Row] = []
    for length in HOPS:
        infer, explain = times[f"infer {length}"], times[f"explain {length}"]
        found.append(Row(f"explanation: inference, T={length}", 1e3 * median(infer), "ms"))
        found.append(Row(f"explanation: tube, overlay and text, {HOPS[length]} frames", 1e3 * median(explain), "ms"))
        target = None if setup.quick else TARGET
        found.append(
            Row(f"explanation: explanation / inference, T={length}, alone", ratio(explain, infer), "x", target)
        )
        if f"live {length}" in times:
            name = f"explanation: inference, T={length}, as live / f32"
            faster = None if setup.quick else FASTER
            found.append(Row(name, ratio(times[f"live {length}"], infer), "x", faster))
    return found


class _Explain:
    """What the pipeline does between the network and the sinks, for one window."""

    def __init__(self, runner: Runner, clip: Clip, frames: list[Frame]) -> None:
        self._manifest, self._clip, self._frames = runner.manifest, clip, frames
        self._outputs, self._weights = run_target(partial(run_one, runner), runner.manifest.head, clip, Class())
        self._overlay = Overlay(STYLE)

    def __call__(self) -> None:
        made = make_explanation(
            self._outputs, self._weights, self._manifest, self._clip, Class(), window=0, normalize=STYLE.normalize
        )
        for frame in self._frames:
            # two windows saw most frames
            cells = self._overlay.blend(((made, 0.5), (made, 0.5)), frame.index)
            self._overlay.draw(frame.picture, cells, made.tube.crop)
            draw_caption(frame.picture, Caption.of(made, STYLE), STYLE)


def _window(runner: Runner) -> tuple[Clip, list[Frame]]:
    """The clip's first window, and its middle frames on."""
    source = open_source(str(CLIP))
    frames = list(islice(source, runner.clip_length))
    source.close()
    window = Window(HostSampler(runner.manifest.input), runner.clip_length, 1, runner.clip_length)
    clips = [window.push(frame) for frame in frames]
    clip = clips[-1]
    if clip is None:
        raise RuntimeError(f"{CLIP} has fewer than {runner.clip_length} frames")
    return clip, frames[runner.clip_length // 2 :]
