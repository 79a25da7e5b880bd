"""What the wheel holds: the tests run from an editable install, where a file missing in the wheel is not missed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("stream", "engine", "export")
METADATA = ("pyproject.toml", "README.md", "LICENSE", "NOTICE")
RUNTIME = {"av", "numpy", "opencv-python-headless", "openvino"}

BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as made from the source distribution, so that both are whole.

    Built from a copy: setuptools would take what earlier builds left in the tree, removed files included.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in METADATA:
        shutil.copy(ROOT / name, source)
    _build("build_sdist", source, folder)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    _build("build_wheel", next((folder / "unpacked").iterdir()), folder)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(wheel.read(_information(wheel, "METADATA")).decode())


def test_every_file_of_every_room_is_in_it_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    paths = (path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file())
    rooms = {f"saliency_tubes/{path.relative_to(ROOT).as_posix()}" for path in paths if "__pycache__" not in path.parts}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == rooms


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE"])
def test_licences_are_in_it(wheel: zipfile.ZipFile, metadata: Message, name: str) -> None:
    assert wheel.read(_information(wheel, f"licenses/{name}")) == (ROOT / name).read_bytes()
    assert name in metadata.get_all("License-File", [])


def test_it_asks_for_the_runtime_only(metadata: Message) -> None:
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.split(";")[0].rstrip("0123456789.,<>=! ") for line in required} == RUNTIME


def test_it_brings_the_command(wheel: zipfile.ZipFile) -> None:
    entry_points = wheel.read(_information(wheel, "entry_points.txt")).decode()
    assert "saliency-tubes = saliency_tubes.stream.cli:main" in entry_points


def _build(hook: str, source: Path, folder: Path) -> None:
    run = subprocess.run([sys.executable, "-c", BUILD, hook, str(folder)], cwd=source, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def _information(wheel: zipfile.ZipFile, name: str) -> str:
    return next(entry for entry in wheel.namelist() if entry.endswith(f".dist-info/{name}"))
