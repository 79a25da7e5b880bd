"""Which slices padding spoils: found where it does, and none where there is no padding."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")

import tiny  # noqa: E402
from saliency_tubes.export.trust import BOUND, _spoiled, smooth_noise, trusted_slices  # noqa: E402
from torch import nn  # noqa: E402

SPEC = tiny.recipe().input


class Padded(nn.Module):
    """Slices of 2 frames, each the sum of `reach` of them to either side; beyond the ends there is `value`."""

    def __init__(self, reach, value):
        super().__init__()
        self.pool = nn.AvgPool3d((2, 2, 2))
        self.pad = nn.ConstantPad3d((0, 0, 0, 0, reach, reach), value)
        self.relu = nn.ReLU()
        self.register_buffer("kernel", torch.ones(3, 1, 2 * reach + 1, 1, 1))

    def forward(self, clip):
        mixed = nn.functional.conv3d(self.pad(self.pool(clip)), self.kernel, groups=3)
        return self.relu(mixed).mean((2, 3, 4))


@pytest.mark.parametrize(
    ("reach", "value", "clip_length", "expected"),
    [
        (0, 0.0, 16, (0, 8)),  # no padding
        (1, 50.0, 16, (1, 7)),
        (2, 50.0, 16, (2, 6)),
        (5, 50.0, 16, (0, 8)),  # all alike
        (1, 50.0, 8, (1, 3)),
        (1, 50.0, 4, (0, 2)),  # too few to tell
        (1, 1e-3, 16, (0, 8)),  # padding that hardly shows
    ],
)
def test_slices_that_padding_reaches_are_not_trusted(reach, value, clip_length, expected):
    model = Padded(reach, value).train()
    assert trusted_slices(model, "relu", SPEC, clip_length, clip_length // 2) == expected
    assert model.training


@pytest.mark.parametrize(
    ("changes", "slices"),
    [
        ([0.67, 0.37, 0.32], 1),  # I3D's first slices at T = 64, from the end inwards
        ([1.55, 0.68, 0.36], 1),  # and its last: what is left of the change further in is gradual
        ([0.71, 0.73], 1),  # at T = 32, where the middle is near both ends
        ([0.67, 2.0, 0.1], 2),  # padding that changes the outermost two by much, and one from the other by less
        ([0.2, 0.6, 0.5, 0.1], 3),
        ([0.6, 0.6, 0.6], 1),  # not the same at any time
        ([BOUND, 0.1, 0.0], 0),
        ([0.17, 0.05, 0.02], 0),
        ([0.1, 0.1, 9.0], 0),  # the innermost is there to compare with
    ],
)
def test_the_cut_is_where_change_falls_most(changes, slices):
    assert _spoiled(changes) == slices


def test_each_end_by_itself():
    class Lopsided(Padded):
        """Padded as the odd one of SAME is: at the end of time, not at its beginning."""

        def __init__(self):
            super().__init__(1, 50.0)
            self.pad = nn.ConstantPad3d((0, 0, 0, 0, 0, 2), 50.0)

    assert trusted_slices(Lopsided(), "relu", SPEC, 16, 8) == (0, 6)


def test_it_is_measured_on_the_clips_given_if_they_are_long_enough():
    class Last(Padded):
        """Spoils its ends only where the clip is bright."""

        def forward(self, clip):
            self.pad.value = 50.0 if float(clip.mean()) > 5 else 0.0
            return super().forward(clip)

    bright = np.full((1, 3, 18, 16, 24), 10, np.float32)
    assert trusted_slices(Last(1, 0.0), "relu", SPEC, 16, 8, [bright]) == (1, 7)
    assert trusted_slices(Last(1, 0.0), "relu", SPEC, 16, 8, [bright[:, :, :17]]) == (0, 8)


def test_slices_of_no_whole_number_of_frames_are_all_trusted():
    assert trusted_slices(Padded(1, 50.0), "relu", SPEC, 9, 4) == (0, 4)


def test_noise_is_smooth_the_same_each_time_and_within_black_and_white():
    clip = smooth_noise(SPEC, 8)
    assert clip.shape == (1, 3, 8, 16, 24)
    assert clip.dtype == np.float32
    np.testing.assert_array_equal(clip, smooth_noise(SPEC, 8))
    assert not np.array_equal(clip, smooth_noise(SPEC, 8, seed=1))
    for channel, mean in enumerate(SPEC.mean):
        assert clip[:, channel].min() >= (0 - mean) / mean - 1e-6
        assert clip[:, channel].max() <= (1 - mean) / mean + 1e-6
