"""What the wheel holds: the tests run from an editable install, where a file missing in the wheel is not missed.

And what an installation is without a C++ compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("stream", "engine", "export")
PAGE = ROOT / "stream" / "web" / "page"
"""what the page is built from; the wheel has what is built"""
METADATA = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE")
RUNTIME = {"av", "numpy", "opencv-python-headless", "openvino", "pillow", "tomli"}

LIMITED = sys.version_info >= (3, 11)
"""whether one compiled part serves all later versions of Python: setup.py says why"""
ALONE = "import sys; sys.meta_path = [f for f in sys.meta_path if getattr(f, '__name__', '') != '_EditableFinder']; "
"""an editable install would still find there what is missing here"""
INFO = "from saliency_tubes.stream.app.cli import main; sys.argv = ['saliency-tubes', 'info']; sys.exit(main())"
MODULE = "from saliency_tubes.engine import _overlay; print(_overlay.__file__, *_overlay.paths())"
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"


compiler = pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++ to compile with")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked.

    Made from a copy: setuptools would take what earlier builds left in the tree, removed files included.
    """
    folder = tmp_path_factory.mktemp("sources")
    copy = folder / "copy"
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in METADATA:
        shutil.copy(ROOT / name, copy)
    _build("build_sdist", copy, folder)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    return next((folder / "unpacked").iterdir())


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as made from the source distribution, so that both are whole."""
    return _wheel(sources, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _install(wheel, tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def plain(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as installed from source where no compiler works."""
    folder = tmp_path_factory.mktemp("plain")
    shutil.copytree(sources, folder / "source", ignore=shutil.ignore_patterns("build"))
    return _install(_wheel(folder / "source", folder, CC="false", CXX="false"), folder / "installed")


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(wheel.read(_information(wheel, "METADATA")).decode())


def test_every_file_of_every_room_is_in_it_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    paths = (path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file() and path.suffix != ".so")
    paths = (path for path in paths if not path.is_relative_to(PAGE))
    rooms = {f"saliency_tubes/{path.relative_to(ROOT).as_posix()}" for path in paths if "__pycache__" not in path.parts}
    rooms = {name.replace("/stream/api/", "/") for name in rooms}  # it is the package itself
    names = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.endswith(".so")}
    assert names == rooms
    # a GPU's kernels are compiled from them where they run
    assert {"overlay.cu", "arithmetic.h"} <= {Path(name).name for name in names}


@compiler
def test_the_compiled_part_is_in_it(wheel: zipfile.ZipFile) -> None:
    suffix = ".abi3.so" if LIMITED else sysconfig.get_config_var("EXT_SUFFIX")
    assert [name for name in wheel.namelist() if name.endswith(".so")] == [f"saliency_tubes/engine/_overlay{suffix}"]


def test_its_name_says_for_which_pythons_it_is(wheel: zipfile.ZipFile) -> None:
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tag = f"{'cp311-abi3' if LIMITED else 'cp310-cp310'}-{platform}"
    assert str(wheel.filename).endswith(f"-{tag}.whl")
    assert f"Tag: {tag}" in wheel.read(_information(wheel, "WHEEL")).decode().splitlines()


@compiler
def test_what_it_installs_is_compiled(installed: Path) -> None:
    file, *paths = _run(installed, MODULE).split()
    assert Path(file).is_relative_to(installed)
    assert paths[-1] == "generic"
    assert "overlay  C++" in _run(installed, INFO)


def test_without_a_compiler_it_installs_and_says_so(plain: Path) -> None:
    assert not list(plain.rglob("*.so"))
    said = _run(plain, INFO)
    assert "overlay  NumPy and OpenCV (installed without a C++ compiler: several times slower)" in said


@pytest.mark.parametrize("name", ["LICENSE", "NOTICE"])
def test_licences_are_in_it(wheel: zipfile.ZipFile, metadata: Message, name: str) -> None:
    assert wheel.read(_information(wheel, f"licenses/{name}")) == (ROOT / name).read_bytes()
    assert name in metadata.get_all("License-File", [])


def test_it_asks_for_the_runtime_only(metadata: Message) -> None:
    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert {line.split(";")[0].rstrip("0123456789.,<>=! ") for line in required} == RUNTIME


def test_it_brings_the_command(wheel: zipfile.ZipFile) -> None:
    entry_points = wheel.read(_information(wheel, "entry_points.txt")).decode()
    assert "saliency-tubes = saliency_tubes.stream.app.cli:main" in entry_points


def _build(hook: str, source: Path, folder: Path, **environment: str) -> None:
    command = [sys.executable, "-c", BUILD, hook, str(folder)]
    run = subprocess.run(command, cwd=source, env=os.environ | environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def _wheel(source: Path, folder: Path, **environment: str) -> zipfile.ZipFile:
    _build("build_wheel", source, folder, **environment)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def _install(wheel: zipfile.ZipFile, folder: Path) -> Path:
    """Unpacks it, which is all that pip would do but for the command."""
    wheel.extractall(folder)
    return folder


def _run(installed: Path, code: str) -> str:
    """What Python prints with that installation before all others."""
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", ALONE + code]
    run = subprocess.run(command, cwd=installed, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def _information(wheel: zipfile.ZipFile, name: str) -> str:
    return next(entry for entry in wheel.namelist() if entry.endswith(f".dist-info/{name}"))
