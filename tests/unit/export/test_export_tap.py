"""Which layer is tapped, what is said where none will do, and that the network is left as it was."""

import pytest

torch = pytest.importorskip("torch", reason="export needs torch")

import tiny  # noqa: E402
from saliency_tubes.engine.errors import ModelError, UsageError  # noqa: E402
from saliency_tubes.export.tap import Tapped, candidates, cut, evaluating, find_tap  # noqa: E402
from torch import nn  # noqa: E402


def model(head=None, **options):
    return tiny.randomised(tiny.Tiny(head or tiny.linear_heads()["pool-dropout-flatten-linear"], **options))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("head", [*tiny.linear_heads(), *tiny.other_heads()])
def test_the_tap_is_the_trunks_output_after_its_relu(head, inplace):
    network = model({**tiny.linear_heads(), **tiny.other_heads()}[head], inplace=inplace)
    assert find_tap(network, tiny.clip()) == ("head.3" if head == "conv-pool-mlp" else "trunk")


def test_candidates_are_in_order_with_shapes_and_say_what_passes_through_them():
    found = candidates(tiny.Deep(), tiny.clip())
    names = [one.name for one in found]
    assert names[:4] == ["stem.0", "stem.1", "stem.2", "stem"]
    assert names[-1] == "layer2"
    by_name = {one.name: one for one in found}
    assert by_name["layer1"].shape == (1, 8, 4, 4, 6)
    assert [by_name[name].dominates for name in ("stem", "layer1.conv", "layer1.short", "layer1.gate", "layer2")] == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_what_dominates_is_what_cuts_the_clip_off():
    network = tiny.randomised(tiny.Deep())
    for one in candidates(network, tiny.clip()):
        clip = tiny.clip().requires_grad_(True)
        with evaluating(network), cut(network, one.name):
            (gradient,) = torch.autograd.grad(network(clip).sum(), clip, allow_unused=True)
        assert one.dominates == (gradient is None), one.name


class Fork(nn.Module):
    """Two ways from clip to logits, joined where no module sees it, or where one does."""

    def __init__(self, joined):
        super().__init__()
        self.slow, self.fast = tiny.trunk(), tiny.trunk()
        self.activation = nn.Identity() if joined else None
        self.fc = nn.Linear(2 * tiny.CHANNELS, tiny.CLASSES)

    def forward(self, clip):
        both = torch.cat([self.slow(clip), self.fast(clip.flip(2))], 1)
        return self.fc((self.activation(both) if self.activation else both).mean((2, 3, 4)))


def test_a_fork_is_tapped_where_its_ways_meet():
    assert find_tap(Fork(joined=True), tiny.clip()) == "activation"


def test_a_fork_that_meets_nowhere_is_refused_with_what_there_is():
    with pytest.raises(UsageError, match=r"no layer's output carries all .* name one with --layer, of .*fast"):
        find_tap(Fork(joined=False), tiny.clip())
    assert find_tap(Fork(joined=False), tiny.clip(), "slow") == "slow"


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.shared, self.unused = tiny.trunk(), nn.ReLU(), nn.ReLU()
        self.fc = nn.Linear(tiny.CHANNELS, tiny.CLASSES)

    def forward(self, clip):
        return self.fc(self.shared(self.shared(self.trunk(clip)) - 1).mean((2, 3, 4)))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("trunc", "no layer 'trunc'; there are trunk"),
        ("zzzz", "no layer 'zzzz'; there are trunk, shared, unused, fc"),
        ("unused", "layer unused is not run"),
        ("shared", "layer shared is run 2 times a clip"),
        ("fc", r"layer fc gives \[1, 5\], a tap needs \[N, C, t, h, w\]"),
    ],
)
def test_a_layer_that_will_not_do_is_said_to_be_so(layer, message):
    with pytest.raises(UsageError, match=message) as raised:
        find_tap(Odd(), tiny.clip(), layer)
    assert "\n" not in str(raised.value)


def test_a_network_that_gives_no_logits():
    with pytest.raises(UsageError, match=r"must give logits \[N, K\], it gave \[1, 6, 4, 8, 12\]"):
        find_tap(nn.Sequential(tiny.trunk()), tiny.clip())
    with pytest.raises(UsageError, match=r"does not take \[1, 3, 8, 16, 24\]: "):
        find_tap(tiny.trunk(4).append(nn.Linear(5, 2)), tiny.clip())


def test_a_network_without_gradients():
    class Frozen(tiny.Tiny):
        @torch.no_grad()
        def forward(self, clip):
            return super().forward(clip)

    with pytest.raises(UsageError, match="no gradient leads"):
        find_tap(Frozen(tiny.linear_heads()["conv-pool"]), tiny.clip())


def test_the_network_is_left_as_it_was():
    network = model().train()
    network.trunk[1].eval()
    network.trunk[0].weight.requires_grad_(False)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    find_tap(network, tiny.clip())
    assert network.training
    assert not network.trunk[1].training
    assert [one.requires_grad for one in network.parameters()][:2] == [False, True]
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_modes_come_back_after_an_error():
    network = model().train()
    with pytest.raises(ZeroDivisionError), evaluating(network):
        raise ZeroDivisionError
    assert network.training


def test_the_tap_gives_logits_and_activation():
    network, clip = model(), tiny.clip(batch=2)
    logits, activation = Tapped(network, "trunk")(clip)
    assert torch.equal(logits, network(clip))
    assert torch.equal(activation, network.trunk(clip))
    assert not network.trunk._forward_hooks


def test_an_activation_is_what_it_was_before_the_next_layer_worked_in_place():
    network, clip = model(inplace=True), tiny.clip()
    _, activation = Tapped(network, "trunk.1")(clip)
    assert torch.equal(activation, network.trunk[1](network.trunk[0](clip)))
    assert float(activation.detach().min()) < 0


def test_a_layer_without_an_activation_is_refused():
    with pytest.raises(ModelError, match=r"it gave \[\[1, 5\]\]"):
        Tapped(model(), "head")(tiny.clip())
    with pytest.raises(UsageError, match="no layer 'layer4'"):
        Tapped(model(), "layer4")
