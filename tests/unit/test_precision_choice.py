"""Which precision a run asks for where its user names none."""

from __future__ import annotations

from typing import Any

import pytest
from saliency_tubes.stream import job
from saliency_tubes.stream.job import Config, load_runner


@pytest.mark.parametrize(
    ("named", "behind", "asked"),
    [(None, False, "f32"), (None, True, "auto"), ("f32", True, "f32"), ("bf16", False, "bf16")],
)
def test_live_is_quick_and_files_are_exact(
    named: str | None, behind: bool, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {}
    monkeypatch.setattr(job, "open_runner", lambda model, **options: found.update(options))
    load_runner(Config("clip.mp4", precision=named), behind=behind)
    assert found["precision"] == asked
