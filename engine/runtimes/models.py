"""Model files: from a name to its file, and from the file to its manifest."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from ..manifest import Manifest
from .onnxfile import read_metadata
from .planfile import read_plan

ASSETS = Path(__file__).parents[1] / "assets"
PLAN_SUFFIXES = (".plan", ".engine")


def find_model(model: str | Path) -> Path:
    """The file of a model shipped with the package ("i3d"), or the path itself. Raises ModelError if there is none."""
    shipped = {file.stem: file for file in sorted(ASSETS.glob("*.onnx"))}
    if model in shipped:
        return shipped[str(model)]
    path = Path(model)
    try:
        exists = path.is_file()
    except OSError as error:  # the name is too long, or a folder may not be entered
        raise ModelError(f"no model {str(model)[:80]!r}: {error.strerror}") from None
    if not exists:
        raise ModelError(f"no model {str(model)!r}: neither a file nor one of those shipped: {', '.join(shipped)}")
    return path


def read_manifest(path: Path) -> Manifest:
    """The manifest of an ONNX file or of a plan; that of a plan names the plan's one clip length only.

    Raises ModelError, naming the file, if it has none or a wrong one.
    """
    if is_plan(path):
        return read_plan(path, verify=False).served
    properties = read_metadata(path)
    try:
        return Manifest.from_properties(properties)
    except ModelError as error:
        raise ModelError(f"cannot use model {path}: {error}") from None


def is_plan(path: Path) -> bool:
    """Whether a file is a TensorRT plan, by its name."""
    return path.suffix in PLAN_SUFFIXES
