"""The options of `saliency-tubes run`, on the command line and, by the same names, in a TOML file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from ...engine.draw.overlay import paths
from ...engine.draw.style import COLORMAPS, PRESETS, Style
from ...engine.errors import UsageError
from ...engine.precision import RUN_PRECISIONS, precision_word
from ...engine.runtimes.base import RUNTIMES
from ...engine.runtimes.models import ASSETS
from ...engine.saliency import Normalize
from ..media.info import parse_rate
from ..net.redact import redact_words
from ..sinks.base import LATENCIES, ON_FULL, SinkOptions
from ..sources.base import BACKENDS, TRANSPORTS, SourceOptions
from ..telemetry.log import FORMATS, LEVELS
from .job import SYNCS, Config

SYNC_HELP = """\
auto (default): live from cameras and streams, aligned from files. aligned: every frame waits for the windows that saw
it. live: every frame leaves at once with the newest explanation"""


ENCODER_HELP = """\
auto (default), nvenc, v4l2, vaapi or x264; or an encoder's own name, which only some outputs know: FFmpeg's for files,
recordings and what is pushed by RTSP and RTMP, GStreamer's for what is served and for srt://"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {redact_words(message)}\n")


def parse_run(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """What follows `run`: options may stand between the input and the outputs, unless names begin with a dash."""
    return parser.parse_args(words) if "--" in words else parser.parse_intermixed_args(words)


class Refusing(argparse.ArgumentParser):
    """Raises UsageError instead of leaving: for words that come from a file."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(redact_words(message))


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything that `run` takes."""
    parser.add_argument(
        "input", metavar="INPUT", nargs="?", help="a video file, a camera, or a stream: see docs/live.md"
    )
    parser.add_argument(
        "outputs", metavar="OUTPUT", nargs="*",
        help="out.mp4, out.mkv, recordings/%%Y%%m%%d-%%H%%M%%S.mkv, frames/%%06d.png, events.jsonl, - (JSON lines to "
        "stdout), rtsp://@:8554/path, web://:8345, mqtt://broker/topic, display://, null:// and more; several at once",
    )  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of these options; flags win")
    what = parser.add_argument_group("what to explain")
    what.add_argument("--model", default="i3d", help=model_help())
    what.add_argument(
        "--explain", default="top1", metavar="CLASS", help="top1 (default), NAME, ID, or A:B for A against B"
    )
    what.add_argument(
        "--frames", type=int, metavar="T",
        help="frames in a window (default: the model's own; live: the longest whose tubes stay younger than --max-age)",
    )  # fmt: skip
    what.add_argument("--stride", type=int, help="frames between samples (default: near the model's frame rate)")
    what.add_argument("--hop", type=int, help="frames between windows (default: T/4; live: as fast as the model runs)")
    what.add_argument("--limit", type=int, metavar="N", help="stop after N frames")
    _add_looks(parser.add_argument_group("how to show it"))
    where = parser.add_argument_group("what to run it on")
    where.add_argument("--runtime", choices=("auto", *RUNTIMES), default="auto")
    where.add_argument(
        "--precision",
        type=precision_word,
        choices=("auto", *RUN_PRECISIONS),
        help="auto: what is quickest here, as measured at the first start, without what the model file says is too far "
        "off (default of live streams; of files: f32)",
    )
    where.add_argument(
        "--device",
        default="auto",
        help="auto (default): the CPU, for a plan the first GPU; or what the runtime calls one",
    )
    where.add_argument(
        "--batch", type=int, metavar="N", help="windows of several streams in a run of the model (default: as measured)"
    )
    where.add_argument(
        "--overlay", metavar="PATH", default="auto", help=f"what draws: auto, {', '.join(paths())}, or cuda (by a GPU)"
    )
    where.add_argument("--overlay-threads", type=int, default=1, metavar="N", help="threads that draw one frame")
    where.add_argument("--timings", action="store_true", help="put milliseconds by stage into the JSON lines")
    _add_inputs(parser.add_argument_group("inputs"))
    _add_outputs(parser.add_argument_group("outputs"))
    tell = parser.add_argument_group("what it tells")
    tell.add_argument(
        "--metrics",
        metavar="[HOST:]PORT",
        help="serve metrics and /healthz, as at 8346 (default host: 127.0.0.1)",
    )
    tell.add_argument("--log-format", choices=FORMATS, default="text", help="of what goes to stderr")
    tell.add_argument(
        "--log-level", choices=LEVELS, default="info", help="the least important lines that are told (default: info)"
    )


def _add_looks(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--sync", choices=SYNCS, default="auto", help=SYNC_HELP)
    group.add_argument(
        "--max-age", type=float, default=2.0, metavar="S", help="live: older evidence fades (default: 2 s)"
    )
    group.add_argument(
        "--hold", type=int, default=3, metavar="N",
        help="live: another class is explained once it leads for N windows, or clearly (default: 3; 1: at once)",
    )  # fmt: skip
    group.add_argument(
        "--preset", choices=sorted(PRESETS), default="default", help="a whole look; the options below change it"
    )
    group.add_argument("--colormap", choices=sorted(COLORMAPS))
    group.add_argument("--alpha", type=float, help="opacity of strong evidence, 0 to 1")
    group.add_argument("--threshold", type=float, help="weaker evidence is not drawn, 0 to 1")
    group.add_argument(
        "--normalize", metavar="MODE",
        help="what full colour means: positive, the strongest evidence in slices to be trusted; "
        "volume, of all slices, and 0 is the weakest, as in the paper; or fixed:LOW:HIGH in logits",
    )  # fmt: skip
    group.add_argument("--frame", action="store_true", help="draw a thin line around where the network looks")


def _add_inputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--backend", choices=BACKENDS, default="auto", help="PyAV or GStreamer")
    group.add_argument("--transport", choices=TRANSPORTS, default="tcp", help="of RTSP")
    group.add_argument("--size", type=_size, metavar="WxH", help="asked of a camera")
    group.add_argument(
        "--max-size", type=_size, default=(4096, 2304), metavar="WxH",
        help="pictures of more pixels are refused (default: 4096x2304)",
    )  # fmt: skip
    group.add_argument("--rate", type=_rate, metavar="FPS", help="asked of a camera")
    group.add_argument("--format", metavar="NAME", help="asked of a V4L2 camera: mjpeg, yuyv422, h264")
    group.add_argument("--realtime", action="store_true", help="a file plays at its own speed, as a camera would")
    group.add_argument("--loop", action="store_true", help="a file starts again at its end")
    group.add_argument(
        "--stall", type=float, metavar="S", help="without a frame for so long, connect again (default: 2; HLS: 10)"
    )
    group.add_argument("--open-timeout", type=float, default=5.0, metavar="S", help="for one attempt (default: 5)")
    group.add_argument(
        "--first-timeout", type=float, default=10.0, metavar="S", help="for the first frame (default: 10)"
    )
    group.add_argument("--wait", action="store_true", help="wait for the first frame for ever")
    group.add_argument(
        "--tls-ca", metavar="FILE",
        help="who signed the certificates of rtsps://, https:// and rtmps:// inputs and pushed outputs; any: unchecked",
    )  # fmt: skip
    group.add_argument("--retries", type=int, metavar="N", help="attempts in a row before giving up (default: never)")


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--encoder", default="auto", help=ENCODER_HELP)
    group.add_argument("--bitrate", type=_amount, metavar="N", help="bits a second, as in 4M")
    group.add_argument("--crf", type=int, default=19, help="constant quality of files, 0 to 51 (default: 19)")
    group.add_argument("--encoder-preset", dest="sink_preset", metavar="NAME", help="x264's, ultrafast to placebo")
    group.add_argument("--latency", choices=LATENCIES, default="low", help="of what is streamed")
    group.add_argument(
        "--segment-seconds", type=float, default=600.0, metavar="S", help="of a recording (default: 600)"
    )
    group.add_argument("--segment-bytes", type=_amount, metavar="N", help="of a recording, as in 500M")
    group.add_argument(
        "--keep", default="", metavar="LIMIT", help='of a recording: "50" files, "20GB", "14d"; several with commas'
    )
    group.add_argument(
        "--overwrite", action="store_true",
        help="replace films, pictures and JSON lines that are there (default: they are kept, and the new ones get a "
        "number; JSON lines of live inputs are added)",
    )  # fmt: skip
    group.add_argument("--on-full", choices=ON_FULL, default="stop", help="what a recording does on a full disk")
    group.add_argument(
        "--listen", default="127.0.0.1", metavar="HOST",
        help="address that RTSP and web:// are served on where they name none (default: %(default)s)",
    )  # fmt: skip
    group.add_argument(
        "--rtsp-user", dest="user", metavar="NAME",
        help="who may watch what is served over RTSP (default: $SALIENCY_TUBES_RTSP_USER, or anybody)",
    )  # fmt: skip
    group.add_argument(
        "--rtsp-password", dest="password", metavar="WORD", help="theirs (default: $SALIENCY_TUBES_RTSP_PASSWORD)"
    )


def model_help() -> str:
    """What --model takes."""
    names = ", ".join(sorted(path.stem for path in ASSETS.glob("*.onnx")))
    return f"an ONNX file with a manifest, a TensorRT plan, or one that comes with the package: {names} (default: i3d)"


def config_of(args: argparse.Namespace, name: str = "") -> Config:
    """The run that these options ask for. Raises UsageError."""
    if args.input is None:
        raise UsageError("no input: give a video file, a camera or a stream, here or in the file of --config")
    apart = {"outputs", "style", "source", "sink", "name"}
    return Config(
        outputs=tuple(args.outputs) or _default_outputs(args.input),
        style=style_of(args),
        source=SourceOptions(**_values(args, SourceOptions)),
        sink=SinkOptions(**{**_values(args, SinkOptions), "preset": args.sink_preset}),
        name=name,
        **{key: value for key, value in _values(args, Config).items() if key not in apart},
    )


def style_of(args: argparse.Namespace) -> Style:
    """The preset, and what was changed in it."""
    chosen: dict[str, Any] = {
        name: getattr(args, name) for name in ("colormap", "alpha", "threshold") if getattr(args, name) is not None
    }
    if args.normalize is not None:
        chosen["normalize"] = Normalize.parse(args.normalize)
    return replace(PRESETS[args.preset], frame=args.frame, **chosen)


def _values(args: argparse.Namespace, kind: Any) -> dict[str, Any]:
    """Those options that are fields of a dataclass, by name."""
    given = vars(args)
    return {field.name: given[field.name] for field in fields(kind) if field.name in given}


def _default_outputs(uri: str) -> tuple[str, ...]:
    """A file gets a film beside it; a stream that has no name of its own, or no end, must be told where to."""
    if "://" in uri or uri.startswith("/dev/"):
        raise UsageError("no output: a stream needs one, as out.mkv, rtsp://@:8554/explained or null://")
    return (f"{Path(uri).stem.replace('%', '')}.tubes.mp4",)  # which would make it a recording named by the time


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise argparse.ArgumentTypeError(f"a size is WxH, as 1280x720, got {text!r}")
    return int(width), int(height)


def _amount(text: str) -> int:
    units = {"k": 1e3, "m": 1e6, "g": 1e9}
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].lower() in units else (text, "")
    try:
        return int(float(number) * units.get(unit, 1))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"a number, as 500000 or 4M, got {text!r}") from None


def _rate(text: str) -> Fraction:
    try:
        return parse_rate(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"frames a second, as 25 or 30000/1001, got {text!r}") from None
