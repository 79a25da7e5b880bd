"""A network by name: its recipe, its weights, and what is said when they cannot be had."""

import urllib.error

import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
pytest.importorskip("torchvision", reason="export needs torchvision")

from saliency_tubes.engine.errors import ModelError, TubesError, UsageError  # noqa: E402
from saliency_tubes.export import labels, zoo  # noqa: E402
from saliency_tubes.export.zoo import torchvision as published  # noqa: E402

SMALL = [name for name in zoo.NETWORKS if name != "c3d"]


def refusal(*args, error=UsageError, **options):
    with pytest.raises(error) as caught:
        zoo.load(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_zoo_is_complete():
    residual = ["r3d_18", "mc3_18", "r2plus1d_18"]
    assert list(zoo.NETWORKS) == [
        *("i3d", "mfnet", *residual, "s3d", "x3d_xs", "x3d_s", "x3d_m", "c3d", "slow_r50", "slowfast_r50")
    ]


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_every_network_has_a_recipe_as_published(name):
    with torch.device("meta"):
        network, recipe = zoo.load(name, weights=None)
    entry = zoo.NETWORKS[name]
    assert not network.training
    assert recipe.name == name
    assert recipe.clip_lengths == entry.clip_lengths
    assert recipe.default_clip_length == entry.trained_clip_length
    assert recipe.input.size == (entry.size, entry.size)
    whole = isinstance(entry.scaled, tuple)
    assert (recipe.input.stretch_to if whole else recipe.input.short_side) == entry.scaled
    assert recipe.input.resize == ("stretch" if whole else "center")
    assert len(recipe.labels) == entry.classes
    if name != "c3d":
        assert recipe.labels == labels.named("kinetics400")
        assert recipe.title.endswith(", Kinetics-400")
    assert recipe.layer is None or recipe.layer in dict(network.named_modules())


@pytest.mark.parametrize(
    ("name", "clip_length", "stride", "rate", "size", "scaled"),
    [
        ("i3d", 64, 1, 25, 224, 256),
        ("mfnet", 16, 2, 25, 224, (256, 256)),
        ("r3d_18", 16, 1, 15, 112, (128, 171)),
        ("s3d", 128, 1, 15, 224, (256, 256)),
        ("x3d_xs", 4, 12, 30, 160, 182),
        ("x3d_s", 13, 6, 30, 160, 182),
        ("x3d_m", 16, 5, 30, 224, 256),
        ("c3d", 16, 1, 25, 112, (128, 171)),
        ("slow_r50", 8, 8, 30, 224, 256),
        ("slowfast_r50", 32, 2, 30, 224, 256),
    ],
)
def test_sampling_is_as_documented(name, clip_length, stride, rate, size, scaled):
    entry = zoo.NETWORKS[name]
    assert (entry.trained_clip_length, entry.stride, entry.rate) == (clip_length, stride, rate)
    assert (entry.size, entry.scaled) == (size, scaled)


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18", "s3d"])
def test_torchvisions_are_fed_as_its_transforms_do(name):
    transforms = published.torchvision.models.get_model_weights(name).DEFAULT.transforms()
    entry = zoo.NETWORKS[name]
    assert [entry.size] * 2 == transforms.crop_size
    assert list(entry.scaled) == list(transforms.resize_size)
    assert list(entry.mean) == transforms.mean
    assert list(entry.std) == transforms.std


def test_mfnet_scales_as_its_authors_do():
    entry = zoo.NETWORKS["mfnet"]
    for value, mean, std, authors in zip((0, 128, 255), entry.mean, entry.std, (124, 117, 104), strict=True):
        assert (value / 255 - mean) / std == pytest.approx((value - authors) * 0.0167)


@pytest.mark.parametrize("name", SMALL)
def test_any_clip_length_and_size_on_the_grid_is_served(name):
    entry = zoo.NETWORKS[name]
    least = max(entry.frames_least, entry.clip_length_step)
    clip_lengths, size = [least, least + entry.clip_length_step], 2 * entry.size_step
    with torch.device("meta"):
        network, recipe = zoo.load(
            name, weights=None, clip_lengths=reversed(clip_lengths), size=size, labels=("a", "b", "c")
        )
    assert recipe.clip_lengths == tuple(clip_lengths)
    assert recipe.default_clip_length == (
        entry.trained_clip_length if entry.trained_clip_length in clip_lengths else clip_lengths[-1]
    )
    assert recipe.input.size == (size, size)
    assert min(recipe.input.stretch_to or (recipe.input.short_side,)) >= size
    for count in clip_lengths:
        assert network(torch.empty(1, 3, count, size, size, device="meta")).shape == (1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_every_network_traces(name):
    entry = zoo.NETWORKS[name]
    size = entry.size if entry.fixed else 2 * entry.size_step
    clip_length = entry.trained_clip_length if entry.fixed else max(entry.frames_least, entry.clip_length_step)
    network = entry.build(3).eval()
    clip = torch.zeros(1, 3, clip_length, size, size)
    with torch.no_grad():
        program = torch.export.export(network, (clip,), strict=False)
        torch.testing.assert_close(program.module()(clip), network(clip))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("r3d18", {}, "no network 'r3d18': there are i3d, mfnet, .*did you mean r3d_18"),
        ("i3d", {"clip_lengths": [8]}, "i3d takes clips of 16 frames or more, by 8, got 8"),
        ("i3d", {"clip_lengths": [20]}, "by 8, got 20"),
        ("r3d_18", {"clip_lengths": [12]}, "r3d_18 takes clips of 8 frames or more, by 8, got 12"),
        ("x3d_s", {"clip_lengths": [0]}, "x3d_s takes clips of 1 frames or more, got 0"),
        ("x3d_s", {"clip_lengths": []}, "x3d_s needs a clip length, as 13"),
        ("c3d", {"clip_lengths": [32]}, r"c3d takes clips of 16 frames only, got \[32\]"),
        ("c3d", {"size": 224}, "c3d takes 112x112 pixels only, got 224"),
        ("mfnet", {"size": 200}, "mfnet takes heights and widths that are multiples of 32, got 200"),
        ("mfnet", {"weights": "default"}, "no weights of mfnet to fetch: give the authors' MF-Net .*, with --weights"),
        ("x3d_m", {"weights": "default"}, "give pytorchvideo's X3D_M.pyth or one trained from it, with --weights FILE"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(name, options, message):
    with pytest.raises(UsageError, match=message):
        zoo.load(name, **{"weights": None, **options})
    refusal(name, **{"weights": None, **options})


def test_the_authors_checkpoint_of_mfnet_loads(tmp_path):
    network = zoo.NETWORKS["mfnet"].build(101)
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save({"epoch": 30, "state_dict": state, "optimizer": {"lr": 0.1}}, tmp_path / "mfnet.pth")
    loaded, recipe = zoo.load("mfnet", weights=tmp_path / "mfnet.pth")
    assert recipe.labels == labels.named("ucf101")
    assert recipe.title == "MF-Net 3D, UCF101"
    assert "that of the weights given" in recipe.license
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_the_number_of_classes_is_that_of_the_weights(tmp_path):
    torch.save(zoo.NETWORKS["x3d_s"].build(6).state_dict(), tmp_path / "own.pt")
    network, recipe = zoo.load("x3d_s", weights=str(tmp_path / "own.pt"))
    assert network.blocks[5].proj.out_features == 6
    assert recipe.labels == ("class 0", "class 1", "class 2", "class 3", "class 4", "class 5")
    assert recipe.title == "X3D-S, 6 classes"
    _, recipe = zoo.load("x3d_s", weights=tmp_path / "own.pt", labels=tuple("abcdef"))
    assert recipe.labels == tuple("abcdef")
    assert "2 labels for the 6 classes" in refusal("x3d_s", weights=tmp_path / "own.pt", labels=("a", "b"))


def test_weights_of_another_network_are_told(tmp_path):
    torch.save(zoo.NETWORKS["x3d_s"].build(6).state_dict(), tmp_path / "x3d.pt")
    message = refusal("mfnet", weights=tmp_path / "x3d.pt", error=ModelError)
    assert "the weights do not fit the network" in message
    assert "missing (conv1.conv.weight, conv1.bn.weight, ...)" in message
    assert "unknown (blocks.0.conv.conv_t.weight, blocks.0.conv.conv_xy.weight, ...)" in message


def test_i3d_takes_its_own_checkpoint_and_files_of_its_names(tmp_path):
    torch.save(zoo.NETWORKS["i3d"].build(4).state_dict(), tmp_path / "own.pth")
    _, recipe = zoo.load("i3d", weights=tmp_path / "own.pth", clip_lengths=[16])
    assert recipe.title == "I3D (Inception-v1), 4 classes"
    (tmp_path / "other.ckpt").write_bytes(b"other")
    assert "SHA-256" in refusal("i3d", weights=tmp_path / "other.ckpt", error=ModelError)


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("Name or service not known"),
        ConnectionResetError("reset by peer"),
        RuntimeError('invalid hash value\n(expected "b3b3357e")'),
    ],
)
def test_published_weights_out_of_reach_are_told_in_one_line(monkeypatch, error):
    def fail(*args, **options):
        raise error

    weights = published.torchvision.models.get_model_weights("r3d_18").DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", fail)
    message = refusal("r3d_18", weights="default", error=ModelError)
    assert message.startswith("cannot fetch torchvision's weights R3D_18_Weights.KINETICS400_V1: ")
    assert message.endswith("; give their file with --weights FILE")


def test_published_weights_are_put_in_place(monkeypatch):
    state = zoo.NETWORKS["r3d_18"].build(400).state_dict()
    weights = published.torchvision.models.get_model_weights("r3d_18").DEFAULT
    monkeypatch.setattr(type(weights), "get_state_dict", lambda self, *args, **options: state)
    network, recipe = zoo.load("r3d_18")
    assert torch.equal(network.fc.weight, state["fc.weight"])
    assert recipe.license == "BSD-3-Clause (torchvision)"


def test_a_usage_error_comes_before_any_weights_are_sought(monkeypatch):
    monkeypatch.setattr(published, "fetch", lambda name: pytest.fail("fetched"))
    with pytest.raises(TubesError, match="by 8"):
        zoo.load("r3d_18", clip_lengths=[12])
