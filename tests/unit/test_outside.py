"""The package as somebody else's type checker sees it: installed from the wheel, by py.typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("stream", "engine", "export")
METADATA = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"

RIGHT = """
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import saliency_tubes
from saliency_tubes import (
    PRESETS, ClassScore, Explainer, Explanation, Frame, Layout, Picture, Pipeline, PipelineOptions, RunOptions, Shown,
    Sink, Style, TubeAnnotator, TubesError, UsageError, VideoInfo, explain, open_runner, open_sink, open_source,
)
from typing_extensions import assert_type

Rgb = npt.NDArray[np.uint8]


def keep(*arrays: Rgb | npt.NDArray[np.float32]) -> None:
    pass


def whole(frames: list[Rgb], options: RunOptions) -> None:
    for shown in explain("clip.mp4", "out.mp4", frames=16, preset="focus", size="640x480", crf=20):
        assert_type(shown, Shown)
        assert_type(shown.explanation, Explanation | None)
        assert_type(shown.frame, Frame)
        assert_type(shown.frame.time, float)
        rgb: Rgb = shown.rgb
        keep(rgb)
    run = explain(frames, fps=Fraction(30000, 1001), **options)
    assert_type(next(run), Shown)
    run.close()


def loop(frames: Iterator[Rgb], bgr: Rgb) -> Rgb:
    annotator = TubeAnnotator(Style(alpha=0.5))
    with Explainer("i3d", fps=30, preset=PRESETS["focus"]) as explainer:
        for rgb in frames:
            explanation = explainer.push(rgb, time=0.5)
            assert_type(explanation, Explanation | None)
            if explanation is not None:
                assert_type(explanation.explained, tuple[ClassScore, ...])
                assert_type(explanation.label, str)
                heat: npt.NDArray[np.float32] = explanation.heatmap(3.5, size=(640, 480))
                drawn: Rgb = explanation.overlay(rgb, caption=True)
                keep(heat, drawn)
                assert_type(explanation._repr_png_(), bytes)
        return annotator.annotate(scene=bgr, explanation=explainer.latest)


class Own(Sink):
    def open(self, info: VideoInfo) -> None:
        assert_type(info.rate, Fraction | None)

    def write(self, shown: saliency_tubes.PlainShown) -> None:
        keep(shown.rgb)

    def event(self, event: saliency_tubes.Event) -> None:
        explanation = Explanation.of(event.explanation, size=event.size)
        heat: npt.NDArray[np.float32] = explanation.heatmap()
        keep(heat)


def parts() -> None:
    source, runner = open_source("test://?frames=30"), open_runner("i3d", clip_length=16)
    assert_type(runner.manifest.labels, tuple[str, ...])
    try:
        with Pipeline(source, runner, [open_sink("out.mkv")], PipelineOptions(hop=4)) as pipeline:
            for shown in pipeline:
                assert_type(shown, Shown)
    except UsageError as error:
        assert_type(error.exit_code, int)
        raise TubesError(str(error)) from error
    finally:
        source.close()


def picture(rgb: Rgb) -> Frame:
    return Frame(0, 0, Fraction(1, 25), Picture(Layout.RGB, (rgb,)))
"""

WRONG = {
    'explain("clip.mp4", fames=16)': "an option that does not exist",
    'explain("clip.mp4", hold=[3])': "an option of another type",
    "Explainer(fps='30')": "text for a number",
    "Explainer().push('frame.png')": "text for a frame",
    "Explainer().latest.label": "what may be None",
    "TubeAnnotator().annotate(scene=None, explanation=None)": "no picture",
    "from saliency_tubes import Config": "a name that is not offered",
}
"""what a type checker must refuse, with why: were something Any, it would not"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel in its site-packages, behind which it finds what is installed here."""
    folder = tmp_path_factory.mktemp("outside")
    copy = folder / "copy"
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in METADATA:
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-c", BUILD, str(folder)]
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True)  # without setup.py: types need no compiler
    assert run.returncode == 0, run.stdout + run.stderr
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    # a path alone: the editable installation there hooks itself in by a file that is read only of one's own folder
    (site / "behind.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "venv" / "bin" / "python"


def check(checker: str, python: Path, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    (folder / "project.py").write_text(code)
    if checker == "mypy":
        words = [
            "-m",
            "mypy",
            "--strict",
            "--python-executable",
            str(python),
            "--cache-dir",
            str(python.parent / "mypy"),
        ]
    else:
        (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "reportPrivateUsage": false}')
        words = ["-m", "pyright", "--pythonpath", str(python)]
    environment = {key: value for key, value in os.environ.items() if key not in ("MYPYPATH", "PYTHONPATH")}
    command = [sys.executable, *words, "project.py"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module", params=["mypy", "pyright"])
def checker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    name: str = request.param
    pytest.importorskip(name, reason=f"{name} is not installed")
    if name == "pyright":  # it is a JavaScript program, fetched when it is first run
        run = subprocess.run([sys.executable, "-m", "pyright", "--version"], capture_output=True, text=True)
        if run.returncode != 0:
            pytest.skip(f"pyright does not run here: {run.stderr.strip().splitlines()[-1:]}")
    return name


@pytest.mark.slow
def test_a_strict_project_passes(checker: str, python: Path, tmp_path: Path) -> None:
    run = check(checker, python, tmp_path, RIGHT)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
def test_what_is_wrong_is_refused(checker: str, python: Path, tmp_path: Path) -> None:
    imports = "from saliency_tubes import Explainer, TubeAnnotator, explain"
    run = check(checker, python, tmp_path, "\n".join([imports, *WRONG]) + "\n")
    assert run.returncode == 1, run.stdout + run.stderr
    for line, (code, why) in enumerate(WRONG.items(), 2):
        assert f"project.py:{line}:" in run.stdout, f"{why}: {code}\n{run.stdout}"
