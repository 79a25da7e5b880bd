"""What a checkpoint may be, and what is said when it does not fit."""

import collections
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="export needs torch")

from saliency_tubes.engine.errors import ModelError  # noqa: E402
from saliency_tubes.export.weights import fit, load_state, without_prefixes  # noqa: E402
from torch import nn  # noqa: E402


class Hostile:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def network():
    return nn.Sequential(collections.OrderedDict(conv=nn.Conv3d(3, 4, 1), bn=nn.BatchNorm3d(4), fc=nn.Linear(4, 5)))


def assert_same(one, other):
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: dict(state),
        lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda state: {"model_state": state, "cfg": "text"},
        lambda state: {"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {f"_orig_mod.module.{name}": value for name, value in state.items()},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_of_trainers_are_read(tmp_path, wrap, zipped):
    state = network().state_dict()
    path = tmp_path / "weights.pth"
    torch.save(wrap(state), path, _use_new_zipfile_serialization=zipped)
    assert_same(without_prefixes(load_state(path)), state)
    fit(network(), load_state(path))


def test_safetensors_are_read(tmp_path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    state = network().state_dict()
    save_file(state, tmp_path / "weights.safetensors")
    found = load_state(tmp_path / "weights.safetensors")
    assert_same(dict(sorted(found.items())), dict(sorted(state.items())))
    (tmp_path / "other.safetensors").write_bytes(b"not one")
    with pytest.raises(ModelError, match="is not a safetensors file"):
        load_state(tmp_path / "other.safetensors")


def test_a_prefix_that_only_some_names_have_stays(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pt")
    assert list(load_state(tmp_path / "w.pt")) == ["module.a", "b"]


def test_a_network_may_call_its_own_parts_as_wrappers_do():
    class Wrapping(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 2)

    trained, fresh = Wrapping(), Wrapping()
    fit(fresh, trained.state_dict())
    assert_same(fresh.state_dict(), trained.state_dict())
    fit(fresh, {f"module.{name}": value for name, value in trained.state_dict().items()})


def test_a_network_without_shapes_is_said_to_be_one():
    with pytest.raises(ModelError, match="weight, bias of the network has no shape before its first clip"):
        fit(nn.LazyLinear(2), {"weight": torch.ones(2, 2), "bias": torch.ones(2)})


def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path):
    victim = tmp_path / "touched"
    torch.save({"state_dict": {"a": torch.ones(1)}, "more": Hostile(victim)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"holds more than weights: .* write torch.save") as caught:
        load_state(tmp_path / "w.pt")
    assert "\n" not in str(caught.value)
    assert not victim.exists()


@pytest.mark.parametrize("content", [network(), {"a": torch.ones(1), "b": Path("c")}])
def test_pickles_of_objects_are_refused_by_name(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"would run (torch\.nn\.modules|pathlib)\.[\w.]+\. To convert") as caught:
        load_state(tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused(tmp_path):
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(tmp_path / "w.pt")
    with pytest.raises(ModelError, match="is TorchScript, a program") as caught:
        load_state(tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "found list"),
        ({}, "found an empty dictionary"),
        ({"epoch": 3, "lr": 0.1}, "found a dictionary of epoch, lr"),
        ({"state_dict": {"a": torch.ones(1), "b": 3}}, "b must be a tensor, got int"),
    ],
)
def test_files_without_weights_are_told(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=message):
        load_state(tmp_path / "w.pt")


@pytest.mark.parametrize("data", [b"", b"no checkpoint", b"PK\x03\x04 cut", b"\x80\x02}q\x00"])
def test_malformed_files_are_refused_in_one_line(tmp_path, data):
    (tmp_path / "w.pth").write_bytes(data)
    with pytest.raises(ModelError, match=r"w\.pth") as caught:
        load_state(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(ModelError, match="there is no such file"):
        load_state(tmp_path / "w.pt")
    with pytest.raises(ModelError, match="it is a folder"):
        load_state(tmp_path)


def test_weights_are_put_in_place_in_the_modules_own_dtype():
    module, state = network(), network().state_dict()
    fit(module, {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()})
    assert_same(module.state_dict(), {k: v.half().to(v.dtype) for k, v in state.items()})


def test_only_counters_of_batch_norm_may_be_missing():
    module, state = network(), network().state_dict()
    del state["bn.num_batches_tracked"]
    fit(module, state)
    torch.testing.assert_close(module.conv.weight, state["conv.weight"])
    del state["bn.running_var"]
    with pytest.raises(ModelError, match=r"do not fit the network: 1 missing \(bn.running_var\)$"):
        fit(module, state)


def test_all_that_does_not_fit_is_counted_and_some_is_named():
    module, state = network(), network().state_dict()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state["fc.weight"] = torch.ones(7, 4)
    state["fc.bias"] = torch.ones(7)
    state["extra.scale"] = torch.ones(1)
    del state["conv.weight"], state["conv.bias"]
    with pytest.raises(ModelError) as caught:
        fit(module, state)
    assert str(caught.value) == (
        "the weights do not fit the network: 2 missing (conv.weight, ...); 1 unknown (extra.scale); "
        "2 of another shape (fc.weight is 7x4 where the network has 5x4, ...)"
    )
    assert_same(module.state_dict(), before)


def test_at_most_five_are_named():
    with pytest.raises(ModelError) as caught:
        fit(network(), {**network().state_dict(), **{f"extra{i}": torch.ones(1) for i in range(9)}})
    assert str(caught.value).count("extra") == 5


def test_values_that_are_not_finite_are_told():
    state = network().state_dict()
    state["fc.bias"][2] = torch.nan
    with pytest.raises(ModelError, match=r"not finite: fc\.bias$"):
        fit(network(), state)
