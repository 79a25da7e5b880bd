"""README's Python, as it stands there, on a small video."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from videos import make_video

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    """The code under "In Python"."""
    text = README.split("\n## In Python\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "clip.mp4", size=(64, 48), frames=20)
    monkeypatch.chdir(tmp_path)
    made: dict[str, object] = {}
    exec(blocks()[0], made)
    shown = made["shown"]
    assert shown.rgb.shape == (48, 64, 3)
    assert shown.frame.index == 19
    assert shown.explanation.tube.evidence.shape == (8, 7, 7)


def test_a_loop_of_your_own() -> None:
    frames = [np.full((48, 64, 3), 10 * number, np.uint8) for number in range(20)]
    short = blocks()[1].replace("Explainer(fps=30)", "Explainer(fps=30, frames=16)")
    assert short != blocks()[1]
    made: dict[str, object] = {"frames": frames}
    exec(short, made)
    assert made["picture"].shape == (48, 64, 3)
