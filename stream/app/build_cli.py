"""`saliency-tubes build`: an ONNX file into a TensorRT plan. TensorRT is imported when it runs; torch is not needed."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from ...engine.runtimes.build_options import COMPATIBILITIES, BuildOptions, Cancelled
from ...engine.runtimes.build_plan import NEW, Built, build_plan
from ...engine.runtimes.models import find_model
from ...engine.runtimes.planfile import json_path
from ...engine.runtimes.tensorrt_builder import MODULES
from .build_progress import BuildProgress, attended, stopped_by_signals

EXAMPLES = """\
examples:
  saliency-tubes build i3d                                     writes i3d.plan and i3d.plan.json
  saliency-tubes build i3d.onnx -o i3d-16.plan --frames 16
  saliency-tubes build i3d.onnx --batch 1:2:4
  saliency-tubes build i3d.onnx --builder tensorrt-rtx --compute-capability 8.9 12.0

f16 is chosen at export (--precision f16): a plan computes in the types of its ONNX file.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `saliency-tubes build`."""
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "onnx", metavar="ONNX", help="a file that 'saliency-tubes export' made, or a model that comes with the package"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="PLAN", help="plan to write (default: ONNX with .plan)")
    parser.add_argument(
        "--builder",
        choices=("auto", *MODULES),
        default="auto",
        help="auto (default): tensorrt where it is installed, else tensorrt-rtx",
    )
    shapes = parser.add_argument_group("what it takes")
    shapes.add_argument("--frames", type=int, metavar="T", help="clip length (default: the manifest's)")
    shapes.add_argument(
        "--batch",
        type=_batch,
        default=(1, 1, 1),
        metavar="N or MIN:OPT:MAX",
        help="clips at a time; the plan is tuned for OPT (default: 1)",
    )
    where = parser.add_argument_group("where it runs")
    where.add_argument(
        "--compute-capability",
        nargs="+",
        default=(),
        metavar="X.Y",
        help="TensorRT-RTX: the GPUs to build for, such as 8.9 (default: all from 8.0)",
    )
    where.add_argument("--version-compatible", action="store_true", help="also with later versions of TensorRT; slower")
    where.add_argument(
        "--hardware-compatibility",
        choices=COMPATIBILITIES,
        default=COMPATIBILITIES[0],
        help="TensorRT: also on other GPUs, of the same compute capability or of any from 8.0; slower",
    )
    _add_building(parser.add_argument_group("how it is built"))


def _add_building(how: argparse._ArgumentGroup) -> None:
    how.add_argument("--workspace", type=int, metavar="MIB", help="GPU memory a layer may use (default: all there is)")
    how.add_argument(
        "--optimization-level", type=int, metavar="0..5", help="5: builds longest (default: TensorRT's, 3)"
    )
    how.add_argument(
        "--no-tf32", action="store_true", help="float32 at full precision, where the GPU would round; slower"
    )
    how.add_argument(
        "--timing-cache", type=Path, metavar="FILE", help="TensorRT: what it measured, kept for the next build "
        "(default: PLAN.timing)",
    )  # fmt: skip
    how.add_argument("--no-timing-cache", action="store_true", help="measure everything anew, and keep nothing")
    how.add_argument("--force", action="store_true", help="build even if nothing has changed")
    how.add_argument("--verbose", action="store_true", help="show TensorRT's own log")


def run(args: argparse.Namespace) -> int:
    """Builds, and prints what was done. Returns 0, or 130 after Ctrl-C. Raises what `build_plan` does."""
    onnx = find_model(args.onnx)
    # beside a file of the user's, but not inside the package
    plan: Path = args.output or Path(args.onnx).with_suffix(".plan")
    options = BuildOptions(
        batch=args.batch,
        clip_length=args.frames,
        workspace=args.workspace,
        compute_capability=tuple(args.compute_capability),
        version_compatible=args.version_compatible,
        hardware_compatibility=args.hardware_compatibility,
        tf32=not args.no_tf32,
        optimization_level=args.optimization_level,
    )
    cache = args.timing_cache or plan.with_name(plan.name + ".timing")
    progress = BuildProgress(sys.stderr, args.verbose)
    work = partial(
        build_plan,
        onnx,
        plan,
        options,
        builder=args.builder,
        timing_cache=None if args.no_timing_cache else cache,
        force=args.force,
        watch=progress,
    )
    began = time.monotonic()
    try:
        with stopped_by_signals(progress) as received:
            built = attended(work, progress)
    except Cancelled:
        return 128 + received[0]
    _print(plan, built, time.monotonic() - began)
    return 0


def _print(plan: Path, built: Built, seconds: float) -> None:
    info = built.info
    if not built.why:
        print(f"{plan}: nothing has changed since it was built by {info.made_by} (--force builds it again)")
        return
    again = "" if built.why == NEW else f": {built.why}"
    print(f"{plan}: {info.manifest.title}, built in {seconds:.1f} s{again}")
    for name, text in info.rows():
        print(f"  {name:<9} {text}")
    print(f"  {'beside it':<9} {json_path(plan).name}")


def _batch(text: str) -> tuple[int, int, int]:
    try:
        sizes = tuple(int(part) for part in text.split(":"))
    except ValueError:
        sizes = ()
    if len(sizes) == 1:
        sizes *= 3
    if len(sizes) != 3:
        raise argparse.ArgumentTypeError(f"a number or MIN:OPT:MAX, got {text!r}")
    return sizes[0], sizes[1], sizes[2]
