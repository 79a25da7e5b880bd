"""I3D's layers against TensorFlow's SAME padding written out, and its head's arithmetic."""

import pytest

torch = pytest.importorskip("torch", reason="export needs torch")

from saliency_tubes.export.zoo.i3d import I3D, Head, Inception, Unit, check_clip_size  # noqa: E402
from torch.nn import functional as F  # noqa: E402


def same_pad(x, kernel, stride, value):
    """TensorFlow: out = ceil(in / stride), total = max((out - 1) stride + kernel - in, 0), the odd one last."""
    pads = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        pads.insert(0, (total // 2, total - total // 2))
    return F.pad(x, [pad for pair in pads for pad in pair], value=value)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["MaxPool3d_2a_3x3", "MaxPool3d_3a_3x3", "MaxPool3d_4a_3x3", "MaxPool3d_5a_2x2"])
@pytest.mark.parametrize("clip_length", [4, 8, 16])
def test_pools_of_stride_2_pad_as_same_does(name, clip_length):
    pool = I3D(4).get_submodule(name)
    kernel, stride = (v if isinstance(v, tuple) else (v,) * 3 for v in (pool.kernel_size, pool.stride))
    x = noise(1, 3, clip_length, 12, 20)
    expected = F.max_pool3d(same_pad(x, kernel, stride, -torch.inf), kernel, stride)
    assert torch.equal(pool(x), expected)


@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 1), (1, 1)])
def test_convolutions_pad_as_same_does(kernel, stride):
    unit = Unit(3, 5, kernel, stride).eval()
    x = noise(2, 3, 8, 12, 16)
    padded = same_pad(x, (kernel,) * 3, (stride,) * 3, 0.0)
    expected = F.relu(F.conv3d(padded, unit.conv.weight, stride=stride) / (1 + 1e-3) ** 0.5)
    torch.testing.assert_close(unit(x), expected, rtol=1e-5, atol=1e-5)


def test_the_branch_pool_keeps_its_size_and_never_lets_padding_win():
    pool = Inception(4, 1, 1, 1, 1, 1, 1).Branch_3.MaxPool3d_0a_3x3
    x = -noise(1, 4, 4, 5, 6).abs() - 1
    assert torch.equal(pool(x), F.max_pool3d(same_pad(x, (3, 3, 3), (1, 1, 1), -torch.inf), 3, 1))


@pytest.mark.parametrize(
    ("slices", "expected"),
    [(2, [1 / 2] * 2), (4, [1 / 6, 1 / 3, 1 / 3, 1 / 6]), (8, [1 / 14] + [1 / 7] * 6 + [1 / 14])],
)
def test_slice_weights_are_what_the_head_does_with_one_slice(slices, expected):
    assert Head.slice_weights(slices) == pytest.approx(expected)
    head = Head(6, 5).double().eval()
    with torch.no_grad():
        bias = head(torch.zeros(1, 6, slices, 3, 4, dtype=torch.float64))
        features = noise(6).double()
        full = head.Conv3d_0c_1x1.weight.flatten(1) @ features
        for index, weight in enumerate(Head.slice_weights(slices)):
            one = torch.zeros(1, 6, slices, 3, 4, dtype=torch.float64)
            one[:, :, index] = features[None, :, None, None]
            torch.testing.assert_close((head(one) - bias)[0], weight * full)


def test_shapes():
    model = I3D(7).eval()
    taken = {}
    model.Mixed_5c.register_forward_hook(lambda module, inputs, output: taken.update(shape=tuple(output.shape)))
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 24, 64, 32)).shape == (1, 7)
    assert taken["shape"] == (1, 1024, 3, 2, 1)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((8, 224, 224), "16 frames or more, by 8, got 8"),
        ((20, 224, 224), "16 frames or more, by 8, got 20"),
        ((16, 200, 224), "multiples of 32, got 200x224"),
        ((16, 224, 0), "multiples of 32, got 224x0"),
    ],
)
def test_sizes_it_does_not_take(size, message):
    with pytest.raises(ValueError, match=message):
        check_clip_size(*size)


def test_a_clip_of_another_rank_is_named():
    with pytest.raises(ValueError, match=r"got \[3, 16, 32, 32\]"):
        I3D(2)(torch.zeros(3, 16, 32, 32))
