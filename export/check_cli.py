"""`saliency-tubes check`: an ONNX file, and its plan, in the runtimes there are. torch is not needed."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.errors import ModelError, UsageError
from ..engine.manifest import Manifest
from ..engine.missed import OWN
from ..engine.runtimes.models import PLAN_SUFFIXES, find_model, is_plan, read_manifest

if TYPE_CHECKING:
    from .report import CheckReport


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `saliency-tubes check`."""
    parser.add_argument(
        "model", metavar="MODEL", help="an ONNX file with a manifest, or one that comes with the package"
    )
    parser.add_argument(
        "--clip", type=Path, nargs="+", default=[], metavar="VIDEO", help="check on these, not on noise"
    )
    parser.add_argument("--frames", type=int, metavar="T", help="with --clip: clip length (default: the manifest's)")
    parser.add_argument("--reference", type=Path, metavar="ONNX", help="compare with this file (default: with itself)")
    parser.add_argument(
        "--plan", type=Path, metavar="PLAN", help="run this TensorRT plan of it too (default: the .plan beside it)"
    )
    parser.add_argument("--force", action="store_true", help="exit with 0 though a bound is missed")


def check_file(args: argparse.Namespace) -> int:
    """Prints how the runtimes compare. Returns 0; raises ModelError, the table in it, where a bound is missed."""
    if find_spec("onnxruntime") is None:
        raise UsageError("check needs onnxruntime: pip install 'saliency-tubes[onnxruntime]'")
    from .check import check
    from .clips import read_clips

    path = find_model(args.model)
    for option, file in (("check", path), ("--reference", args.reference)):
        if file is not None and is_plan(file):
            raise UsageError(f"{option} takes an ONNX file, and {file} is a TensorRT plan: name it by --plan")
    if args.plan is not None and not is_plan(args.plan):
        raise UsageError(f"--plan takes a TensorRT plan ({', '.join(PLAN_SUFFIXES)}), got {args.plan}")
    manifest = read_manifest(path)
    if args.frames is not None and not args.clip:
        raise UsageError(f"--frames {args.frames} goes with --clip: without clips all lengths are checked, on noise")
    clip_length = manifest.default_clip_length if args.frames is None else args.frames
    try:
        manifest.window(clip_length)
    except ModelError as error:
        raise UsageError(str(error)) from None
    clips = read_clips(args.clip, manifest.input, clip_length)
    report = check(path, reference=args.reference, plan=args.plan, clips=clips, force=args.force)
    print(report.table)
    _warn(report, manifest)
    return 0


def _warn(report: CheckReport, manifest: Manifest) -> None:
    """What was too far off here, and what was where the file was exported."""
    for one in report.missed:
        if one.precision in manifest.missed_precisions(one.runtime):
            print(f"warning: {one.words}; --precision auto does not choose it for this file")
        else:
            print(f"warning: {one.words}; the file does not say so: run it with --precision {OWN}, or export it here")
    here = {(one.runtime, one.precision) for one in report.missed}
    for one in manifest.missed:
        if (one.runtime, one.precision) not in here:
            print(f"warning: {one.words}, where it was exported; --precision auto does not choose it for this file")
