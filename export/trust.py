"""Which time slices of a window can be trusted: zero padding in time spoils those at its ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.manifest import InputSpec
from ..engine.noise import smooth_noise
from ..engine.picture import F32
from .tap import Tapped, evaluating

BOUND = 0.45
"""Maximum relative change of a slice at which padding hardly shows; an end without a larger change is trusted whole."""
SEEDS = (0,)
"""seeds of the noise that is used where no clips are given"""


def trusted_slices(
    model: nn.Module, tap: str, spec: InputSpec, clip_length: int, slices: int, clips: Sequence[F32] = ()
) -> tuple[int, int]:
    """Slices [first, end) of the activation of `clip_length` frames that zero padding in time does not spoil.

    The measure: two windows T/t samples apart see the same frames in slices i + 1 and i. What padding does not reach is
    the same in both; the relative L2 difference of the two, e[i] = |A[i+1] - B[i]| / mean of |A[i+1]| and |B[i]|, the
    mean over clips, is how much a slice changes by lying one nearer to the end.

    The rule, at each end by itself: if e exceeds BOUND among the outermost quarter of the slices, the cut is where e
    falls most on the way in. (Where it falls, not where it is below some bound: padding fades inwards bit by bit, and
    how fast differs from end to end and from clip to clip.) No more than that quarter is cut: where padding reaches all
    there is, or the network is not the same at all times, no slice is better than another.

    I3D at T = 64, the mean of 24 pairs of windows of noise: 0.67 0.37 0.32 0.20 0.36 0.68 1.55, at T = 32: 0.71 0.73
    1.53. So the first and the last slice are cut, and each pair by itself says so: at the ends the least is 0.57, the
    least lead of the greatest fall over the next 0.13. Networks of random weights stay below 0.17.

    `clips`: [1, 3, T', H, W] as the network takes them; those of T + T/t frames and more are used, else seeded noise.
    All are trusted where slices are not a whole number of frames long.
    """
    if slices < 4 or clip_length % slices:
        return 0, slices
    shift = clip_length // slices
    long = [clip for clip in clips if clip.shape[2] >= clip_length + shift]
    used = long or [smooth_noise(spec, clip_length + shift, seed) for seed in SEEDS]
    tapped = Tapped(model, tap)
    with evaluating(model), torch.no_grad():
        changes = np.mean(
            [_changes(tapped, torch.from_numpy(clip), clip_length, shift) for clip in used], axis=0
        ).tolist()
    most = slices // 4
    return _spoiled(changes[: most + 1]), slices - _spoiled(changes[: -most - 2 : -1])


def _spoiled(changes: list[float]) -> int:
    """How many slices to cut, of all but one of those that `changes` are of, which go from an end inwards."""
    if max(changes[:-1]) <= BOUND:
        return 0
    falls = [outer - inner for outer, inner in pairwise(changes)]
    return falls.index(max(falls)) + 1


def _changes(tapped: Tapped, clip: Tensor, clip_length: int, shift: int) -> list[float]:
    """e[0..t-2] of one clip."""
    _, early = tapped(clip[:, :, :clip_length])
    _, late = tapped(clip[:, :, shift : shift + clip_length])
    one, other = early[0, :, 1:].double(), late[0, :, :-1].double()
    sizes = (_norms(one) + _norms(other)) / 2
    return list((_norms(one - other) / sizes.clamp_min(torch.finfo(torch.float64).tiny)).tolist())


def _norms(activation: Tensor) -> Tensor:
    """[C, t, h, w] to [t]."""
    return activation.pow(2).sum((0, 2, 3)).sqrt()
