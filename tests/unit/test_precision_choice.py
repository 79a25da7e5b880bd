"""Which precision a run asks for where its user names none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from saliency_tubes.stream import job
from saliency_tubes.stream.job import Config, comes_live, load_runner, share_model
from saliency_tubes.stream.source import SourceOptions, open_source
from stubs import StubRunner
from videos import make_video


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


@pytest.mark.parametrize(
    ("inputs", "batch", "asked", "size"),
    [
        (("a.mp4", "b.mp4", "test://?frames=9"), None, "f32", 1),
        (("a.mp4", "b.mp4"), 2, "f32", 2),
        (("a.mp4", "rtsp://camera/live"), None, "auto", 2),
    ],
)
def test_files_that_share_a_model_are_exact_too(
    inputs: tuple[str, ...], batch: int | None, asked: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each by itself: what a window gives may depend, if little, on those beside it."""
    found: list[Any] = []
    monkeypatch.setattr(job, "run_takes", lambda runner, clips: 1.0)
    monkeypatch.setattr(
        job, "open_runner", lambda model, **options: found.append(options) or StubRunner(batch=options["batch"])
    )
    share_model([Config(one, ("null://",), batch=batch) for one in inputs])
    assert (found[-1]["precision"], found[-1]["batch"]) == (asked, size)


@pytest.mark.parametrize("uri", ["clip", "file://clip", "test://", "test://?frames=2", "test://?frames=2&realtime=1"])
@pytest.mark.parametrize("options", [{}, {"realtime": True}, {"loop": True}], ids=lambda options: "".join(options))
def test_what_comes_live_is_known_before_it_is_open(uri: str, options: dict[str, bool], tmp_path: Path) -> None:
    uri = uri.replace("clip", str(make_video(tmp_path / "clip.mp4", frames=2)))
    source = open_source(uri, SourceOptions(**options))
    source.close()
    assert comes_live(uri, SourceOptions(**options)) == source.live


@pytest.mark.parametrize(
    "uri", ["rtsp://h/x", "http://h/a.mp4", "/dev/video0", "v4l2:///dev/video0", "csi://0", "gst://x"]
)
def test_what_can_be_lost_comes_live(uri: str) -> None:
    assert comes_live(uri, SourceOptions())  # all of them are a LiveSource, which always is


@pytest.mark.parametrize("uri", ["test://?fps=3", "file://host/x.mp4"])
def test_what_cannot_be_opened_is_left_to_its_own_stream(uri: str) -> None:
    assert not comes_live(uri, SourceOptions())
