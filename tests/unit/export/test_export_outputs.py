"""Networks that give several outputs: the first is the logits, that is said, and the file gives what torch gives."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxscript", reason="export needs onnxscript")
pytest.importorskip("openvino", reason="the check runs it")  # here: its telemetry starts a thread that outlives a test

import tiny  # noqa: E402
from saliency_tubes.engine.errors import UsageError  # noqa: E402
from saliency_tubes.engine.runtimes.models import read_manifest  # noqa: E402
from saliency_tubes.engine.runtimes.open import open_runner  # noqa: E402
from saliency_tubes.export.tap import find_logits, find_tap, logits_of  # noqa: E402
from saliency_tubes.export.user import count_classes  # noqa: E402
from saliency_tubes.stream.app.cli import main  # noqa: E402

SOURCE = """
import tiny

class Several(tiny.Tiny):
    def forward(self, clip):
        activation = self.trunk(clip)
        return {gives}

def network():
    return tiny.randomised(Several(tiny.{head}))
"""
HEADS = {"linear": "linear_heads()['pool-conv-mean']", "gradient": "other_heads()['mlp']"}


@dataclass
class Said:
    loss: torch.Tensor | None
    logits: torch.Tensor
    activation: torch.Tensor


class Pair(NamedTuple):
    scores: torch.Tensor
    activation: torch.Tensor


LOGITS, OTHER = torch.zeros(1, 5), torch.zeros(1, 6, 4, 8, 12)


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ((LOGITS, OTHER), "the first of 2 outputs in a tuple"),
        ([LOGITS, OTHER, OTHER], "the first of 3 outputs in a list"),
        ((LOGITS,), "the one output in a tuple"),
        ({"out": LOGITS, "aux": None}, "the first of 2 outputs in a dict, 'out'"),
        (Said(None, LOGITS, OTHER), "the first of 2 outputs in a Said, 'logits'"),
        (Pair(LOGITS, OTHER), "the first of 2 outputs in a Pair, 'scores'"),
    ],
)
def test_the_first_output_is_taken_and_said_to_be(output, words):
    logits, said = find_logits(output)
    assert logits is LOGITS
    assert said == f"{words}, [1, 5], is taken for the logits"


def test_of_a_network_that_gives_its_logits_nothing_is_said():
    assert find_logits(LOGITS) == (LOGITS, "")


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ((), "it gave an empty tuple"),
        ({}, "it gave an empty dict"),
        (3, "it gave no tensor: int"),
        ((None, LOGITS), "the first of 2 outputs in a tuple is no tensor: NoneType"),
        (([LOGITS], LOGITS), "the first of 2 outputs in a tuple is no tensor: list"),
        ({"name": "x", "out": LOGITS}, "the first of 2 outputs in a dict, 'name' is no tensor: str"),
        ((OTHER, LOGITS), "the first of 2 outputs in a tuple is [1, 6, 4, 8, 12]"),
    ],
)
def test_what_has_no_logits_first_is_refused_in_one_line(output, words):
    class Odd(tiny.Tiny):
        def forward(self, clip):
            super().forward(clip)
            return output

    for look in (
        lambda model: logits_of(model, tiny.clip()),
        lambda model: find_tap(model, tiny.clip()),
        lambda model: count_classes(model, tiny.recipe().input, tiny.FRAMES),
    ):
        with pytest.raises(UsageError) as raised:
            look(Odd(tiny.linear_heads()["conv-pool"]))
        assert str(raised.value) == f"the network must give logits [N, K], {words}"


@pytest.mark.parametrize(
    ("kind", "gives", "which"),
    [
        ("linear", "self.head(activation), activation", "a tuple"),
        ("gradient", "self.head(activation), activation", "a tuple"),
        ("linear", "{'logits': self.head(activation), 'x': 3}", "a dict, 'logits'"),
    ],
    ids=["linear-tuple", "gradient-tuple", "linear-dict"],
)
def test_such_a_network_from_end_to_end(kind, gives, which, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime", reason="check needs it")
    (tmp_path / "several.py").write_text(SOURCE.format(gives=gives, head=HEADS[kind]))
    monkeypatch.chdir(tmp_path)
    shape = f"3,{tiny.FRAMES},{tiny.HEIGHT},{tiny.WIDTH}"
    assert main(["export", "several.py:network", "--input-shape", shape, "-o", "a.onnx"]) == 0  # checked against torch
    (said,) = (line.split(None, 1)[1] for line in capsys.readouterr().out.splitlines() if line.startswith("  output"))
    assert said == f"the first of 2 outputs in {which}, [1, 5], is taken for the logits; the file gives no other"
    manifest = read_manifest(tmp_path / "a.onnx")
    assert (manifest.head is None) == (kind == "gradient")
    assert manifest.tap == "trunk"
    plain = tiny.randomised(tiny.Tiny({**tiny.linear_heads(), **tiny.other_heads()}[HEADS[kind].split("'")[1]]))
    (found,) = open_runner(tmp_path / "a.onnx", runtime="onnxruntime").infer(tiny.clip().numpy())
    logits = plain(tiny.clip()).detach()[0].numpy()
    np.testing.assert_allclose(found.logits, logits, atol=1e-4 * np.abs(logits).max())
    activation = plain.trunk(tiny.clip()).detach()[0].numpy()
    np.testing.assert_allclose(found.activation, activation, atol=1e-4 * activation.max())
