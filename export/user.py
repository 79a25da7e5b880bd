"""A user's own network: the function that makes it, and the file that holds its weights."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from ..engine.errors import TubesError, UsageError
from ..engine.manifest import InputSpec
from ..engine.noise import smooth_noise
from .tap import evaluating, logits_of
from .weights import fit, load_state


def is_factory(name: str) -> bool:
    """Whether a network's name is `package.module:factory` or `path/to/file.py:factory`."""
    return ":" in name


def load_factory(name: str) -> nn.Module:
    """The network that a user's function (or class) makes, called without arguments; in eval mode.

    A module's name is looked for in the working folder too. Runs the user's code. Raises UsageError if it cannot be
    found or called, or gives no torch.nn.Module.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute:
        raise UsageError(f"a network must be package.module:factory or path/to/file.py:factory, got {name!r}")
    module = _import_file(Path(place)) if place.endswith(".py") else _import_name(place)
    factory: Any = module
    for part in attribute.split("."):
        factory = getattr(factory, part, None)
    if factory is None:
        callables = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(f"{place} has no {attribute!r}; it has {', '.join(callables[:20]) or 'nothing to call'}")
    try:
        model = factory if isinstance(factory, nn.Module) else factory()
    except TubesError:
        raise
    except Exception as error:
        raise UsageError(f"{name} failed: {_described(error)}") from error
    return _as_written(name, model)


def _as_written(name: str, model: Any) -> nn.Module:
    """The module that somebody wrote, in eval mode: its layers can be looked into and hooked. Raises UsageError."""
    exported = f"{name} gives what torch.export made, whose layers are gone: give the nn.Module itself"
    if isinstance(model, torch.export.ExportedProgram):
        raise UsageError(exported)
    if not isinstance(model, nn.Module):
        raise UsageError(f"{name} must give a torch.nn.Module, it gave {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise UsageError(f"{name} gives TorchScript, whose layers cannot be looked into: give the nn.Module itself")
    compiled = getattr(model, "_orig_mod", None)  # torch.compile's wrapper around it
    try:
        return (compiled if isinstance(compiled, nn.Module) else model).eval()
    except NotImplementedError:  # of a module that an ExportedProgram gave back
        raise UsageError(exported) from None


def _initialize(name: str, model: nn.Module, clip: torch.Tensor) -> None:
    """Lets lazy layers see a clip, from which they learn their shapes. Raises UsageError where that fails."""
    lazy = [part for part, value in model.named_parameters() if isinstance(value, nn.parameter.UninitializedParameter)]
    if not lazy:
        return
    try:
        with torch.no_grad():
            model(clip)
    except Exception as error:
        raise UsageError(
            f"{name} has lazy layers ({lazy[0]}), and cannot be run to shape them: {_described(error)}"
        ) from error


def load_network(name: str, weights: Path | None, spec: InputSpec, clip_length: int) -> nn.Module:
    """`load_factory`, with the weights of a file if there is one (`weights.load_state` and `weights.fit`).

    Lazy layers are given their shapes by a clip [1, 3, `clip_length`, H, W].
    """
    model = load_factory(name)
    _initialize(name, model, torch.from_numpy(smooth_noise(spec, clip_length)))
    if weights is not None:
        fit(model, load_state(weights))
    return model


def count_classes(model: nn.Module, spec: InputSpec, clip_length: int) -> int:
    """K, by one run of a clip [1, 3, `clip_length`, H, W]. Raises UsageError if it does not give logits for it."""
    clip = torch.from_numpy(smooth_noise(spec, clip_length))
    with evaluating(model), torch.no_grad():
        logits, _ = logits_of(model, clip)
    return int(logits.shape[1])


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"cannot import {path}: there is no such file")
    # a name of its own for each file, or two called model.py would be one
    name = f"_saliency_tubes_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"cannot import {path}: it is not Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look there
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # for what lies beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(f"cannot import {path}: {_described(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def _import_name(name: str) -> ModuleType:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UsageError(f"cannot import {name}: {_described(error)}") from error
    finally:
        sys.path.remove(here)


def _described(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
