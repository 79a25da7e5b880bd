"""Each incident happens to a real run: the operator is told, all is well again in time, nothing is lost in silence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from incidents.incident import Incident, play
from incidents.scene import make_model
from incidents.table import INCIDENTS

DOCS = Path(__file__).parents[2] / "docs" / "live.md"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxscript", reason="export needs torch and onnxscript")
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    "incident",
    [pytest.param(one, id=name, marks=[pytest.mark.slow] * one.slow) for name, one in INCIDENTS.items()],
)
def test_incident(incident: Incident, model: Path) -> None:
    outcome = play(incident, model)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.problems == []


def test_the_documentation_has_every_incident() -> None:
    section = DOCS.read_text(encoding="utf-8").split("\n## What happens when\n")[1].split("\n## ")[0]
    assert re.findall(r"^\| \*\*(.+?)\*\*", section, re.MULTILINE) == list(INCIDENTS)
