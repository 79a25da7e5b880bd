"""The networks' own definitions: what they compute against the publishers' code and against formulas, key by key."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
torchvision = pytest.importorskip("torchvision", reason="export needs torchvision")

from saliency_tubes.export.zoo import NETWORKS  # noqa: E402
from saliency_tubes.export.zoo.parts import every  # noqa: E402
from torch.nn import functional as F  # noqa: E402

PARAMETERS = {
    "i3d": 12_697_264,
    "mfnet": 7_996_368,
    "r3d_18": 33_371_472,
    "mc3_18": 11_695_440,
    "r2plus1d_18": 31_505_325,
    "s3d": 8_320_048,
    "x3d_xs": 3_794_274,
    "x3d_s": 3_794_274,
    "x3d_m": 3_794_274,
    "c3d": 79_991_015,
    "slow_r50": 32_454_096,
    "slowfast_r50": 34_566_488,
}


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def unmade(build, *args, **options):
    """Without memory for its tensors: `filled` gives it some."""
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build(*args, **options)


def filled(network, seed=0):
    """With seeded tensors of a trained network's scale, running statistics too, in eval mode."""
    network = network.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            tensor.zero_()
        elif tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.uniform_(-0.2, 0.6, generator=generator)
    return network


def noise(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same_as(original, name, clip, inputs=lambda clip: clip, classes=400):
    """Whether the zoo's network, given all of the original's tensors, gives what the original does."""
    network = unmade(NETWORKS[name].build, classes).to_empty(device="cpu").eval()
    network.load_state_dict(original.state_dict(), strict=True)
    expected = original(inputs(clip))
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(network(clip), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_it_is_as_large_as_published(name):
    network = unmade(NETWORKS[name].build, NETWORKS[name].classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]
    assert network.state_dict()[NETWORKS[name].classifier].shape[0] == NETWORKS[name].classes


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18", "s3d"])
def test_size_is_what_torchvision_says(name):
    assert torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"] == PARAMETERS[name]


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18"])
def test_residual_networks_are_torchvisions(name):
    original = filled(unmade(torchvision.models.get_model, name, weights=None, num_classes=7))
    same_as(original, name, noise(1, 3, 16, 48, 32), classes=7)


def test_s3d_is_torchvisions_at_its_own_size():
    original = filled(unmade(torchvision.models.get_model, "s3d", weights=None, num_classes=7))
    same_as(original, "s3d", noise(1, 3, 16, 224, 224), classes=7)


# x3d_s is the same code with three times the frames
@pytest.mark.parametrize("name", ["x3d_xs", pytest.param("x3d_s", marks=pytest.mark.slow)])
def test_x3d_is_pytorchvideos(name):
    create = pytest.importorskip("pytorchvideo.models.x3d", reason="the original").create_x3d
    clip_length = NETWORKS[name].trained_clip_length
    original = unmade(create, input_clip_length=clip_length, input_crop_size=64, head_activation=None)
    same_as(filled(original), name, noise(2, 3, clip_length, 64, 64))


def test_slow_is_pytorchvideos():
    create = pytest.importorskip("pytorchvideo.models.resnet", reason="the original").create_resnet
    original = unmade(create, stem_conv_kernel_size=(1, 7, 7), head_pool_kernel_size=(8, 2, 2))
    same_as(filled(original), "slow_r50", noise(1, 3, 8, 64, 64))


def test_slowfast_is_pytorchvideos_with_one_input():
    create = pytest.importorskip("pytorchvideo.models.slowfast", reason="the original").create_slowfast
    original = filled(unmade(create, head_pool_kernel_sizes=((8, 2, 2), (32, 2, 2))))

    def pathways(clip):
        return [clip.index_select(2, torch.linspace(0, 31, 8).long()), clip]

    same_as(original, "slowfast_r50", noise(1, 3, 32, 64, 64), pathways)


@pytest.mark.parametrize("clip_length", range(8, 129, 4))
def test_the_slow_pathways_frames_are_pytorchvideos(clip_length):
    clip = torch.arange(clip_length).reshape(1, 1, clip_length, 1, 1)
    assert every(clip, 4).flatten().tolist() == torch.linspace(0, clip_length - 1, clip_length // 4).long().tolist()


def test_slowfasts_activation_holds_both_pathways_and_its_head_is_their_mean():
    network = filled(unmade(NETWORKS["slowfast_r50"].build, 5))
    kept = {}
    network.blocks[4].register_forward_hook(lambda module, inputs, output: kept.update(pathways=output))
    network.activation.register_forward_hook(lambda module, inputs, output: kept.update(activation=output))
    logits = network(noise(1, 3, 16, 64, 32))
    (slow, fast), activation = kept["pathways"], kept["activation"]
    assert slow.shape == (1, 2048, 4, 2, 1)
    assert fast.shape == (1, 256, 16, 2, 1)
    assert activation.shape == (1, 2304, 16, 2, 1)
    for index in range(16):
        assert torch.equal(activation[:, :2048, index], slow[:, :, index // 4])
    assert torch.equal(activation[:, 2048:], fast)
    head = network.blocks[6].proj
    pooled = torch.cat([slow.mean((2, 3, 4)), fast.mean((2, 3, 4))], dim=1)
    torch.testing.assert_close(logits, pooled @ head.weight.T + head.bias, rtol=1e-5, atol=1e-4)


def mfnet_formula(state, clip):
    """Chen et al., figure 2 and table 1, written out over the authors' keys: BN, ReLU, convolution, again and again."""

    def bn_relu(x, at):
        statistics = (state[f"{at}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *statistics).relu()

    def layer(x, at, stride=1):
        kernel = state[f"{at}.conv.weight"]
        x = bn_relu(x, f"{at}.bn")
        return F.conv3d(
            x, kernel, None, stride, [k // 2 for k in kernel.shape[2:]], groups=x.shape[1] // kernel.shape[1]
        )

    x = F.conv3d(clip, state["conv1.conv.weight"], None, (1, 2, 2), (1, 2, 2))
    x = F.max_pool3d(bn_relu(x, "conv1.bn"), (1, 3, 3), (1, 2, 2), (0, 1, 1))
    for stage, units in ((2, 3), (3, 4), (4, 6), (5, 3)):
        for unit in range(1, units + 1):
            at = f"conv{stage}.B{unit:02}"
            stride = 1 if unit > 1 else (2, 1, 1) if stage == 2 else (1, 2, 2)
            mixed = x + layer(layer(x, f"{at}.conv_i1"), f"{at}.conv_i2")
            fibers = layer(layer(mixed, f"{at}.conv_m1", stride), f"{at}.conv_m2")
            x = fibers + (layer(x, f"{at}.conv_w1", stride) if unit == 1 else x)
    x = F.avg_pool3d(bn_relu(x, "tail.bn"), x.shape[2:]).flatten(1)
    return x @ state["classifier.weight"].T + state["classifier.bias"]


def test_mfnet_computes_what_the_paper_says():
    network = filled(unmade(NETWORKS["mfnet"].build, 7))
    clip = noise(2, 3, 16, 64, 32)
    expected = mfnet_formula(network.state_dict(), clip)
    torch.testing.assert_close(network(clip), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_mfnets_fibers_and_tail_are_as_published():
    network = unmade(NETWORKS["mfnet"].build, 400)
    state = network.state_dict()
    assert state["conv2.B01.conv_m1.conv.weight"].shape == (96, 1, 3, 3, 3)
    assert state["conv5.B03.conv_m2.conv.weight"].shape == (768, 48, 1, 3, 3)
    kept = {}
    network.tail.register_forward_hook(lambda module, inputs, output: kept.update(tail=output.shape))
    network(torch.empty(1, 3, 16, 224, 224, device="meta"))
    assert kept["tail"] == (1, 768, 8, 7, 7)


def test_c3d_computes_what_the_paper_says_of_bgr():
    network = NETWORKS["c3d"].build(7).eval()
    state = network.state_dict()
    assert len(state) == 22
    clip = noise(1, 3, 16, 112, 112)
    x = clip.flip(1)
    for name in ("1", "2", "3a", "3b", "4a", "4b", "5a", "5b"):
        x = F.conv3d(x, state[f"conv{name}.weight"], state[f"conv{name}.bias"], padding=1).relu()
        if name in ("1", "2", "3b", "4b"):
            x = F.max_pool3d(x, (1, 2, 2) if name == "1" else 2)
    assert x.shape == (1, 512, 2, 7, 7)
    x = F.max_pool3d(x, 2, padding=(0, 1, 1))
    assert x.shape == (1, 512, 1, 4, 4)
    x = x.flatten(1)
    for name in ("6", "7"):
        x = F.linear(x, state[f"fc{name}.weight"], state[f"fc{name}.bias"]).relu()
    torch.testing.assert_close(network(clip), F.linear(x, state["fc8.weight"], state["fc8.bias"]))


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_done_in_place(name):
    network = unmade(NETWORKS[name].build, 2)
    assert not [layer for layer, module in network.named_modules() if getattr(module, "inplace", False)]
