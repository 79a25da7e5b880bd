"""docs/extend.md does what it says: each guide's file and line go into a copy of the package, and its command runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from graphs import graph_of, network, save

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extend.md"
ROOMS = ("engine", "stream", "export")
GUIDES = ("A source", "A sink", "A runtime", "A colour map")


@dataclass(frozen=True)
class Guide:
    """What a section tells to do."""

    file: str
    """path of the new file; empty: there is none"""
    source: str
    line: str
    where: str
    """path of the file that the line goes into"""
    table: str
    """name of the table there"""
    command: list[str]


def guide(title: str) -> Guide:
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    *files, line = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (command,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    where = re.search(r"line,? in `([\w/.]+)`, in the\s+table\s+`(\w+)`", text)
    assert where is not None
    path, table = where.groups()
    assert line.count("\n") == 1, "one line"
    assert len(files) <= 1, "one file"
    source = files[0] if files else ""
    return Guide(source.partition("\n")[0].removeprefix("# "), source, line, path, table, shlex.split(command))


def follow(told: Guide, package: Path) -> None:
    """Does what a guide says, in a copy of the package."""
    if told.file:
        assert not (package / told.file).exists()
        (package / told.file).write_text(told.source, encoding="utf-8")
    target = package / told.where
    code, begun = re.subn(
        rf"^({told.table}\b.*\{{)$", rf"\1\n{told.line.rstrip()}", target.read_text(), count=1, flags=re.M
    )
    if not begun:  # a table that is written on one line
        code, begun = re.subn(
            rf"^({told.table}\b.*)\}}$", rf"\1, {told.line.strip()}}}", target.read_text(), flags=re.M
        )
    assert begun == 1
    target.write_text(code, encoding="utf-8")


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a copy of the package in which all guides were followed."""
    folder = tmp_path_factory.mktemp("extended")
    package = folder / "saliency_tubes"
    skipped = shutil.ignore_patterns("__pycache__", "assets", "node_modules")
    shutil.copytree(ROOT / "stream" / "api", package, ignore=skipped)
    for room in ROOMS:
        shutil.copytree(ROOT / room, package / room, ignore=skipped)
        (package / room / "assets").symlink_to(ROOT / room / "assets")
    for title in GUIDES:
        follow(guide(title), package)
    save(graph_of(network(linear=True)), folder / "small.onnx")
    return folder


def python(code: str, extended: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs code that imports the copy."""
    checked = f"import saliency_tubes\nassert {str(extended)!r} in saliency_tubes.__file__\n{code}"
    env = {**os.environ, "PYTHONPATH": str(extended)}
    command = [sys.executable, "-c", checked, *words]
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def run(words: list[str], extended: Path, folder: Path) -> str:
    """What the guide's command prints to stderr, with a small model."""
    assert words[0] == "saliency-tubes"
    place = words.index("--frames") + 1
    words = [*words[1:place], "8", *words[place + 1 :], "--model", str(extended / "small.onnx"), "--precision", "f32"]
    code = "import sys\nfrom saliency_tubes.stream.app import cli\nsys.exit(cli.main())"
    return python(code, extended, folder, *words).stderr


def test_a_source(extended: Path, tmp_path: Path) -> None:
    said = run(guide("A source").command, extended, tmp_path)
    assert "input    noise://40, 320x240, 25.00 fps" in said
    assert re.search(r"^done     \d+ frames in", said, re.MULTILINE)
    film = cv2.VideoCapture(str(tmp_path / "noise.mp4"))
    count = 0
    while film.read()[0]:
        count += 1
    assert count > 20


def test_a_sink(extended: Path, tmp_path: Path) -> None:
    run(guide("A sink").command, extended, tmp_path)
    lines = [line.split() for line in (tmp_path / "classes.txt").read_text().splitlines()]
    assert lines
    assert all(int(count) >= 1 and label in "abc" for count, label in lines)


def test_a_runtime(extended: Path, tmp_path: Path) -> None:
    said = run(guide("A runtime").command, extended, tmp_path)
    assert f"OpenCV {cv2.__version__} on CPU, f32" in said


def test_the_runtime_computes_what_the_others_do(extended: Path) -> None:
    code = """if True:
        import numpy as np
        from saliency_tubes import open_runner
        clip = np.random.default_rng(0).normal(size=(1, 3, 8, 64, 96)).astype(np.float32)
        (ours,), (theirs,) = (open_runner("small.onnx", runtime=name).infer(clip) for name in ("cv2", "openvino"))
        np.testing.assert_allclose(ours.logits, theirs.logits, atol=1e-4)
        np.testing.assert_allclose(ours.activation, theirs.activation, atol=1e-4)
        print(np.abs(ours.activation).max())
    """
    assert float(python(code, extended, extended).stdout) > 0.1


def test_a_colour_map(extended: Path, tmp_path: Path) -> None:
    run(guide("A colour map").command, extended, tmp_path)
    assert (tmp_path / "noise.mkv").stat().st_size > 10_000
    code = "from saliency_tubes.engine.draw.style import colors; print(colors('ember').round().tolist())"
    shades = np.array(json.loads(python(code, extended, tmp_path).stdout))
    assert shades.shape == (256, 3)
    assert (shades[0].tolist(), shades[255].tolist()) == ([0, 0, 0], [255, 230, 160])
    assert np.all(np.diff(shades[:, 0]) >= 0)


def test_a_network_is_one_file_and_one_command() -> None:
    """`test_export_command.TestReadme` runs it."""
    text = PAGE.read_text(encoding="utf-8").split("\n## A network\n")[1].split("\n## ")[0]
    (command,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")
