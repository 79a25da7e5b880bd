"""The command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ..engine.errors import TubesError, UsageError
from ..engine.manifest import Manifest
from ..engine.overlay import Overlay, paths
from ..engine.planfile import read_plan
from ..engine.runner import ASSETS, PLAN_SUFFIXES, PRECISIONS, RUNTIMES, find_model, read_manifest
from ..engine.saliency import Normalize
from ..engine.style import COLORMAPS, PRESETS, Style
from .contact import ContactSheet
from .job import SYNCS, Config, open_job
from .report import Report
from .source import redact

DEMO_CLIP = Path(__file__).parent / "assets" / "bigbuckbunny.mp4"
DEMO_FRAMES = 132

RUN_EXAMPLES = """\
examples:
  saliency-tubes run clip.mp4                                  writes clip.tubes.mp4
  saliency-tubes run clip.mp4 out.mkv events.jsonl frames/%06d.png
  saliency-tubes run clip.mp4 out.mp4 --explain "juggling soccer ball"
  saliency-tubes run clip.mp4 out.mp4 --explain "washing dishes:washing hands"
  saliency-tubes run clip.mp4 out.mp4 --frames 32 --hop 4 --precision bf16
  saliency-tubes run clip.mp4 out.mp4 --preset paper-pytorch
  saliency-tubes run clip.mp4 - --timings | jq .explained      JSON lines to a program
"""


EXPORT_COMMANDS = {
    "export": "make a model file from a network in PyTorch",
    "check": "compare what the runtimes here say of a model file",
    "manifest": "give an ONNX file made elsewhere a manifest",
    "build": "make a TensorRT plan from a model file",
}
SYNC_HELP = """\
aligned (default): every frame waits for the windows that saw it; live: the video plays in real time and every frame
takes the newest explanation"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


class Interrupted(Exception):
    """A signal asked the run to end; the outputs are finished."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    args = _parser(words).parse_args(words)
    try:
        return int(args.handler(args))
    except TubesError as error:
        print(f"saliency-tubes: error: {redact(str(error))}", file=sys.stderr)
        return error.exit_code
    except Interrupted as error:
        return error.exit_code
    except BrokenPipeError:  # whoever read our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 130


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="saliency-tubes",
        description="Shows, on video, where and when a 3D CNN found the evidence for what it says.",
    )
    parser.add_argument("--version", action="version", version=f"saliency-tubes {version('saliency-tubes')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="explain a video", epilog=RUN_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_run_arguments(run)
    run.set_defaults(handler=_run)
    demo = commands.add_parser("demo", help="explain the clip that comes with the package")
    demo.add_argument("--folder", type=Path, default=Path("demo"), help="where the results go (default: demo)")
    demo.set_defaults(handler=_demo)
    info = commands.add_parser("info", help="say what a model file or a TensorRT plan is")
    info.add_argument("model", nargs="?", default="i3d", help=_model_help())
    info.set_defaults(handler=_info)
    for name, text in EXPORT_COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if words[:1] == [name]:  # the room with PyTorch and TensorRT is not even looked at otherwise
            from ..export.commands import COMMANDS

            add_arguments, handler = COMMANDS[name]
            add_arguments(command)
            command.set_defaults(handler=handler)
    return parser


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="INPUT", help="a video file")
    parser.add_argument(
        "outputs", metavar="OUTPUT", nargs="*",
        help="out.mp4, out.mkv, frames/%%06d.png, events.jsonl, - (JSON lines to stdout) or null://; several at once",
    )  # fmt: skip
    what = parser.add_argument_group("what to explain")
    what.add_argument("--model", default="i3d", help=_model_help())
    what.add_argument(
        "--explain", default="top1", metavar="CLASS", help="top1 (default), NAME, ID, or A:B for A against B"
    )
    what.add_argument("--frames", type=int, metavar="T", help="frames in a window (default: the model's own)")
    what.add_argument("--stride", type=int, help="frames between samples (default: near the model's frame rate)")
    what.add_argument("--hop", type=int, help="frames between windows (default: T/4; live: as fast as the model runs)")
    what.add_argument("--limit", type=int, metavar="N", help="stop after N frames")
    how = parser.add_argument_group("how to show it")
    how.add_argument("--sync", choices=SYNCS, default="aligned", help=SYNC_HELP)
    how.add_argument(
        "--max-age", type=float, default=2.0, metavar="S", help="live: older evidence fades (default: 2 s)"
    )
    how.add_argument(
        "--preset", choices=sorted(PRESETS), default="default", help="a whole look; the options below change it"
    )
    how.add_argument("--colormap", choices=sorted(COLORMAPS))
    how.add_argument("--alpha", type=float, help="opacity of strong evidence, 0 to 1")
    how.add_argument("--threshold", type=float, help="weaker evidence is not drawn, 0 to 1")
    how.add_argument("--normalize", metavar="MODE", help="positive, volume, or fixed:LOW:HIGH in logits")
    where = parser.add_argument_group("what to run it on")
    where.add_argument("--runtime", choices=("auto", *RUNTIMES), default="auto")
    where.add_argument("--precision", choices=PRECISIONS, default="f32")
    where.add_argument(
        "--device",
        default="auto",
        help="auto (default): the CPU, for a plan the first GPU; or what the runtime calls one",
    )
    where.add_argument("--overlay", metavar="PATH", default="auto", help=f"what draws: auto, or {' or '.join(paths())}")
    where.add_argument("--overlay-threads", type=int, default=1, metavar="N", help="threads that draw one frame")
    where.add_argument("--timings", action="store_true", help="put milliseconds by stage into the JSON lines")


def _model_help() -> str:
    names = ", ".join(sorted(path.stem for path in ASSETS.glob("*.onnx")))
    return f"an ONNX file with a manifest, a TensorRT plan, or one that comes with the package: {names} (default: i3d)"


def _style(args: argparse.Namespace) -> Style:
    chosen = {
        name: getattr(args, name) for name in ("colormap", "alpha", "threshold") if getattr(args, name) is not None
    }
    if args.normalize is not None:
        chosen["normalize"] = Normalize.parse(args.normalize)
    return replace(PRESETS[args.preset], **chosen)


def _run(args: argparse.Namespace) -> int:
    outputs = tuple(args.outputs) or (f"{Path(args.input).stem}.tubes.mp4",)
    same = {field.name for field in fields(Config)} - {"outputs", "style"}
    config = Config(outputs=outputs, style=_style(args), **{name: getattr(args, name) for name in same})
    _explain(config)
    return 0


def _demo(args: argparse.Namespace) -> int:
    try:
        args.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {args.folder}: {error.strerror}") from None
    video, lines, sheet = (args.folder / f"demo.{suffix}" for suffix in ("mp4", "jsonl", "png"))
    contact = ContactSheet(DEMO_FRAMES)
    _explain(Config(str(DEMO_CLIP), (str(video), str(lines))), contact)
    contact.write(sheet)
    print(f"the film          {video}\nits facts         {lines}\nat a glance       {sheet}")
    return 0


def _info(args: argparse.Namespace) -> int:
    path = find_model(args.model)
    if path.suffix in PLAN_SUFFIXES:
        plan = read_plan(path)
        manifest, rows = plan.manifest, plan.rows()
    else:
        manifest, rows = read_manifest(path), []
    for name, value in [*_describe_model(manifest), *rows, ("overlay", Overlay(Style()).description)]:
        print(f"{name:<8} {value}")
    return 0


def _describe_model(manifest: Manifest) -> list[tuple[str, str]]:
    """What a manifest says, as (name, text)."""
    spec = manifest.input
    height, width = spec.size
    rows = [
        ("model", manifest.title),
        ("license", manifest.license),
        ("input", f"{spec.name} [1, 3, T, {height}, {width}], RGB, {spec.resize}, from video at {spec.rate:g} fps"),
    ]
    for frames, window in sorted(manifest.windows.items()):
        mark = ", the default" if frames == manifest.default_frames else ""
        rows.append((f"T = {frames}", window.slices_in_words + mark))
    head = "linear: the tube adds up to the logit" if manifest.head else "not linear: weights by gradient"
    return [
        *rows,
        ("tap", f"{manifest.tap}, {manifest.channels} channels"),
        ("head", head),
        ("classes", f"{len(manifest.labels)}: {', '.join(manifest.labels[:4])}, ..."),
    ]


def _explain(config: Config, contact: ContactSheet | None = None) -> None:
    """Runs to the end, or to a signal, with progress on stderr and a summary. Raises Interrupted after a signal."""
    received: list[int] = []
    with open_job(config) as job:

        def interrupt(number: int, frame: FrameType | None) -> None:
            if received:  # asked twice: leave at once
                raise KeyboardInterrupt
            received.append(number)
            job.pipeline.stop()

        previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        report = Report(job, config, sys.stderr)
        report.begin()
        try:
            for shown in job.pipeline:
                report.frame(shown)
                if contact is not None:
                    contact.add(shown)
        finally:
            report.end()
            for number, handler in previous.items():
                signal.signal(number, handler)
    if received:
        raise Interrupted(received[0])
