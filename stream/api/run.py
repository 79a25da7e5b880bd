"""A whole run: from a video, through the network, into outputs and a loop."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.picture import U8
from saliency_tubes.stream.app.job import Config, open_job
from saliency_tubes.stream.pipeline import options, pipeline
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sources.arrays import ArraySource
from saliency_tubes.stream.sources.base import SourceOptions

from .explanation import Shown, Views

PipelineOptions = options.Options


def explain(
    video: str | Path | Iterable[U8],
    *outputs: str | Path,
    fps: float | Fraction | None = None,
    model: str | Path = "i3d",
    frames: int | None = None,
    stride: int | None = None,
    hop: int | None = None,
    explain: str = "top1",
    style: Style = Style(),
    sync: str = "auto",
    runtime: str = "auto",
    precision: str | None = None,
    device: str = "auto",
    max_age: float = 2.0,
    hold: int = 3,
    limit: int | None = None,
    overlay: str = "auto",
    overlay_threads: int = 1,
    source: SourceOptions = SourceOptions(),
    sink: SinkOptions = SinkOptions(),
) -> Generator[Shown, None, None]:
    """Explains a video, frame by frame, and writes it to the outputs, if any."""
    by_arrays = not isinstance(video, str | Path)
    if fps is not None and not by_arrays:
        raise UsageError(f"fps is for arrays, a video has its own: leave fps={fps} out")
    config = Config(
        "-" if by_arrays else str(video),
        tuple(map(str, outputs)),
        model=model,
        frames=frames,
        stride=stride,
        hop=hop,
        explain=explain,
        style=style,
        sync=sync,
        runtime=runtime,
        precision=precision,
        device=device,
        max_age=max_age,
        hold=hold,
        limit=limit,
        overlay=overlay,
        overlay_threads=overlay_threads,
        source=source,
        sink=sink,
    )
    return _run(config, video if not isinstance(video, str | Path) else None, rate_of(25 if fps is None else fps))


def _run(config: Config, arrays: Iterable[U8] | None, rate: Fraction) -> Generator[Shown, None, None]:
    source = None if arrays is None else ArraySource(arrays, rate)
    views = Views()
    with open_job(config, opened=source) as job:
        for shown in job.pipeline:
            yield views.shown(shown, config.style)


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
            yield views.shown(shown, self.look.style)


def rate_of(fps: float | Fraction) -> Fraction:
    """Frames a second as a fraction. Raises UsageError unless it is a positive number."""
    if not 0 < fps < 10**6:  # nan is not
        raise UsageError(f"fps must be more than 0 and less than a million, got {float(fps):g}")
    return Fraction(fps).limit_denominator(1001)
