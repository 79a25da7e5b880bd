"""One run, as a user asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...engine.draw.overlay import check_path
from ...engine.draw.style import PRESETS, Style
from ...engine.errors import UsageError
from ...engine.options import check_options, option
from ...engine.precision import RUN_PRECISIONS, check_precision
from ...engine.runtimes.base import RUNTIMES
from ..net.address import Address, AddressLike
from ..sinks.base import SinkOptions
from ..sources.base import SourceOptions
from ..telemetry.log import FORMATS, LEVELS
from .placing import read_memory

SYNCS = ("auto", "aligned", "live")

EXPLAIN, SHOW, RUN = "what to explain", "how to show it", "what to run it on"
"""headings of options"""


def read_preset(text: str) -> Style:
    """A whole look by its name. Raises UsageError."""
    if text not in PRESETS:
        raise UsageError(f"preset must be one of {', '.join(PRESETS)}, got {text!r}")
    return PRESETS[text]


@dataclass(frozen=True)
class Config:
    """One run, as a user asks for it. None: chosen for the model and the video."""

    input: AddressLike
    """what is explained; an Address once this is made"""
    outputs: Sequence[AddressLike] = ()
    """where it goes; a tuple of Address once this is made"""

    model: str | Path = option(
        "i3d",
        "an ONNX file with a manifest, a TensorRT plan, or i3d, which comes with the package",
        metavar="MODEL",
        group=EXPLAIN,
        shared=True,
    )
    explain: str = option(
        "top1",
        "top1, the name or the index of a class, or A:B for the evidence for A rather than B",
        metavar="CLASS",
        group=EXPLAIN,
        live=True,
    )
    clip_length: int | None = option(
        None,
        "frames in a window",
        more="See [How long a window is](live.md#how-long-a-window-is-and-in-which-precision).",
        flag="frames",
        metavar="T",
        default="the model's own; live: the longest whose tubes stay younger than --max-age",
        group=EXPLAIN,
        at_least=1,
        shared=True,
    )
    stride: int | None = option(
        None,
        "frames from one sample of a window to the next; 1: every frame",
        metavar="N",
        default="brings them near the frame rate that the model was trained on",
        group=EXPLAIN,
        at_least=1,
    )
    hop: int | None = option(
        None,
        "frames from the start of a window to the start of the next one",
        more="It has no effect in live mode.",
        metavar="N",
        default="a quarter of a window; live: as fast as the model runs",
        group=EXPLAIN,
        at_least=1,
    )
    limit: int | None = option(
        None, "stop after so many frames", metavar="N", default="no limit", group=EXPLAIN, at_least=1
    )

    sync: str = option(
        "auto",
        "aligned: every frame waits for the windows that saw it; live: every frame leaves at once with the newest "
        "explanation; auto: live from cameras and streams, aligned from files",
        more="See [Live or aligned](live.md#live-or-aligned).",
        group=SHOW,
        choices=SYNCS,
    )
    max_age: float = option(
        2.0, "live: older evidence fades", metavar="S", unit="seconds", group=SHOW, more_than=0, live=True
    )
    hold: int = option(
        3,
        "live: another class is explained once it leads for so many windows, or clearly; 1: at once",
        metavar="N",
        group=SHOW,
        at_least=1,
    )
    style: Style = option(
        Style(),
        "a whole look; the options below change it",
        more="`paper-pytorch` and `paper-keras` are the coloured pictures of the two scripts published with the paper, "
        "`focus` is its focus map. In Python it may be a `Style` as well.",
        flag="preset",
        default="default",
        group=SHOW,
        choices=tuple(PRESETS),
        read=read_preset,
        live=True,
    )

    runtime: str = option(
        "auto",
        "what computes the model; auto: OpenVINO, or onnxruntime if only that is installed; TensorRT for a plan; with "
        "--device cuda TensorRT, by a plan that is built at the first start, or else onnxruntime",
        group=RUN,
        choices=("auto", *RUNTIMES),
        shared=True,
    )
    precision: str | None = option(
        None,
        "what the model computes in; auto: what is quickest here, as measured at the first start, but nothing that the "
        "model file says is too far off",
        more="Streams that share a model take auto where one of them is live. "
        "See [How long a window is](live.md#how-long-a-window-is-and-in-which-precision).",
        default="auto for live streams, f32 for files",
        group=RUN,
        choices=("auto", *RUN_PRECISIONS),
        shared=True,
    )
    device: str = option(
        "auto",
        "auto: the CPU, for a plan the first GPU; cuda or cuda:N, an NVIDIA GPU; or what the runtime calls one",
        metavar="DEVICE",
        group=RUN,
        shared=True,
    )
    batch: int | None = option(
        None,
        "windows of several streams that go through the model together",
        more="See [Several streams](live.md#several-streams).",
        metavar="N",
        default="as many as keep tubes youngest, as measured; one where all inputs are files",
        group=RUN,
        at_least=1,
        shared=True,
    )
    memory: str = option(
        "auto",
        "the memory that frames live in, where samples are taken and tubes are drawn: host; cuda, the model's GPU or "
        "the first; cuda:N; auto: where the model reads its samples",
        more="See [Frames on a GPU](live.md#frames-on-a-gpu).",
        metavar="WHERE",
        group=RUN,
        read=read_memory,
    )
    overlay: str = option(
        "auto",
        "what draws on frames in the host's memory: auto, the fastest on this processor; avx512, avx2, neon, generic "
        "or numpy",
        metavar="PATH",
        group=RUN,
    )
    overlay_threads: int = option(
        1, "threads that draw one frame in the host's memory", metavar="N", group=RUN, at_least=1
    )
    timings: bool = option(False, "put milliseconds by stage into the JSON lines", group=RUN)

    source: SourceOptions = SourceOptions()
    sink: SinkOptions = SinkOptions()
    name: str = ""
    """of the stream, where there are several"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "input", Address.parse(self.input))
        object.__setattr__(self, "outputs", tuple(map(Address.parse, self.outputs)))
        if self.precision is not None:
            object.__setattr__(self, "precision", check_precision(self.precision, ("auto", *RUN_PRECISIONS)))
        check_options(self)
        check_path(self.overlay)
        try:
            object.__setattr__(self, "memory", read_memory(self.memory))
        except ValueError as error:
            raise UsageError(f"memory must be {error}") from None


@dataclass(frozen=True)
class ProcessOptions:
    """What is chosen for the whole process, not for one of its streams."""

    option_group = "what it tells"

    metrics: str | None = option(
        None,
        "serve metrics and /healthz, as at 8346, on 127.0.0.1 unless a host is named",
        more="See [Health](live.md#health) and [Metrics](live.md#metrics).",
        metavar="[HOST:]PORT",
        default="they are not served",
    )
    log_format: str = option(
        "text", "the format of the log on stderr", more="See [Logs](live.md#logs).", choices=FORMATS
    )
    log_level: str = option("info", "the least important lines that are logged", choices=LEVELS)

    def __post_init__(self) -> None:
        check_options(self)


def label_of(config: Config) -> str:
    """What a stream is called in metrics; safe to print."""
    return config.name or Address.parse(config.input).shown
