"""Heads of every kind: told apart by probing, with class weights and pools that add up to the logits."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")

import tiny  # noqa: E402
from saliency_tubes.engine.errors import UsageError  # noqa: E402
from saliency_tubes.export.head import analyse_head, find_pool  # noqa: E402
from saliency_tubes.export.tap import Tapped, find_tap  # noqa: E402
from torch import nn  # noqa: E402


def network(head):
    return tiny.randomised(tiny.Tiny(head))


def rebuilt(analysis, activation):
    slices, cells = np.array(analysis.pool.slice_weights), np.array(analysis.pool.cell_weights)
    if not cells.size:
        cells = np.full(activation.shape[2:], 1 / np.prod(activation.shape[2:]))
    pooled = np.tensordot(activation, np.multiply.outer(slices, cells), 3)
    return analysis.head.class_weights @ pooled + analysis.head.bias


@pytest.mark.parametrize("kind", tiny.linear_heads())
def test_a_linear_head_adds_up_on_random_input(kind):
    model = network(tiny.linear_heads()[kind])
    analysis = analyse_head(model, "trunk", tiny.clip())
    assert analysis.linear, analysis.reason
    assert analysis.shape == (6, 4, 8, 12)
    assert analysis.head.class_weights.shape == (tiny.CLASSES, tiny.CHANNELS)
    with torch.no_grad():
        logits, activation = Tapped(model, "trunk")(5 * tiny.clip(seed=7))
    np.testing.assert_allclose(
        rebuilt(analysis, activation[0].double().numpy()), logits[0].numpy(), atol=1e-5 * float(logits.abs().max())
    )


@pytest.mark.parametrize(
    ("kind", "slices"),
    [
        ("pool-dropout-flatten-linear", (0.25,) * 4),
        ("pool-conv-mean", (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
        ("strided-pool", (0.25,) * 4),
        ("uneven", (0.1, 0.2, 0.3, 0.4)),
    ],
)
def test_pools_come_out_as_the_fractions_they_are(kind, slices):
    pool = analyse_head(network(tiny.linear_heads()[kind]), "trunk", tiny.clip()).pool
    assert pool.slice_weights == slices
    assert bool(pool.cell_weights) == (kind in ("uneven", "strided-pool"))


def test_the_pool_of_another_length():
    model = network(tiny.linear_heads()["pool-conv-mean"])
    head = analyse_head(model, "trunk", tiny.clip()).head
    assert find_pool(model, "trunk", tiny.clip(12), head).slice_weights == (0.1, 0.2, 0.2, 0.2, 0.2, 0.1)
    head.class_weights[:] *= 2
    with pytest.raises(UsageError, match="not the same at 12 frames"):
        find_pool(model, "trunk", tiny.clip(12), head)


def test_weights_are_the_networks_own_to_the_last_bit():
    model = network(tiny.linear_heads()["pool-dropout-flatten-linear"])
    head = analyse_head(model, "trunk", tiny.clip()).head
    np.testing.assert_array_equal(head.class_weights, model.head[3].weight.detach().numpy())
    np.testing.assert_array_equal(head.bias, model.head[3].bias.detach().numpy())


@pytest.mark.parametrize("kind", tiny.other_heads())
def test_any_other_head_needs_gradients(kind):
    analysis = analyse_head(network(tiny.other_heads()[kind]), "trunk", tiny.clip())
    assert not analysis.linear
    assert analysis.reason.startswith("not linear: off by")
    assert analysis.pool.slice_weights == (0.25,) * 4
    with pytest.raises(UsageError, match="behind trunk is not linear: not linear: off by"):
        analyse_head(network(tiny.other_heads()[kind]), "trunk", tiny.clip(), "linear")


def test_probabilities_are_named():
    head = tiny.linear_heads()["pool-dropout-flatten-linear"].append(nn.Softmax(1))
    assert "its outputs are probabilities" in analyse_head(network(head), "trunk", tiny.clip()).reason


def test_a_linear_head_without_a_map_is_refused_with_what_to_do():
    model = network(nn.Sequential(nn.Flatten(1), nn.Linear(tiny.CHANNELS * 4 * 8 * 12, tiny.CLASSES)))
    with pytest.raises(UsageError, match=r"weighs channels by their place: .* \(--head gradient\), or pool before"):
        analyse_head(model, "trunk", tiny.clip())
    assert analyse_head(model, "trunk", tiny.clip(), "gradient").reason == "gradients, as asked for"


def test_a_pool_in_space_that_changes_over_time_needs_gradients():
    analysis = analyse_head(network(tiny.Corner(product=False)), "trunk", tiny.clip())
    assert analysis.reason == "linear, but its pool in space changes over time"


def test_a_way_around_the_tap_is_noticed():
    model = tiny.randomised(tiny.Deep())
    assert analyse_head(model, "layer2.norm", tiny.clip()).reason == "other ways lead around it"
    assert analyse_head(model, "layer2", tiny.clip()).linear


def test_a_head_that_reads_the_batch_from_the_clip():
    class Reads(tiny.Tiny):
        def forward(self, clip):
            return self.head(self.trunk(clip).mean((2, 3, 4)).view(clip.shape[0], tiny.CHANNELS))

    assert analyse_head(tiny.randomised(Reads(nn.Linear(6, 5))), "trunk", tiny.clip()).linear


def test_the_network_is_left_as_it_was_and_modes_are_checked():
    model = network(tiny.linear_heads()["conv-pool"]).train()
    analyse_head(model, "trunk", tiny.clip())
    assert model.training
    assert all(one.requires_grad and one.grad is None for one in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(UsageError, match="head must be one of auto, linear, gradient, got 'mlp'"):
        analyse_head(model, "trunk", tiny.clip(), "mlp")


class Quiet(nn.Module):
    """A network that hardly stirs: its activations are tiny beside the biases of its head."""

    def __init__(self, head):
        super().__init__()
        self.trunk, self.head = nn.Conv3d(3, tiny.CHANNELS, 1), head
        with torch.no_grad():
            self.trunk.weight.mul_(1e-6)
            self.trunk.bias.zero_()

    def forward(self, clip):
        return self.head(self.trunk(clip).mean((2, 3, 4)))


@pytest.mark.parametrize("seed", range(8))
def test_biases_hide_no_head(seed):
    torch.manual_seed(seed)
    heads = {
        "mlp": nn.Sequential(nn.Linear(tiny.CHANNELS, 16), nn.ReLU(), nn.Linear(16, tiny.CLASSES)),
        "hardtanh": nn.Sequential(nn.Linear(tiny.CHANNELS, 16), nn.Hardtanh(), nn.Linear(16, tiny.CLASSES)),
        "sigmoid": nn.Sequential(nn.Linear(tiny.CHANNELS, tiny.CLASSES), nn.Sigmoid()),
        "softmax": nn.Sequential(nn.Linear(tiny.CHANNELS, tiny.CLASSES), nn.Softmax(1)),
    }
    for kind, head in heads.items():
        found = analyse_head(Quiet(head), "trunk", tiny.clip())
        assert not found.linear, kind
        assert "not linear: off by" in found.reason
    linear = nn.Linear(tiny.CHANNELS, tiny.CLASSES)
    found = analyse_head(Quiet(linear), "trunk", tiny.clip())
    assert found.linear, found.reason
    np.testing.assert_array_equal(found.head.class_weights, linear.weight.detach().numpy())


def test_a_head_that_checks_its_batch_is_tried_one_by_one():
    class Checking(Quiet):
        def forward(self, clip):
            pooled = self.trunk(clip).mean((2, 3, 4))
            assert len(pooled) == len(clip)
            return self.head(pooled)

    assert analyse_head(Checking(nn.Linear(tiny.CHANNELS, tiny.CLASSES)), "trunk", tiny.clip()).linear


def test_a_network_that_refuses_another_length_is_one_line():
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.fc = nn.Conv3d(3, tiny.CHANNELS, 1), nn.Linear(tiny.CHANNELS, tiny.CLASSES)

        def forward(self, clip):
            assert clip.shape[2] == 8, "clips have 8 frames"
            return self.fc(self.trunk(clip).mean((2, 3, 4)))

    model = Picky()
    head = analyse_head(model, "trunk", tiny.clip(8)).head
    with pytest.raises(UsageError, match=r"the network does not take \[1, 3, 12, .*\]: clips have 8 frames$"):
        find_pool(model, "trunk", tiny.clip(12), head)
    with pytest.raises(UsageError, match="clips have 8 frames"):
        find_tap(model, tiny.clip(12))


class Mixed(nn.Module):
    """Convolution, then a layer `last` on [N, t, h, w, C] or [N, C, t, h, w]."""

    def __init__(self, last, permuted):
        super().__init__()
        self.trunk, self.last = nn.Conv3d(3, tiny.CHANNELS, 3, padding=1), last
        self.fc, self.permuted = nn.Linear(tiny.CHANNELS, tiny.CLASSES), permuted

    def forward(self, clip):
        activation = self.trunk(clip)
        if self.permuted:
            return self.fc(self.last(activation.permute(0, 2, 3, 4, 1)).mean((1, 2, 3)))
        return self.fc(self.last(activation).mean((2, 3, 4)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(tiny.CHANNELS), nn.Linear(tiny.CHANNELS, tiny.CHANNELS)

    def forward(self, activation):
        return activation + self.mlp(self.norm(activation))


class ThereAndBack(nn.LayerNorm):
    def forward(self, activation):
        return super().forward(activation.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)


@pytest.mark.parametrize("last", [nn.LayerNorm(tiny.CHANNELS), Residual(), nn.Sequential(Residual(), nn.GELU())])
def test_channels_last_are_no_activation(last):
    model = Mixed(last, permuted=True)
    assert find_tap(model, tiny.clip()) == "trunk"
    with pytest.raises(UsageError, match=r"layer last gives .* channels last: tap what brings them to"):
        find_tap(model, tiny.clip(), "last")


def test_channels_last_of_a_network_of_one_length():
    class Fixed(Mixed):
        def forward(self, clip):
            assert clip.shape[2] == 8
            return super().forward(clip)

    assert find_tap(Fixed(nn.LayerNorm(tiny.CHANNELS), permuted=True), tiny.clip()) == "trunk"


def test_what_a_network_keeps_is_of_its_own_clip():
    class Keeping(Mixed):
        def forward(self, clip):
            self.seen = clip.shape[2]
            return super().forward(clip)

    model = Keeping(nn.ReLU(), permuted=False)
    find_tap(model, tiny.clip())
    assert model.seen == 8


@pytest.mark.parametrize("last", [ThereAndBack(tiny.CHANNELS), nn.LayerNorm([16, 24]), nn.Linear(24, 24)])
def test_channels_first_are_whatever_makes_them(last):
    model = Mixed(last, permuted=False)
    assert find_tap(model, tiny.clip()) == find_tap(model, tiny.clip(), "last") == "last"
