"""The command line."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.metadata import version

from ...engine.draw.overlay import Overlay
from ...engine.draw.style import Style
from ...engine.errors import TubesError
from ...engine.manifest import Manifest
from ...engine.options import options_of
from ...engine.runtimes.models import PLAN_SUFFIXES, find_model, read_manifest
from ...engine.runtimes.planfile import read_plan
from ..net.redact import redact, secrets
from ..telemetry.log import hide_arguments, logging_to, say
from ..telemetry.memory import kept_small
from .arguments import Parser, add_run_arguments, parse_run
from .browser import offer
from .config import Config
from .fleet import Fleet, Interrupted
from .pages import serving_pages
from .settings import read_settings

RUN_EXAMPLES = """\
examples:
  saliency-tubes run clip.mp4                                  writes clip.tubes.mp4
  saliency-tubes run /dev/video0                               at http://127.0.0.1:8080, in your browser
  saliency-tubes run clip.mp4 out.mkv events.jsonl frames/%06d.png
  saliency-tubes run clip.mp4 out.mp4 --explain "juggling soccer ball"
  saliency-tubes run clip.mp4 out.mp4 --explain "washing dishes:washing hands"
  saliency-tubes run clip.mp4 out.mp4 --frames 32 --hop 4 --precision bf16
  saliency-tubes run clip.mp4 out.mp4 --preset paper-pytorch
  saliency-tubes run clip.mp4 - --timings | jq .explained      JSON lines to a program
  saliency-tubes run rtsp://camera/live rtsp://@:8554/explained recordings/%Y%m%d-%H%M%S.mkv mqtt://broker/topic
  saliency-tubes run --config live.toml --metrics 8346
"""


MACHINE_COMMANDS = {
    "demo": "explain the clip that comes with the package: in the browser, and in files",
    "doctor": "say what is installed, which way each stage takes here, and what would make it faster",
    "bench": "measure how fast each stage is here, and how many live streams this machine holds",
    "build": "make a TensorRT plan from a model file",
}
EXPORT_COMMANDS = {
    "export": "make a model file from a network in PyTorch",
    "check": "compare what the runtimes here say of a model file",
    "manifest": "give an ONNX file made elsewhere a manifest",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code: 0, 1 for a failure, 2 for wrong usage, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser, run = _parsers(words)
    # A parser of subcommands cannot take options between positional words.
    args = parse_run(run, words[1:]) if words[:1] == ["run"] else parser.parse_args(words)
    args.words = words[1:]
    try:
        return int(args.handler(args))
    except TubesError as error:
        print(f"saliency-tubes: error: {redact(str(error))}", file=sys.stderr)
        return error.exit_code
    except Interrupted as error:
        return error.exit_code
    except BrokenPipeError:  # the reader of standard output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        return 130


def _parsers(words: Sequence[str]) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The parser of the whole command line, and the one of the words after `run`."""
    parser = Parser(
        prog="saliency-tubes",
        description="Shows, on video, where and when a 3D CNN found the evidence for what it says.",
    )
    parser.add_argument("--version", action="version", version=f"saliency-tubes {version('saliency-tubes')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="explain a video", epilog=RUN_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_run_arguments(run)
    run.set_defaults(handler=_run)
    info = commands.add_parser("info", help="say what a model file or a TensorRT plan is")
    info.add_argument("model", nargs="?", default="i3d", help=f"{options_of(Config)['model'].meaning} (default: i3d)")
    info.set_defaults(handler=_info)
    for name, text in (MACHINE_COMMANDS | EXPORT_COMMANDS).items():
        command = commands.add_parser(name, help=text)
        if words[:1] == [name]:
            add_arguments, handler = _command(name)
            add_arguments(command)
            command.set_defaults(handler=handler)
    return parser, run


def _command(name: str) -> tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]:
    """What adds a command's arguments, and what runs it. Both are imported when the command is given: `export` needs
    PyTorch."""
    if name == "doctor":
        from ..doctor.command import add_arguments, run

        return add_arguments, run
    if name == "demo":
        from . import demo_cli

        return demo_cli.add_arguments, demo_cli.run
    if name == "build":
        from . import build_cli

        return build_cli.add_arguments, build_cli.run
    if name == "bench":
        from ..bench import command

        return command.add_arguments, command.run
    from ...export.commands import COMMANDS

    return COMMANDS[name]


def _run(args: argparse.Namespace) -> int:
    settings = read_settings(args.words)
    log_format, log_level = settings.process.log_format, settings.process.log_level
    fleet = Fleet(settings, None if settings.path is None else lambda: read_settings(args.words))
    with ExitStack() as stack:
        stack.enter_context(kept_small())
        stack.enter_context(logging_to(sys.stderr, log_format, settings.addresses, log_level))
        stack.enter_context(fleet.signals())  # signals must be heard before anything waits
        if not hide_arguments(settings.addresses) and any(map(secrets, args.words)):
            say("note", "the passwords in this command line can be seen by others: give them in a --config file")
        try:
            if settings.process.metrics is not None:
                from ..telemetry.metrics import MetricsServer

                stack.enter_context(MetricsServer(settings.process.metrics, fleet.snapshots, lambda: fleet.reloaded))
            for name, note in settings.notes:
                say("note", note, stream=name)
            urls = stack.enter_context(serving_pages(settings.streams, fleet.snapshots))
            if settings.offers_page:
                offer(urls)
            fleet.run()
        except TubesError as error:
            if log_format == "text":
                raise  # `main` prints it
            say("error", str(error), level=logging.ERROR)
            return error.exit_code
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
    for clip_length, window in sorted(manifest.windows.items()):
        mark = ", the default" if clip_length == manifest.default_clip_length else ""
        rows.append((f"T = {clip_length}", window.slices_in_words + mark))
    head = "linear: the tube adds up to the logit" if manifest.head else "not linear: weights by gradient"
    return [
        *rows,
        ("tap", f"{manifest.tap}, {manifest.channels} channels"),
        ("head", head),
        ("classes", f"{len(manifest.labels)}: {', '.join(manifest.labels[:4])}, ..."),
        *(("warning", f"{one.words}; --precision auto does not choose it") for one in manifest.missed),
    ]
