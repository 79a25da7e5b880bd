"""The tap: which layer's output is the activation, and how it is taken out of the network or put in its place."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.errors import ModelError, UsageError, one_line

_AVERAGES = (nn.AvgPool3d, nn.AdaptiveAvgPool3d)
_Edge = tuple[Any, int]
"""a tensor in the autograd graph: the node that made it, and which of the node's outputs it is"""


@dataclass(frozen=True)
class Candidate:
    """A layer whose output is an activation."""

    name: str
    """as in `named_modules()`"""
    shape: tuple[int, ...]
    """[N, C, t, h, w]"""
    dominates: bool
    """whether every path from the clip to the logits passes through it"""


class Tapped(nn.Module):
    """Wraps a network: clip [N, 3, T, H, W] gives (logits [N, K], activation [N, C, t, h, w] of the tapped layer).

    Of a network that gives several outputs the first is the logits (`find_logits`). `layer` is its name in
    `named_modules()`. Raises UsageError, naming the nearest ones, if there is none of that name; and ModelError at the
    first call if the layer is not run exactly once or gives no such tensor.
    """

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        check_name(model, layer)
        self.model = model
        self.layer = layer

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        # a copy, since the next layer may work in place
        with _hooked(self.model, self.layer, lambda output: (output.clone(), output)) as outputs:
            logits, _ = find_logits(self.model(clip))
        return logits, _only(self.layer, outputs)


@contextmanager
def cut(model: nn.Module, layer: str, value: Tensor | None = None) -> Iterator[list[Tensor]]:
    """Within it, the output of `layer` is cut off from what made it, and is the leaf that gradients are taken for.

    The network goes on with `value` in its place, if given. Yields a list that holds the leaf once the network was run.
    """

    def replace(output: Tensor) -> tuple[Tensor, Tensor]:
        leaf = (output if value is None else value).detach().requires_grad_(True)
        return leaf, leaf.clone()  # a copy: the next layer may work in place, and a leaf must not be changed

    with _hooked(model, layer, replace) as kept:
        yield kept


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In the block the network is in eval mode and its parameters need no gradient; afterwards all is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    needs = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.eval()
    try:
        for parameter, _ in needs:
            parameter.requires_grad_(False)
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, needed in needs:
            parameter.requires_grad_(needed)


def candidates(model: nn.Module, example: Tensor) -> list[Candidate]:
    """The layers that give one activation [N, C, t, h, w] a clip, in the order in which they run.

    `example`: a clip [1, 3, T, H, W]. Raises UsageError if the network does not give logits [N, K] for it.
    """
    return [
        Candidate(call.name, call.shape, call.dominates) for call in _Record(model, example).calls if call.activation
    ]


def find_tap(model: nn.Module, example: Tensor, layer: str | None = None) -> str:
    """The last spatio-temporal activation that everything to the logits passes through, or `layer`, if it will do.

    Last before the head: what comes after its average pool is left out, and so is the 1x1x1 convolution that makes the
    classes' scores. Of modules that give the same tensor it is the outermost (`layer4`, not `layer4.1.relu`). Raises
    UsageError if there is none, or if `layer` does not exist, is not run once, or gives no [N, C, t, h, w].
    """
    if layer is not None:
        check_name(model, layer)
    record = _Record(model, example)
    return record.last() if layer is None else record.named(layer)


def check_name(model: nn.Module, layer: str) -> None:
    """Raises UsageError, with the nearest names, unless the network has a layer of this name."""
    names = [name for name, _ in model.named_modules() if name]
    if layer not in names:
        depth = layer.count(".")
        near = difflib.get_close_matches(layer, names, 5, 0.6) or [n for n in names if n.count(".") <= depth]
        more = ", ..." if len(near) > 20 else ""
        raise UsageError(f"no layer {layer!r}; there are {', '.join(near[:20])}{more}")


def find_logits(output: object) -> tuple[Tensor, str]:
    """What a network gave, as one tensor [N, K]; and, where it gave several, which of them that is, in words.

    It is the first one of a tuple, a list, a dictionary or a dataclass (whose fields that are None do not count, as in
    the outputs of `transformers`). Raises UsageError where that is no tensor [N, K].
    """
    named = _parts(output)
    if named is None:
        return _matrix("it gave", output), ""
    kind = type(output).__name__
    if not named:
        raise UsageError(f"the network must give logits [N, K], it gave an empty {kind}")
    name, first = named[0]
    which = f"the first of {len(named)} outputs in a {kind}" if len(named) > 1 else f"the one output in a {kind}"
    which += f", {name!r}" if name else ""
    logits = _matrix(f"{which} is", first)
    return logits, f"{which}, {list(logits.shape)}, is taken for the logits"


def _parts(output: object) -> list[tuple[str, object]] | None:
    """Names, if any, and values of what holds several outputs; None for what is none of that kind."""
    if isinstance(output, Mapping):  # before dataclasses: the outputs of `transformers` are both
        return [(str(name), value) for name, value in output.items()]
    if isinstance(output, (tuple, list)):
        names = getattr(output, "_fields", ("",) * len(output))
        return list(zip(names, output, strict=True))
    if is_dataclass(output) and not isinstance(output, type):
        given = [(field.name, getattr(output, field.name)) for field in fields(output)]
        return [(name, value) for name, value in given if value is not None]
    return None


def _matrix(said: str, value: object) -> Tensor:
    if not isinstance(value, torch.Tensor) or value.ndim != 2:
        found = list(value.shape) if isinstance(value, torch.Tensor) else f"no tensor: {type(value).__name__}"
        raise UsageError(f"the network must give logits [N, K], {said} {found}")
    return value


def logits_of(model: nn.Module, clip: Tensor) -> tuple[Tensor, str]:
    """`find_logits` of what a network says of a clip. Raises UsageError, with its own words, where it gives none."""
    try:
        return find_logits(model(clip))
    except UsageError:
        raise
    except Exception as error:  # somebody's code
        raise UsageError(f"the network does not take {list(clip.shape)}: {one_line(error)}") from error


@dataclass
class _Call:
    """One run of one layer."""

    name: str
    module: nn.Module
    shape: tuple[int, ...]
    edge: _Edge
    dominates: bool = False
    channels_last: bool = False
    """twice the frames make axis 1 longer: it is time, as in [N, t, h, w, C], which no tap is"""

    @property
    def activation(self) -> bool:
        return len(self.shape) == 5 and not self.channels_last

    @property
    def leaf(self) -> bool:
        return next(self.module.children(), None) is None

    @property
    def along_the_last_axis(self) -> bool:
        """Whether the layer's kind tells that it works on channels in the last axis."""
        return isinstance(self.module, nn.Linear) or (
            isinstance(self.module, nn.LayerNorm) and self.module.normalized_shape == self.shape[-1:]
        )

    @property
    def kernel(self) -> int:
        """Cells a convolution looks at; 0 for any other layer."""
        weight = self.module.weight if isinstance(self.module, nn.modules.conv._ConvNd) else None
        return 0 if weight is None else weight[0, 0].numel()


class _Record:
    """What one forward pass shows: which layers ran, what they gave, and which of it the logits depend on.

    A layer dominates if in the graph that autograd keeps no way leads from the logits to the clip once the layer's
    output is cut. That is the test of replacing the output and asking for the clip's gradient, for all layers at once.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.runs: dict[str, list[str]] = {name: [] for name, _ in model.named_modules() if name}
        self.calls: list[_Call] = []
        longer = _shapes(model, torch.cat([example, example], 2))
        hooks = [module.register_forward_hook(self._note(name)) for name, module in model.named_modules() if name]
        try:
            with evaluating(model), torch.enable_grad():
                clip = example.detach().requires_grad_(True).clone()
                logits, _ = logits_of(model, clip)
        finally:
            for hook in hooks:
                hook.remove()
        last = {call.edge for call in self.calls if call.along_the_last_axis}
        for call in self.calls:
            one, other = call.shape[1:3], longer.get(call.name, call.shape)[1:3]
            if len(call.shape) == 5:  # where a network takes no other length, the kind of layer has to tell
                call.channels_last = call.edge in last if one == other else one[0] != other[0]
        self.calls = [call for call in self.calls if len(self.runs[call.name]) == 1]
        self.classes = logits.shape[1]
        start: _Edge = (logits.grad_fn, logits.output_nr)
        if not connected(start, clip.grad_fn):
            raise UsageError("no gradient leads from the network's logits to its clip: is it run under no_grad?")
        for call in self.calls:
            call.dominates = call.activation and not connected(start, clip.grad_fn, call.edge)

    def _note(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, inputs: object, output: object) -> None:
            tensor = isinstance(output, torch.Tensor)
            self.runs[name].append(str(list(output.shape)) if tensor else type(output).__name__)  # type: ignore[attr-defined]
            if tensor:
                shape, edge = tuple(output.shape), (output.grad_fn, output.output_nr)  # type: ignore[attr-defined]
                self.calls.append(_Call(name, module, shape, edge))

        return note

    def named(self, layer: str) -> str:
        shapes = self.runs[layer]
        if not shapes:
            raise UsageError(f"layer {layer} is not run")
        if len(shapes) > 1:
            raise UsageError(f"layer {layer} is run {len(shapes)} times a clip: tap one that is run once")
        call = next((call for call in self.calls if call.name == layer), None)
        if call is not None and call.channels_last:
            raise UsageError(f"layer {layer} gives {shapes[0]}, channels last: tap what brings them to [N, C, t, h, w]")
        if call is None or not call.activation:
            raise UsageError(f"layer {layer} gives {shapes[0]}, a tap needs [N, C, t, h, w]")
        return layer

    def last(self) -> str:
        before = self.calls[: self._head()]
        through = [call for call in before if call.dominates]
        # One cell cannot show where the evidence is. Networks end in such layers; on tiny clips there is no other.
        wide = [call for call in through if call.shape[3] * call.shape[4] > 1]
        found = wide or [call for call in through if call.shape[2] > 1] or through
        if not found:
            names = [call.name for call in before if call.activation][-5:]
            raise UsageError(
                "no layer's output carries all that reaches the logits: name one with --layer"
                + (f", of {', '.join(names)}" if names else "")
            )
        return self._outermost(found[-1])

    def _head(self) -> int:
        """The first call of the head, as far as modules show it: an average pool, or the classes' 1x1x1 convolution."""
        last = max((at for at, call in enumerate(self.calls) if call.kernel > 1), default=-1)
        trailing = [(at, call) for at, call in enumerate(self.calls) if at > last and call.leaf and call.dominates]
        heads = [
            at
            for at, call in trailing
            if isinstance(call.module, _AVERAGES) or (call.kernel == 1 and call.shape[1] == self.classes)
        ]
        return heads[0] if heads else len(self.calls)

    def _outermost(self, found: _Call) -> str:
        same = [call.name for call in self.calls if call.edge == found.edge]
        # layers that pass on what they are given, dropout say, have the same edge: the first is the one that made it
        return min((name for name in same if (same[0] + ".").startswith(name + ".")), key=len)


def _shapes(model: nn.Module, clip: Tensor) -> dict[str, tuple[int, ...]]:
    """What the layers give for a clip, by name, as far as the network takes it."""
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: found.update(
            {name: tuple(output.shape)} if isinstance(output, torch.Tensor) else {}
        )

    with suppress(Exception), torch.no_grad():  # its head may accept one length only, or it cannot be copied
        copy = deepcopy(model).eval()  # a copy, because some networks keep values from one clip to the next
        for name, module in copy.named_modules():
            if name:
                module.register_forward_hook(note(name))
        copy(clip.detach())
    return found


def connected(start: _Edge, goal: Any, without: _Edge | None = None) -> bool:
    """Whether autograd's graph leads from `start` to the node `goal`, once the edges to `without` are cut."""
    seen, waiting = set(), [start]
    while waiting:
        edge = waiting.pop()
        node = edge[0]
        if node is None or edge == without or edge in seen:
            continue
        if node is goal:
            return True
        seen.add(edge)
        waiting.extend(node.next_functions)
    return False


@contextmanager
def _hooked(model: nn.Module, layer: str, change: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Iterator[list[Tensor]]:
    """`change` gives what to keep and what to go on with. Whatever is no activation is kept and passed on."""
    kept: list[Tensor] = []

    def hook(module: nn.Module, inputs: object, output: Any) -> Any:
        keep, pass_on = change(output) if isinstance(output, torch.Tensor) else (output, output)
        kept.append(keep)
        return pass_on

    handle = model.get_submodule(layer).register_forward_hook(hook)
    try:
        yield kept
    finally:
        handle.remove()


def _only(layer: str, outputs: list[Tensor]) -> Tensor:
    if len(outputs) != 1 or not isinstance(outputs[0], torch.Tensor) or outputs[0].ndim != 5:
        shapes = [list(o.shape) if isinstance(o, torch.Tensor) else type(o).__name__ for o in outputs]
        raise ModelError(f"layer {layer} must give one activation [N, C, t, h, w] a clip, it gave {shapes}")
    return outputs[0]
