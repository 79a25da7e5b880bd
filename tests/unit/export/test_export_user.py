"""A user's own network: found, loaded, named; and each mistake answered in one line."""

import re

import pytest

torch = pytest.importorskip("torch", reason="export needs torch")

import tiny  # noqa: E402
from saliency_tubes.engine.errors import ModelError, UsageError  # noqa: E402
from saliency_tubes.export.user import count_classes, is_factory, load_factory, load_network  # noqa: E402
from torch import nn  # noqa: E402

SOURCE = """
import torch
from beside import CLASSES

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, CLASSES)

def make():
    return Net()

def broken():
    raise KeyError("no such thing")

def other():
    return 3

ready = Net()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(SOURCE)
    (tmp_path / "beside.py").write_text("CLASSES = 3\n")
    (tmp_path / "bad.py").write_text("import torch\nx = (1\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "net.py").write_text("import torch\nclass A:\n    make = lambda: torch.nn.Linear(2, 2)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "beside", raising=False)
    return tmp_path


@pytest.mark.parametrize("name", ["mine.py:make", "mine.py:Net", "mine.py:ready", "mine:make", "pack.net:A.make"])
def test_a_network_is_made_by_what_the_user_names(folder, name):
    assert is_factory(name)
    model = load_factory(name)
    assert isinstance(model, nn.Module)
    assert not model.training
    assert str(folder) not in __import__("sys").path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("r3d_18", "must be package.module:factory or path/to/file.py:factory, got 'r3d_18'"),
        ("nowhere.py:make", "cannot import nowhere.py: there is no such file"),
        ("no.such.module:make", "cannot import no.such.module: ModuleNotFoundError: No module named 'no'"),
        ("bad.py:make", "cannot import bad.py: SyntaxError: "),
        ("mine.py:made", "mine.py has no 'made'; it has Net, make, broken, other"),
        ("mine.py:broken", "mine.py:broken failed: KeyError: 'no such thing'"),
        ("mine.py:other", r"must give a torch.nn.Module, it gave int"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(folder, name, message):
    with pytest.raises(UsageError, match=message) as raised:
        load_factory(name)
    assert "\n" not in str(raised.value)


def test_classes_are_counted_by_running_it():
    model = tiny.Tiny(tiny.linear_heads()["conv-pool"]).train()
    assert count_classes(model, tiny.recipe().input, tiny.FRAMES) == tiny.CLASSES
    assert model.training
    with pytest.raises(UsageError, match=r"does not take \[1, 3, 8, 16, 24\]: "):
        count_classes(nn.Sequential(nn.Linear(5, 2)), tiny.recipe().input, tiny.FRAMES)


def test_a_network_with_its_weights(folder):
    """What a file of weights may be, and what is said of others, is tested with `weights`."""
    seen = (tiny.recipe().input, tiny.FRAMES)
    torch.save({"module.fc.weight": torch.ones(3, 4), "module.fc.bias": torch.zeros(3)}, folder / "w.pt")
    assert float(load_network("mine.py:make", folder / "w.pt", *seen).fc.weight.detach().sum()) == 12
    assert not load_network("mine.py:make", None, *seen).training
    torch.save({"fc.weight": torch.ones(3, 4), "bias": torch.zeros(3)}, folder / "w.pt")
    with pytest.raises(ModelError, match=r"do not fit the network: 1 missing \(fc.bias\); 1 unknown \(bias\)"):
        load_network("mine.py:make", folder / "w.pt", *seen)


WRAPPED = """
import torch
from torch import nn

def plain():
    return nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5))

def lazy():
    return nn.Sequential(nn.LazyConv3d(4, 3, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.LazyLinear(5))

def unfit():
    return nn.Sequential(nn.LazyConv3d(4, 99), nn.Flatten(), nn.LazyLinear(5))

def clip():
    return torch.zeros(1, 3, 8, 16, 24)

def scripted():
    return torch.jit.script(plain())

def traced():
    return torch.jit.trace(plain().eval(), clip())

def program():
    return torch.export.export(plain().eval(), (clip(),))

def exported():
    return program().module()

def compiled():
    return torch.compile(plain())
"""


@pytest.mark.parametrize("name", ["lazy", "compiled"])
def test_lazy_and_compiled_networks_are_as_they_were_written(folder, name):
    (folder / "wrapped.py").write_text(WRAPPED)
    model = load_network(f"wrapped.py:{name}", None, tiny.recipe().input, tiny.FRAMES)
    assert type(model) is nn.Sequential
    assert not any(isinstance(value, nn.parameter.UninitializedParameter) for value in model.parameters())
    assert count_classes(model, tiny.recipe().input, tiny.FRAMES) == 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("scripted", "gives TorchScript, whose layers cannot be looked into: give the nn.Module itself"),
        ("traced", "gives TorchScript, whose layers cannot be looked into: give the nn.Module itself"),
        ("program", "gives what torch.export made, whose layers are gone: give the nn.Module itself"),
        ("exported", "gives what torch.export made, whose layers are gone: give the nn.Module itself"),
        ("unfit", "has lazy layers (0.weight), and cannot be run to shape them: RuntimeError: "),
    ],
)
def test_networks_whose_layers_cannot_be_had(folder, name, says):
    (folder / "wrapped.py").write_text(WRAPPED)
    with pytest.raises(UsageError, match=f"wrapped.py:{name} {re.escape(says)}") as raised:
        load_network(f"wrapped.py:{name}", None, tiny.recipe().input, tiny.FRAMES)
    assert "\n" not in str(raised.value)
