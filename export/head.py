"""What follows the tap: a linear head, whose class weights are found by probing, or one that needs gradients."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.errors import UsageError
from ..engine.manifest import LinearHead
from ..engine.picture import F32, F64
from .tap import connected, cut, evaluating, logits_of

MODES = ("auto", "linear", "gradient")
TOLERANCE = 1e-4
"""Maximum deviation of a linear head from linear, as a share of its output: rounding to float32 causes less, any
nonlinearity that matters causes more."""
RAISE, RAISES = 100.0, 8
"""Factor by which the random activations are enlarged, and how often at most, until the logits that they change
outweigh the head's bias."""
SMALL = 0.5
"""Minimum change of the logits, as a share of their size: a smaller change could be hidden by a large bias."""
LARGEST_DENOMINATOR = 4096
"""Largest denominator of the fractions that pool weights are rounded to: real pools weigh cells by simple fractions,
and measuring in float32 gives them slightly off."""
GRADIENT_HINT = "explain it by gradients (--head gradient), or pool before the linear layer"


@dataclass(frozen=True)
class Pool:
    """The weight of each cell in a linear head: the outer product of slice_weights and cell_weights; the sum is 1."""

    slice_weights: tuple[float, ...]
    """[t]"""
    cell_weights: tuple[tuple[float, ...], ...] = ()
    """[h, w]; empty: all cells count the same"""

    @classmethod
    def even(cls, slices: int) -> Pool:
        return cls((1 / slices,) * slices)


@dataclass(frozen=True, eq=False)
class HeadAnalysis:
    """What the head is, and how that is known."""

    head: LinearHead | None
    """None: the head is not linear, or is to be treated as one that is not"""
    pool: Pool
    """the pool at the example's clip length; the same weight for all cells where the head is not linear"""
    reason: str
    """how it is known, in words"""
    shape: tuple[int, ...]
    """[C, t, h, w] of the activation"""
    classes: int
    """K"""
    output: str = ""
    """which of several outputs is taken for the logits, in words; empty: there is one"""

    @property
    def linear(self) -> bool:
        return self.head is not None


def analyse_head(model: nn.Module, tap: str, example: Tensor, mode: str = "auto") -> HeadAnalysis:
    """Probes the part of a network behind its layer `tap`, in eval mode; the network is left as it was.

    The head is linear if it is affine and its Jacobian is d logit_c / d A[k,t,y,x] = w[c,k] pool[t,y,x], with one pool
    for all classes and channels: then class activation maps are exact (Zhou et al., CVPR 2016, eq. 1 and 2). It is
    affine if its value at the middle of two random activations is the mean of its values there, and the same holds on
    the way to the example's own. The random ones are as large as the example's own, and larger where those change the
    logits too little to tell. `example`: a clip [1, 3, T, H, W]. The trunk runs twice, or five times if the head
    needs clip and activation to be of one batch.

    mode: auto; linear, which refuses any other; gradient, which does not look. Raises UsageError for a head without a
    class activation map: affine, but mixing places or channels in ways no pool does.
    """
    if mode not in MODES:
        raise UsageError(f"head must be one of {', '.join(MODES)}, got {mode!r}")
    with evaluating(model), torch.enable_grad():
        probe = _Probe(model, tap, example)
        shape, classes = tuple(probe.leaf.shape[1:]), probe.logits.shape[1]
        head, pool = None, Pool.even(shape[1])
        if mode == "gradient":
            reason = "gradients, as asked for"
        elif reason := _not_affine(probe):
            pass
        else:
            weights, cells, rest = _factors(probe, range(classes))
            found = _separated(cells.reshape(shape[1:])) if rest <= TOLERANCE else None
            if rest > TOLERANCE or cells.min() < -TOLERANCE * cells.max():
                raise UsageError(
                    f"the head behind {tap} is linear but weighs channels by their place: it has no class activation "
                    f"map; {GRADIENT_HINT}"
                )
            if found is None:
                reason = "linear, but its pool in space changes over time"
            else:
                pool, reason = found, "linear: pooled activation times class weights plus bias is the logit"
                head = _head(model, weights, probe.bias(weights, cells))
    if mode == "linear" and head is None:
        raise UsageError(f"the head behind {tap} is not linear: {reason}")
    return HeadAnalysis(head, pool, reason, shape, classes, probe.output)


def find_pool(model: nn.Module, tap: str, example: Tensor, head: LinearHead) -> Pool:
    """The pool of a head found linear, at another clip length. The trunk runs once.

    Raises UsageError if the head has other class weights there, or no pool.
    """
    with evaluating(model), torch.enable_grad():
        probe = _Probe(model, tap, example, trunk=False)
        some = range(0, probe.logits.shape[1], max(1, probe.logits.shape[1] // 16))
        weights, cells, rest = _factors(probe, some)
        pool = _separated(cells.reshape(probe.leaf.shape[2:])) if rest <= TOLERANCE else None
        known = head.class_weights[list(some)]
        if pool is None or np.abs(weights - known).max() > TOLERANCE * np.abs(known).max():
            raise UsageError(f"the head behind {tap} is not the same at {example.shape[2]} frames: export those alone")
    return pool


class _Probe:
    """The head by itself: the example's activation as a leaf, its logits, and the logits of any other activation."""

    def __init__(self, model: nn.Module, tap: str, example: Tensor, trunk: bool = True) -> None:
        self.model, self.tap = model, tap
        self.example = example.detach()
        # autograd's graph of the trunk may take gigabytes: it is kept only to look for ways around the tap
        clip = self.example.clone().requires_grad_(trunk).clone()
        with cut(model, tap) as kept:
            self.logits, self.output = logits_of(model, clip)
        self.leaf = kept[0]
        self.bypassed = trunk and connected((self.logits.grad_fn, self.logits.output_nr), clip.grad_fn)

    def values(self, activations: Tensor) -> Tensor:
        """Logits [n, K] of activations [n, C, t, h, w]."""
        with torch.no_grad():
            try:  # all activations in one batch behind a single clip, so that the trunk runs only once
                logits = self._run(activations)
                if logits.shape == (len(activations), self.logits.shape[1]):
                    return logits
            except Exception:  # the head takes its batch size from the clip; networks fail in many ways then
                pass
            return torch.cat([self._run(activation[None]) for activation in activations])

    def _run(self, activations: Tensor) -> Tensor:
        with cut(self.model, self.tap, activations):
            return logits_of(self.model, self.example)[0]

    def row(self, index: int) -> F64:
        """d logit / d activation, [C, cells]."""
        (row,) = torch.autograd.grad(self.logits[0, index], self.leaf, retain_graph=True, allow_unused=True)
        row = torch.zeros_like(self.leaf) if row is None else row
        return np.asarray(row[0].flatten(1).double().numpy())

    def bias(self, weights: F64, cells: F64) -> F64:
        """[K], what the logits are beyond weights times pooled activation."""
        activation = self.leaf.detach()[0].flatten(1).double().numpy()
        return np.asarray(self.logits.detach()[0].double().numpy() - weights @ (activation @ cells))


def _not_affine(probe: _Probe) -> str:
    """Why the head is not affine in the tap, in words; empty if it is."""
    if probe.bypassed:
        return "other ways lead around it"
    given = probe.logits.detach()[0].double()
    size = float(probe.leaf.detach().abs().mean()) or 1.0
    for _ in range(RAISES):
        miss, extent, largest = _bend(probe, size)
        if extent >= SMALL * largest:
            break
        size *= RAISE
    if miss <= TOLERANCE * extent:
        return ""
    kinds = (
        ", its outputs are probabilities" if float(given.min()) >= 0 and abs(float(given.sum()) - 1) < TOLERANCE else ""
    )
    return f"not linear: off by {miss / (extent or largest):.1%} of its size between two random activations{kinds}"


def _bend(probe: _Probe, size: float) -> tuple[float, float, float]:
    """How far the head is from affine between random activations of a size, how far it moves, its largest logit."""
    real, given = probe.leaf.detach()[0], probe.logits.detach()[0].double()
    random = torch.Generator().manual_seed(0)
    one, other = (
        # Each channel has an offset, or pooling would make all random activations alike. The two scales lie far apart,
        # so that units (as of ReLU) that are on for one are off for the other.
        scale * size * (torch.randn(real.shape, generator=random) + torch.randn(len(real), 1, 1, 1, generator=random))
        for scale in (3.0, -10.0)
    )
    probes = torch.stack([one, other, (one + other) / 2, (one + real) / 2]).to(real)
    first, second, middle, to_real = probe.values(probes).double()
    ends = torch.stack([first, second, given])
    miss = torch.stack([middle - (first + second) / 2, to_real - (first + given) / 2])
    return float(miss.abs().max()), float((ends - given).abs().max()), float(ends.abs().max())


def _factors(probe: _Probe, classes: range) -> tuple[F64, F64, float]:
    """Class weights [n, C], pool [cells] and what is left of the Jacobian J as a share of it.

    The pool sums to 1, so w is J summed over cells; pool = J^T w / (w w), the least-squares fit to J = w (x) pool.
    """
    weights = np.empty((len(classes), probe.leaf.shape[1]))
    cells, whole = np.zeros(probe.leaf[0, 0].numel()), 0.0
    for at, index in enumerate(classes):
        row = probe.row(index)
        weights[at] = row.sum(axis=1)
        cells += weights[at] @ row
        whole += float((row**2).sum())
    square = float((weights**2).sum())
    if not 0 < square < np.inf:
        return weights, np.full_like(cells, 1 / cells.size), np.inf
    cells /= square
    rest = max(0.0, whole - square * float((cells**2).sum())) / whole
    return weights, cells, float(np.sqrt(rest))


def _separated(pool: F64) -> Pool | None:
    """A pool [t, h, w] as slices (x) cells, on simple fractions where it is next to them; None if it is no product."""
    slices, cells = pool.sum(axis=(1, 2)), pool.sum(axis=0)
    if np.abs(np.multiply.outer(slices, cells) - pool).max() > TOLERANCE * pool.max():
        return None
    even = np.abs(cells - 1 / cells.size).max() <= TOLERANCE / cells.size
    rows = () if even else tuple(_rounded(row) for row in cells)
    return Pool(_rounded(slices), rows)


def _rounded(weights: F64) -> tuple[float, ...]:
    near = [Fraction(float(weight)).limit_denominator(LARGEST_DENOMINATOR) for weight in weights]
    return tuple(
        float(fraction) if abs(fraction - Fraction(float(weight))) < 1e-6 else float(weight)
        for fraction, weight in zip(near, weights, strict=True)
    )


def _head(model: nn.Module, weights: F64, bias: F64) -> LinearHead:
    """With the network's own numbers, if a layer of it holds these weights: then no rounding is in between."""
    for module in model.modules():
        matrix = getattr(module, "weight", None)
        if not isinstance(matrix, torch.Tensor) or matrix.numel() != weights.size or matrix.ndim < 2:
            continue
        own = _array(matrix)
        if (
            own.shape[0] != len(weights)
            or np.abs(own.reshape(weights.shape) - weights).max() > 1e-5 * np.abs(own).max()
        ):
            continue
        offset = getattr(module, "bias", None)
        kept = np.zeros(len(weights), np.float32) if offset is None else _array(offset)
        scale = max(float(np.abs(bias).max()), 1e-3)
        exact = kept.shape == bias.shape and np.abs(kept - bias).max() <= 1e-3 * scale
        return LinearHead(own.reshape(weights.shape), kept if exact else bias.astype(np.float32))
    return LinearHead(weights.astype(np.float32), bias.astype(np.float32))


def _array(tensor: Tensor) -> F32:
    return np.array(tensor.detach().float().cpu().numpy())  # a copy: the parameter may change
