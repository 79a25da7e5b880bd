"""`saliency-tubes export` and `manifest add`. torch is imported when they run, not before."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.errors import ModelError, UsageError
from ..engine.manifest import RESIZE_RULES, InputSpec, Manifest
from ..engine.picture import F32
from ..engine.precision import EXPORT_PRECISIONS, check_precision

if TYPE_CHECKING:
    from torch import nn

    from .recipe import Recipe

NEEDS = ("torch", "onnx", "onnxscript")
HEADS = ("auto", "linear", "gradient")
PREPROCESSING: dict[str, Any] = {
    "mean": (0.45, 0.45, 0.45),
    "std": (0.225, 0.225, 0.225),
    "resize": "center",
    "rate": 25.0,
    "stride": 1,
}
"""how a network sees that is not of the zoo, unless told otherwise"""
COLORS, FRAMING = ("mean", "std"), ("resize", "rate", "stride")
"""the part of it that may be told of a network of the zoo too, for weights that were trained so; and the rest"""

EXPORT_EXAMPLES = """\
examples:
  saliency-tubes export i3d -o i3d.onnx
  saliency-tubes export r3d_18 --weights my.safetensors --labels my-classes.txt --precision f16
  saliency-tubes export mfnet --weights mfnet.pth --std 0.229 0.224 0.225    as the paper's PyTorch script feeds it
  saliency-tubes export mymodels.py:network --weights best.pt --input-shape 3,16,112,112 --labels ucf101
  saliency-tubes export mymodels.py:network --input-shape 3,16,112,112 --list-layers
"""


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `saliency-tubes export`."""
    parser.epilog, parser.formatter_class = EXPORT_EXAMPLES, argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("model", metavar="MODEL", help="a network of the zoo, package.module:factory, or path/to/file.py:factory")
    add("-o", "--output", type=Path, metavar="FILE", help="ONNX file to write (default: the network's name)")
    add("--weights", metavar="FILE", help="a .safetensors or .pt file; 'default': the published ones, where they can "
        "be had; 'random' (default: 'default' in the zoo, the factory's own for your networks)")  # fmt: skip
    add("--labels", metavar="SET", help="kinetics400, ucf101, hmdb51, ..., or a file with one name a line")
    add("--frames", type=int, nargs="+", metavar="T", help="clip lengths to serve; several make T dynamic")
    add("--clip", type=Path, nargs="+", default=[], metavar="VIDEO", help="check on these, not on noise")
    add("--force", action="store_true", help="write the file though a bound is missed")
    look = parser.add_argument_group("where the evidence is")
    look.add_argument("--layer", help="the layer to tap (default: found)")
    look.add_argument("--list-layers", action="store_true", help="show the layers that can be tapped, and stop")
    look.add_argument(
        "--head", choices=HEADS, default="auto", help="take it as linear, or by gradients (default: look)"
    )
    how = parser.add_argument_group("precision")
    how.add_argument(
        "--precision",
        type=_precision,
        metavar="{" + ",".join(EXPORT_PRECISIONS) + "}",
        default="f32",
        help="of the trunk; inputs and outputs are f32 (default: f32)",
    )
    how.add_argument(
        "--calibrate", type=Path, nargs="+", default=[], metavar="DIR", help="int8: videos to calibrate on"
    )
    how.add_argument("--compact", action=argparse.BooleanOptionalAction, help="f32, kernels stored as f16")
    seen = parser.add_argument_group("how the network sees (the zoo knows, and takes --mean and --std)")
    seen.add_argument("--size", type=int, metavar="PIXELS", help="zoo: height and width of the input")
    seen.add_argument("--input-shape", metavar="3,T,H,W", help="what the network takes")
    seen.add_argument("--classes", type=int, metavar="K", help="check that the network has as many")
    _add_preprocessing(seen)


def _precision(text: str) -> str:
    try:
        return check_precision(text, EXPORT_PRECISIONS)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def export(args: argparse.Namespace) -> int:
    """Exports, checks, and prints what was done. Returns 0.

    Raises UsageError for arguments that cannot be met, ModelError if the weights or the written file are not right:
    then no file is left behind.
    """
    _require_packages()
    if args.precision == "int8" and not args.calibrate:
        raise UsageError("int8 needs clips to calibrate on: give a folder of videos with --calibrate DIR")
    if args.calibrate and args.precision != "int8":
        raise UsageError(f"--calibrate is for --precision int8, not {args.precision}")
    from .check import check
    from .onnx import describe, restate, write_onnx
    from .precision import convert_file

    model, recipe = network_of(args)
    if args.list_layers:
        return _list_layers(model, recipe)
    output: Path = args.output or Path(f"{recipe.name}.onnx")
    if not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: there is no folder {output.parent}")
    # a quarter longer than the window: how far slices can be trusted shows by shifting it
    longer = [
        clip
        for clip_length in recipe.clip_lengths
        for clip in _clips(args.clip, recipe.input, clip_length + clip_length // 4)
    ]
    manifest, analysis = describe(model, recipe, head=args.head, layer=args.layer, clips=longer)
    clips = [clip for clip_length in recipe.clip_lengths for clip in _clips(args.clip, recipe.input, clip_length)]
    calibration = _clips(args.calibrate, recipe.input, recipe.default_clip_length)
    try:
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            unchecked = Path(folder) / output.name
            remark = write_onnx(model, manifest, unchecked, recipe)
            convert_file(unchecked, args.precision, manifest=manifest, calibration=calibration)
            report = check(unchecked, model, clips=clips, force=args.force)
            if report.missed:
                restate(unchecked, replace(manifest, missed=report.missed))
            unchecked.replace(output)
    except OSError as error:
        raise ModelError(f"cannot write {output}: {error.strerror}") from None
    _print(output, manifest, analysis.reason)
    if analysis.output:
        print(f"  output      {analysis.output}; the file gives no other")
    if remark:
        print(f"  batch       1 only: {remark}")
    print(report.table)
    for one in report.missed:
        print(f"warning: {one.words}; --precision auto will not choose it for this file")
    return 0


def add_manifest_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `saliency-tubes manifest`."""
    add = parser.add_subparsers(required=True, metavar="add").add_parser("add", help="to an ONNX file made elsewhere")
    add.add_argument("model", type=Path, metavar="ONNX")
    add.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the same with a manifest")
    add.add_argument("--activation", required=True, metavar="TENSOR", help="the tensor [batch, C, t, h, w] to tap")
    add.add_argument("--input-shape", required=True, metavar="3,T,H,W", help="what the graph takes")
    add.add_argument("--labels", required=True, metavar="SET", help="kinetics400, ..., or a file with one name a line")
    add.add_argument("--logits", metavar="OUTPUT", help="(default: the graph's only output)")
    add.add_argument("--class-weights", metavar="INITIALIZER", help="the head's matrix (default: the one that adds up)")
    _add_preprocessing(add)


def manifest_add(args: argparse.Namespace) -> int:
    """Gives an ONNX file a manifest. Returns 0; raises what `adopt` raises."""
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UsageError(f"manifest add needs {', '.join(missing)}: pip install 'saliency-tubes[export,onnxruntime]'")
    from .adopt import Adoption, adopt

    spec, clip_length = input_spec_of(args)
    adoption = Adoption(spec, clip_length, _labels(args.labels), args.activation, args.logits, args.class_weights)
    manifest = adopt(args.model, args.output, adoption)
    _print(args.output, manifest, "linear: found among the initializers, and it adds up to the logits")
    return 0


def _add_preprocessing(group: argparse._ActionsContainer) -> None:
    """What `input_spec_of` reads. Without defaults, so that what was given can be told from what was not."""
    add = group.add_argument
    for name in COLORS:
        values = " ".join(f"{value:g}" for value in PREPROCESSING[name])
        add(f"--{name}", type=float, nargs=3, metavar="V", help=f"of R, G and B, values in 0..1 (default: {values})")
    add("--resize", choices=RESIZE_RULES, help="the frame to the input's size (default: center)")
    add("--short-side", type=int, metavar="PIXELS", help="center: the frame's, before the middle is cut")
    add("--rate", type=float, metavar="FPS", help="of the video it was trained on (default: 25)")
    add("--stride", type=int, metavar="N", help="frames from one sample to the next (default: 1)")


def network_of(args: argparse.Namespace) -> tuple[nn.Module, Recipe]:
    from . import user

    return _users_network(args) if user.is_factory(args.model) else _zoo_network(args)


def _zoo_network(args: argparse.Namespace) -> tuple[nn.Module, Recipe]:
    from .zoo import load

    colors = _colors(args)
    for option in ("input_shape", "classes", "short_side", *FRAMING):
        if (value := getattr(args, option)) is not None:
            given = f"{value:g}" if isinstance(value, float) else value
            raise UsageError(
                f"--{option.replace('_', '-')} {given} is for your own networks: {args.model} is fed as it was "
                f"trained; --frames, --size, --mean and --std are what can be changed"
            )
    model, recipe = load(
        args.model,
        weights=None if args.weights == "random" else args.weights or "default",
        clip_lengths=args.frames,
        size=args.size,
        labels=_labels(args.labels) if args.labels else None,
    )
    with _as_usage():
        recipe = replace(recipe, input=replace(recipe.input, **colors))
    return model, recipe if args.compact is None else replace(recipe, compact=args.compact)


def _users_network(args: argparse.Namespace) -> tuple[nn.Module, Recipe]:
    from . import labels, user
    from .recipe import Recipe

    if args.size is not None:
        raise UsageError("--size is for the zoo: your own network has --input-shape")
    if args.weights == "default":
        raise UsageError("--weights default is for the zoo: your factory makes your network's own")
    if args.input_shape is None:
        raise UsageError("your own network needs --input-shape 3,T,H,W")
    for count in args.frames or ():
        if count < 1:
            raise UsageError(f"--frames must be 1 or more, got {count}")
    spec, clip_length = input_spec_of(args)
    model = user.load_network(
        args.model, None if args.weights in (None, "random") else Path(args.weights), spec, clip_length
    )
    classes = user.count_classes(model, spec, clip_length)
    if args.classes not in (None, classes):
        raise UsageError(f"--classes is {args.classes}, the network has {classes}")
    served = tuple(sorted(set(args.frames or [clip_length])))
    name = args.model.rpartition(":")[2]
    return model, Recipe(
        name=name,
        title=name,
        license="unknown",
        input=spec,
        clip_lengths=served,
        default_clip_length=clip_length if clip_length in served else max(served),
        labels=labels.load(args.labels, classes) if args.labels else labels.numbered(classes),
        compact=bool(args.compact),
    )


def _labels(name: str) -> tuple[str, ...]:
    from . import labels

    return labels.named(name) if name in labels.SETS else labels.read(Path(name))


def input_spec_of(args: argparse.Namespace) -> tuple[InputSpec, int]:
    """How the network sees, and T."""
    try:
        channels, clip_length, height, width = map(int, args.input_shape.split(","))
    except ValueError:
        channels = clip_length = height = width = 0
    if channels != 3 or min(clip_length, height, width) < 1:
        raise UsageError(f"--input-shape must be 3,T,H,W, got {args.input_shape!r}")
    given = {name: value for name in PREPROCESSING if (value := getattr(args, name)) is not None}
    seen = {**PREPROCESSING, **given, **_colors(args)}
    seen["short_side"] = max(height, width) if args.short_side is None else args.short_side
    with _as_usage():
        spec = InputSpec(size=(height, width), **seen)
    return spec, clip_length


def _colors(args: argparse.Namespace) -> dict[str, Any]:
    """mean and std, as far as they were given."""
    given = {name: tuple(values) for name in COLORS if (values := getattr(args, name)) is not None}
    if max(given.get("mean", (0.0,))) > 1:
        values = " ".join(f"{value:g}" for value in given["mean"])
        raise UsageError(f"--mean is of values in 0..1, got {values}: divide it, and --std, by 255")
    return given


@contextmanager
def _as_usage() -> Iterator[None]:
    """What is wrong with a specification is wrong with the arguments that make it."""
    try:
        yield
    except ModelError as error:
        raise UsageError(str(error)) from None


def _clips(paths: Sequence[Path], spec: InputSpec, clip_length: int) -> list[F32]:
    from .clips import read_clips

    return read_clips(paths, spec, clip_length) if paths else []


def _list_layers(model: nn.Module, recipe: Recipe) -> int:
    import torch

    from .table import table
    from .tap import candidates, find_tap

    example = torch.zeros(1, 3, recipe.default_clip_length, *recipe.input.size)
    rows: list[Sequence[str]] = [("layer", "C", "t", "h", "w", "")]
    for one in candidates(model, example):
        rows.append((one.name, *map(str, one.shape[1:]), "" if one.dominates else "not all passes through it"))
    print(table(rows))
    print(f"tapped unless --layer says otherwise: {find_tap(model, example, recipe.layer)}")
    return 0


def _require_packages() -> None:
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise UsageError(f"export needs {', '.join(missing)}: pip install 'saliency-tubes[export]'")


def _print(output: Path, manifest: Manifest, reason: str) -> None:
    size, clip_lengths = "{}, {}".format(*manifest.input.size), ", ".join(map(str, manifest.windows))
    window = manifest.window(manifest.default_clip_length)
    print(f"{output}: {manifest.title}, ONNX, {output.stat().st_size / 1e6:.1f} MB")
    print(f"  input       {manifest.input.name} [batch, 3, T, {size}], T = {clip_lengths}")
    print(f"  activation  {manifest.tap}, {manifest.channels} channels, {window.slices_in_words}")
    weights = "" if manifest.head else "; weights by gradient"
    print(f"  head        {reason}{weights}; {len(manifest.labels)} classes")
    print(f"  license     {manifest.license}")
