"""Which time slices of a window can be trusted: zero padding in time spoils those at its ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..engine.manifest import InputSpec
from ..engine.picture import F32
from .noise import smooth_noise
from .tap import Tapped, evaluating

BOUND = 0.7
"""of a slice's size: beyond it a slice says more of the padding than of its frames. I3D at T = 64, on noise: 0.75 0.40
0.31 0.21 0.35 0.66 1.58 from the first neighbours to the last"""


def trusted_slices(
    model: nn.Module, tap: str, spec: InputSpec, frames: int, slices: int, clips: Sequence[F32] = ()
) -> tuple[int, int]:
    """Slices [first, end) of the activation of `frames` frames that zero padding in time does not spoil.

    The measure: two windows T/t samples apart see the same frames in slices i + 1 and i. What padding does not reach is
    the same in both; the relative L2 difference of the two, e[i] = |A[i+1] - B[i]| / mean of |A[i+1]| and |B[i]|, the
    mean over clips, is how much a slice changes by lying one nearer to the end. Not trusted is the innermost slice of
    which that exceeds BOUND, with all beyond it; but a quarter of the slices at each end at most: where padding reaches
    all there is, or the network is not the same at all times, no slice is better than another.

    `clips`: [1, 3, T', H, W] as the network takes them; those of T + T/t frames and more are used, else seeded noise.
    All are trusted where slices are not a whole number of frames long.
    """
    if slices < 4 or frames % slices:
        return 0, slices
    shift = frames // slices
    long = [clip for clip in clips if clip.shape[2] >= frames + shift]
    used = long or [smooth_noise(spec, frames + shift)]
    tapped = Tapped(model, tap)
    with evaluating(model), torch.no_grad():
        changes = np.mean([_changes(tapped, torch.from_numpy(clip), frames, shift) for clip in used], axis=0)
    most = slices // 4
    first = max((at + 1 for at in range(most) if changes[at] > BOUND), default=0)
    last = max((at + 1 for at in range(most) if changes[-1 - at] > BOUND), default=0)
    return first, slices - last


def _changes(tapped: Tapped, clip: Tensor, frames: int, shift: int) -> list[float]:
    """e[0..t-2] of one clip."""
    _, early = tapped(clip[:, :, :frames])
    _, late = tapped(clip[:, :, shift : shift + frames])
    one, other = early[0, :, 1:].double(), late[0, :, :-1].double()
    sizes = (_norms(one) + _norms(other)) / 2
    return list((_norms(one - other) / sizes.clamp_min(torch.finfo(torch.float64).tiny)).tolist())


def _norms(activation: Tensor) -> Tensor:
    """[C, t, h, w] to [t]."""
    return activation.pow(2).sum((0, 2, 3)).sqrt()
