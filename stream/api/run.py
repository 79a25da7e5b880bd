"""A whole run: from a video, through the network, into outputs and a loop."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.picture import U8
from saliency_tubes.stream.app.arguments import config_of_keywords
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.app.job import open_job
from saliency_tubes.stream.net.address import Address, AddressLike
from saliency_tubes.stream.pipeline import pipeline
from saliency_tubes.stream.sources.arrays import ArraySource
from saliency_tubes.stream.sources.base import Source

from .explanation import Shown, Views

if TYPE_CHECKING:
    from saliency_tubes.stream.app.keywords import RunOptions
    from typing_extensions import Unpack


def explain(
    video: AddressLike | Iterable[U8],
    *outputs: AddressLike,
    fps: float | Fraction | None = None,
    **options: Unpack[RunOptions],
) -> Generator[Shown, None, None]:
    """Explains a video, frame by frame, and writes it to the outputs, if any.

        for shown in explain("clip.mp4", explain="juggling soccer ball"):
            shown.rgb           # [H, W, 3] uint8, the tube and a caption drawn
            shown.explanation   # class, probability and the tube [t, h, w] of the window it is drawn from

    video: a path, an address as of `saliency-tubes run`, or RGB arrays [H, W, 3] uint8, `fps` of them a second (25
    where it is None). options: those of `saliency-tubes run`, with _ for -; docs/options.md lists them. What is no text
    by its type may be given as text all the same, as on the command line: `size="640x480"`.

    Arrays are asked for in another thread, and copied. Leaving the loop waits for the one that is being made.

    Frames come in order, each as soon as the windows that saw it are explained; one may still wait in an output: draw
    on a copy. Leaving the loop early stops the pipeline and finishes the outputs.
    Raises UsageError at once, for an option that does not exist naming near ones; SourceError, ModelError and
    SinkError, and UsageError for what shows only when the run opens, at the first frame asked for.
    """
    if not isinstance(video, str | Path | Address):
        config = config_of_keywords("-", outputs, options)
        return _run(config, partial(ArraySource, video, rate_of(25 if fps is None else fps)))
    if fps is not None:
        raise UsageError(f"fps is for arrays, a video has its own: leave fps={fps} out")
    return _run(config_of_keywords(video, outputs, options))


def _run(config: Config, opener: Callable[[], Source] | None = None) -> Generator[Shown, None, None]:
    """opener: of the source, where it is not the configuration's input; called when the first frame is asked for."""
    views = Views()
    with open_job(config, opened=opener() if opener is not None else None) as job:
        for shown in job.pipeline:
            yield views.shown(job.pipeline.on_host(shown), config.style)


class Pipeline(pipeline.Pipeline):
    """Runs a source through a model into sinks, and gives each frame shown to whoever iterates over it.

        with Pipeline(source, runner, sinks, options) as pipeline:
            for shown in pipeline: ...

    `explain` is this with everything chosen and opened. Sinks are open before the first frame is read, and closed
    before the iteration ends; the first error of any stage stops all of them and is raised from the iteration. The
    source stays the caller's to close. A frame that is given out may still wait in a sink, and its planes be read-only:
    draw on `picture.copy()`.
    """

    def __enter__(self) -> Pipeline:
        super().__enter__()
        return self

    def __iter__(self) -> Iterator[Shown]:
        views = Views()
        for shown in super().__iter__():
            yield views.shown(self.on_host(shown), self.look.style)


def rate_of(fps: float | Fraction) -> Fraction:
    """Frames a second as a fraction. Raises UsageError unless it is a positive number."""
    if not 0 < fps < 10**6:  # nan is not
        raise UsageError(f"fps must be more than 0 and less than a million, got {float(fps):g}")
    return Fraction(fps).limit_denominator(1001)
