"""Which precision and which window a run takes where its user names none."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from saliency_tubes.engine.cores import Cores
from saliency_tubes.engine.errors import ModelError, UsageError
from saliency_tubes.engine.manifest import WindowSpec
from saliency_tubes.engine.runtimes.base import Choices
from saliency_tubes.engine.runtimes.open import choices
from saliency_tubes.stream.app import model_choice
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.app.job import open_job
from saliency_tubes.stream.app.model_choice import load_runner, load_young, model_speeds, share_model
from saliency_tubes.stream.app.report import Report
from saliency_tubes.stream.app.speed import Speeds
from saliency_tubes.stream.app.young import fit
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import comes_live, open_source
from saliency_tubes.stream.telemetry.log import logging_to
from stubs import SLICES, StubRunner, make_manifest
from videos import make_video


class Models:
    """Models that take so many seconds a window, by T and precision, instead of any that is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[tuple[int, str], float]) -> None:
        self.opened: list[tuple[int, str, int]] = []
        """T, precision and batch of each"""
        self.raced: list[tuple[int, tuple[str, ...]]] = []
        self._seconds = seconds
        monkeypatch.setattr(model_choice, "open_attended", self.open)
        monkeypatch.setattr(
            model_choice, "run_takes", lambda runner, clips: seconds[runner.clip_length, runner.precision]
        )
        monkeypatch.setattr(model_choice, "choices", lambda model, **options: Choices("stub", ("f32", "bf16")))
        monkeypatch.setattr(model_choice, "speeds_of", self.race)
        monkeypatch.setattr(model_choice, "read_manifest", lambda path: MANIFEST)
        monkeypatch.setattr(model_choice, "cores", lambda: Cores(16, 16))

    def open(self, model: object, *, clip_length: int | None, precision: str, batch: int, **options: Any) -> StubRunner:
        clip_length = clip_length or MANIFEST.default_clip_length
        self.opened.append((clip_length, precision, batch))
        runner = StubRunner(MANIFEST, clip_length, batch)
        runner.precision = precision  # type: ignore[attr-defined]
        return runner

    def race(self, model: Path, choices: Choices, clip_length: int, load: Any) -> Speeds:
        self.raced.append((clip_length, choices.precisions))
        return Speeds(clip_length, {name: self._seconds[clip_length, name] for name in choices.precisions})


WINDOWS = {clip_length: WindowSpec((1 / SLICES,) * SLICES, (0, SLICES)) for clip_length in (8, 16, 32)}
MANIFEST = replace(make_manifest(32), windows=WINDOWS)


def seconds(f32: float, bf16: float) -> dict[tuple[int, str], float]:
    """Of a frame, by precision; a window's are in proportion."""
    return {
        (clip_length, name): clip_length * spent
        for clip_length in WINDOWS
        for name, spent in (("f32", f32), ("bf16", bf16))
    }


@pytest.mark.parametrize(
    ("named", "live", "chosen", "raced"),
    [
        (None, False, "f32", []),
        (None, True, "bf16", [(8, ("f32", "bf16"))]),
        ("auto", True, "bf16", [(8, ("f32", "bf16"))]),
        ("auto", False, "bf16", [(8, ("f32", "bf16"))]),
        ("f32", True, "f32", []),
        ("bf16", False, "bf16", []),
    ],
)
def test_live_is_quick_and_files_are_exact(
    named: str | None, live: bool, chosen: str, raced: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    models, config = Models(monkeypatch, seconds(0.02, 0.01)), Config("clip.mp4", precision=named)
    runner = load_runner(config, model_speeds(config, MANIFEST, live), behind=live)
    assert (models.opened, models.raced) == ([(32, chosen, 1)], raced)
    assert runner.description == ("stub: 80 ms a window of 8 against 160 ms in f32, measured" if raced else "stub")


def test_bf16_that_is_slower_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by AVX-512's own instructions on some processors, and with AMX in others: no rule says which."""
    models, config = Models(monkeypatch, seconds(0.01, 0.016)), Config("rtsp://camera/live")
    runner = load_runner(config, model_speeds(config, MANIFEST, True))
    assert models.opened == [(32, "f32", 1)]
    assert runner.description == "stub: 80 ms a window of 8 against 128 ms in bf16, measured"


def test_the_window_asked_for_is_the_one_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(monkeypatch, seconds(0.02, 0.01))
    model_speeds(Config("rtsp://camera/live", clip_length=16), MANIFEST, True, chooses=False)
    assert models.raced == [(16, ("f32", "bf16"))]
    with pytest.raises(ModelError, match="takes clips of 8, 16 or 32 frames, got 9"):
        model_speeds(Config("rtsp://camera/live", clip_length=9), MANIFEST, True)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_what_there_is_to_choose_is_asked_of_the_runtime(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(runtime)
    found = choices("i3d", runtime=runtime)
    assert found.precisions[0] == "f32"
    assert set(found.precisions) <= ({"f32", "bf16"} if runtime == "openvino" else {"f32"})
    with pytest.raises(UsageError, match="a model runs by CUDA on an NVIDIA GPU, and here is"):
        choices("i3d", runtime="tensorrt")
    (tmp_path / "x.plan").touch()
    assert choices(tmp_path / "x.plan").precisions == ("f32",)


def test_a_precision_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="precision must be one of auto, f32, bf16, got 'int8'"):
        Config("clip.mp4", precision="int8")


@pytest.mark.parametrize(
    ("inputs", "batch", "chosen", "size"),
    [
        (("a.mp4", "b.mp4", "test://?frames=9"), None, "f32", 1),
        (("a.mp4", "b.mp4"), 2, "f32", 2),
        (("a.mp4", "rtsp://camera/live"), None, "bf16", 2),
    ],
)
def test_files_that_share_a_model_are_exact_too(
    inputs: tuple[str, ...], batch: int | None, chosen: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each by itself: what a window gives may depend, if little, on those beside it."""
    models = Models(monkeypatch, seconds(0.02, 0.01))
    share_model([Config(one, ("null://",), batch=batch, clip_length=32) for one in inputs])
    assert models.opened[-1] == (32, chosen, size)


@pytest.mark.parametrize(
    ("syncs", "max_ages", "clip_length"),
    [
        (("auto", "auto"), (2.0, 2.0), 16),
        (("aligned", "aligned"), (2.0, 2.0), 32),
        (("auto", "aligned"), (9.0, 0.1), 32),
        (("aligned", "auto"), (9.0, 2.0), 16),
    ],
)
def test_windows_are_short_for_those_streams_that_are_drawn_live(
    syncs: tuple[str, str], max_ages: tuple[float, float], clip_length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that wait for their windows, tubes are of age 0, however long the windows are."""
    Models(monkeypatch, seconds(0.013, 0.013))
    configs = [
        Config(f"rtsp://camera/{sync}", ("null://",), sync=sync, max_age=max_age)
        for sync, max_age in zip(syncs, max_ages, strict=True)
    ]
    assert share_model(configs).batcher.runner.clip_length == clip_length


def young(models: Models, guess: Speeds | None, rate: float = 30.0, **options: Any) -> tuple[int, str]:
    config = Config("rtsp://camera/live", **options)
    runner, why = load_young(config, MANIFEST, 1, rate, guess, behind=False)
    assert runner.clip_length == models.opened[-1][0]
    return runner.clip_length, why


def guess(spent: float) -> Speeds:
    """Of a start before, in the shortest window; seconds of a frame."""
    return Speeds(8, {"f32": 8 * spent}, kept=True)


@pytest.mark.parametrize(
    ("guessed", "now", "opened"),
    [
        (guess(0.001), 0.001, [32]),
        (guess(0.03), 0.03, [16]),
        (guess(0.5), 0.5, [8]),
        (guess(0.5), 0.001, [8, 32]),  # it was busy when it was measured first
        (guess(0.001), 0.5, [32, 8]),  # and now it is
        (guess(0.001), 0.03, [32, 16]),
        (None, 0.001, [8, 32]),
    ],
)
def test_live_takes_the_longest_window_whose_tubes_are_young_now(
    guessed: Speeds | None, now: float, opened: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = Models(monkeypatch, seconds(now, now))
    clip_length, why = young(models, guessed)
    assert [one[0] for one in models.opened] == opened
    assert clip_length == opened[-1]
    assert why == fit(MANIFEST, 1, 30.0, 2.0, {8: 8 * now}).in_words


def test_windows_that_do_not_take_their_share_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the shortest the longest would do, by that one the middle; and what was measured is not measured again."""
    models = Models(monkeypatch, {(8, "f32"): 0.08, (16, "f32"): 0.9, (32, "f32"): 1.0})
    assert young(models, None)[0] == 8
    assert [one[0] for one in models.opened] == [8, 32, 16, 8]


def test_several_streams_on_few_cores_get_shorter_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """They decode, draw and encode on the cores that the model ran on alone while it was timed."""
    Models(monkeypatch, seconds(0.011, 0.011))
    configs = [Config(f"rtsp://camera/{number}", ("null://",)) for number in range(3)]
    lengths = []
    for number in (16, 2):
        monkeypatch.setattr(model_choice, "cores", lambda number=number: Cores(number, number))
        lengths.append(share_model(configs).batcher.runner.clip_length)
    assert lengths == [16, 8]


def test_a_longer_patience_allows_longer_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Models(monkeypatch, seconds(0.03, 0.03))
    assert [young(models, guess(0.03), max_age=age)[0] for age in (0.5, 2.0, 4.0)] == [8, 16, 32]


@pytest.mark.parametrize(
    ("options", "clip_length"),
    [({}, 16), ({"clip_length": 32}, 32), ({"sync": "aligned"}, 32)],
    ids=["by itself", "--frames", "aligned"],
)
def test_a_run_with_a_camera_says_why_its_window_is_so_long(
    options: dict[str, Any], clip_length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Models(monkeypatch, seconds(0.03, 0.03))
    said = io.StringIO()
    with logging_to(said), open_job(Config("test://?size=160x96&rate=30", ("null://",), limit=3, **options)) as opened:
        Report(opened, None).begin()
        assert opened.runner.clip_length == clip_length
        list(opened.pipeline)
    (line,) = [line for line in said.getvalue().splitlines() if line.startswith("window")]
    assert line.startswith(f"window   {clip_length} frames")
    assert ("a tube is" in line) == (not options)
    assert not options or opened.young == ""
    assert options or line.endswith("; 32 frames would make it 3.2 s, older than max-age 2 s")


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
