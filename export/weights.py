"""Weights from a file into a network: what a checkpoint may be, and what is said when it does not fit.

Nothing in a file is ever run: .safetensors holds arrays only, and all else is read by torch with `weights_only`, which
admits tensors and plain containers.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Container, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..engine.errors import ModelError, UsageError

CONTAINERS = ("state_dict", "model_state", "model_state_dict", "model", "net", "weights")
"""the keys under which trainers put the weights, beside the optimizer's state and the like"""
PREFIXES = ("module.", "_orig_mod.")
"""what wrappers put before every name: nn.DataParallel and its kin, torch.compile"""
COUNTERS = ".num_batches_tracked"
"""a counter of batch norm: only training uses it, and checkpoints of old versions of torch lack it"""
MOST_NAMED = 5
"""maximum number of keys that a message names"""


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, on the CPU, by their names in the network.

    `path` is a .safetensors, or anything torch.save wrote (.pt, .pth, .pyth, .ckpt): a state_dict, or a trainer's
    dictionary that has one under one of `CONTAINERS`. Raises ModelError, in one line, if there is no such file, if it
    needs more than `weights_only`, or if it holds no weights.
    """
    if not path.is_file():
        reason = "it is a folder" if path.is_dir() else "there is no such file"
        raise ModelError(f"cannot read weights {path}: {reason}")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = _find_state(path, content)
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"{path}: {name} must be a tensor, got {type(value).__name__}")
    return state


def fit(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Puts the tensors of `state` into `module`, in place, in the module's own dtypes.

    Prefixes of wrappers are taken off where no name fits as it is. Every parameter and buffer must have its tensor, of
    its shape, and every tensor its place; only batch norm's counters may be missing. Raises ModelError naming at most
    `MOST_NAMED` of those that do not fit; the module is untouched then.
    """
    expected = module.state_dict()
    state = without_prefixes(state, expected)
    lazy = [name for name, value in expected.items() if is_lazy(value)]
    if lazy:
        raise ModelError(f"{_first(lazy, MOST_NAMED)} of the network has no shape before its first clip: give it one")
    missing = [name for name in expected if name not in state and not name.endswith(COUNTERS)]
    unknown = [name for name in state if name not in expected]
    misshapen = [
        f"{name} is {_shape(state[name])} where the network has {_shape(tensor)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    groups = {"missing": missing, "unknown": unknown, "of another shape": misshapen}
    if any(groups.values()):
        named = MOST_NAMED // sum(map(bool, groups.values()))
        said = [f"{len(keys)} {what} ({_first(keys, named)})" for what, keys in groups.items() if keys]
        raise ModelError(f"the weights do not fit the network: {'; '.join(said)}")
    spoiled = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if spoiled:
        raise ModelError(f"the weights hold values that are not finite: {_first(spoiled, MOST_NAMED)}")
    module.load_state_dict({**expected, **state})


def without_prefixes(state: Mapping[str, Tensor], wanted: Container[str] = ()) -> dict[str, Tensor]:
    """The same with shorter names, as long as all have a wrapper's prefix and none is wanted as it is."""
    while state and not any(name in wanted for name in state):
        prefix = next((one for one in PREFIXES if all(name.startswith(one) for name in state)), None)
        if prefix is None:
            break
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return dict(state)


def _joined(error: BaseException) -> str:
    """The whole text of an exception in one line; torch names at its end what it would have had to run."""
    return " ".join(str(error).split()) or type(error).__name__


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/saliency-tubes, or ~/.cache/saliency-tubes."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "saliency-tubes"


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise UsageError("reading .safetensors needs safetensors: pip install 'saliency-tubes[export]'") from None
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is not a safetensors file: {_joined(error)}") from None


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"cannot read weights {path}: {error.strerror}") from None
    except Exception as error:  # what is not a checkpoint can raise almost anything
        raise ModelError(f"{path} {_refusal(error)}") from None


def _refusal(error: Exception) -> str:
    text = _joined(error)
    unsafe = re.search(r"GLOBAL ([\w.]+)", text) or re.search(r"(?:class|function) ([\w.]+) .*not.* allowed", text)
    convert = "load it where you trust it and write torch.save(model.state_dict(), FILE)"
    if unsafe:
        return f"holds more than weights: reading it would run {unsafe[1]}. To convert it, {convert}"
    if "TorchScript" in text:
        return f"is TorchScript, a program and not just weights. To convert it, {convert}"
    return f"is not a checkpoint that torch can read: {text[:120]}"


def _find_state(path: Path, content: object) -> dict[str, Any]:
    if isinstance(content, Mapping):
        for candidate in (*(content.get(key) for key in CONTAINERS), content):
            if isinstance(candidate, Mapping) and any(isinstance(value, torch.Tensor) for value in candidate.values()):
                return {str(name): value for name, value in candidate.items()}
        found = f"a dictionary of {_first(map(str, content), MOST_NAMED)}" if content else "an empty dictionary"
    else:
        found = type(content).__name__
    raise ModelError(f"{path} holds no weights: expected a state_dict, found {found}")


def _first(names: Iterable[str], count: int) -> str:
    names = list(names)
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"
