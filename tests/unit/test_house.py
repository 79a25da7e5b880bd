"""The house rules of the repository: who imports whom, what lies where, how long things get."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "saliency_tubes"
ROOMS = ("stream", "engine", "export")
NOT_ROOMS = {"tests", "docker", "docs", "build", "dist", "demo"}

TOP_LEVEL = {
    *ROOMS,
    *("tests", "docker", "docs", ".ci", ".github", ".types", ".gitattributes", ".gitignore"),
    *("pyproject.toml", "setup.py", "constraints.txt", "Makefile"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "NOTICE"),
}

CONTRACT = {"types", "manifest", "errors", "picture", "onnxfile", "planfile", "preprocess"}
RUNNERS = {"runner", "openvino", "onnxruntime", "tensorrt", "device"}
EXPORT_MAY_USE = CONTRACT | RUNNERS
"""modules of engine: the contract, how a clip is made, the runners for the parity check, and which GPU is here"""

NO_CLOCK = ("threading", "multiprocessing", "concurrent", "asyncio", "time")
"""not for the explainer: the same frames give the same output, however fast they came"""

ONLY_IN = {
    **dict.fromkeys(("torch", "torchvision", "onnx", "onnxscript"), ("export/*",)),
    **dict.fromkeys(NO_CLOCK, ("stream/*", "export/*")),
    **dict.fromkeys(("tensorrt", "tensorrt_rtx"), ("engine/tensorrt.py", "export/tensorrt.py")),
    "cuda": ("engine/device.py", "engine/cuda_driver.py", "engine/cuda_program.py"),
    "openvino": ("engine/openvino*.py",),
    "onnxruntime": ("engine/onnxruntime.py", "export/*"),
    "av": ("stream/av_*.py",),
    "gi": ("stream/gst_*.py",),
    "aiohttp": ("stream/web_*.py",),
}
"""which files may import what"""

LIMITS = {**dict.fromkeys(ROOMS, (400, 60)), "tests": (800, 120)}
"""most lines in a file, and in a function"""


@dataclass(frozen=True)
class Import:
    file: str
    """relative to the root"""
    line: int
    module: str
    """absolute; for `from a import b` it is a.b, whether b is a module or not"""
    lazy: bool
    """inside a function: nothing is loaded until it is called"""


def imports(file: str, source: str) -> list[Import]:
    package = [PACKAGE, *Path(file).parent.parts]

    def absolute(module: str, level: int) -> str:
        return ".".join([*(package[: len(package) - level + 1] if level else []), *filter(None, [module])])

    def modules(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{absolute(node.module or '', node.level)}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                name = str(node.args[0].value)
                yield absolute(name.lstrip("."), len(name) - len(name.lstrip(".")))

    def walk(node: ast.AST, lazy: bool) -> Iterator[Import]:
        for module in modules(node):
            yield Import(file, getattr(node, "lineno", 0), module, lazy)
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, lazy)

    return list(walk(ast.parse(source), lazy=False))


def complaint(item: Import) -> str | None:
    """What is wrong with an import, or None."""
    room = item.file.split("/")[0]
    top, *rest = item.module.split(".")
    if top in ROOMS:
        return f"is not importable here: use {PACKAGE}.{item.module}"
    if top == PACKAGE:
        return _between_rooms(item, room, rest)
    if top in ONLY_IN and not any(fnmatchcase(item.file, pattern) for pattern in ONLY_IN[top]):
        return f"belongs in {' or '.join(ONLY_IN[top])} only"
    return None


def _between_rooms(item: Import, room: str, target: list[str]) -> str | None:
    if target[:1] == [room] or (room, target[:1]) == ("stream", ["engine"]):
        return None
    if room == "export" and target[:1] == ["engine"]:
        used = "".join(target[1:2])
        return None if used in EXPORT_MAY_USE else f"export uses engine's {', '.join(sorted(EXPORT_MAY_USE))} only"
    if fnmatchcase(item.file, "stream/cli*") and target[:1] == ["export"]:
        return None if item.lazy else "the command line loads export inside a function, when it is asked to"
    return f"{room} does not import {'.'.join(target[:1]) or PACKAGE}"


def complaints(file: str, source: str) -> list[str]:
    found = ((item, complaint(item)) for item in imports(file, source))
    return [f"{item.file}:{item.line}: {item.module}: {wrong}" for item, wrong in found if wrong]


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tracked() -> list[str]:
    """Files that git tracks or would add. Skips the test where there is no checkout to ask."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return [name for name in listed.split("\0") if name and os.path.lexists(ROOT / name)]


def run_python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    files = python_files(room)
    assert files
    wrong = [line for path in files for line in complaints(name_of(path), path.read_text(encoding="utf-8"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("engine/a.py", "from ..stream import window"),
        ("engine/a.py", "from .. import export"),
        ("engine/a.py", "import saliency_tubes.stream.window"),
        ("engine/a.py", "import engine.types"),
        ("engine/a.py", "import torch.nn"),
        ("engine/a.py", "def f():\n    import time"),
        ("engine/kernels/a.py", "from ...export import tap"),
        ("engine/runner.py", "import tensorrt"),
        ("engine/a.py", "import importlib\nimportlib.import_module('tensorrt')"),
        ("engine/a.py", "def f():\n    import_module('..stream.window', __package__)"),
        ("stream/a.py", "def f():\n    from ..export import tap"),
        ("stream/cli.py", "from ..export import tap"),
        ("stream/cli.py", "import onnx"),
        ("stream/pipeline.py", "import av"),
        ("stream/av_sink.py", "import gi"),
        ("stream/pipeline.py", "def f():\n    from av.video import frame"),
        ("export/a.py", "from ..stream import window"),
        ("export/a.py", "from ..engine.saliency import tube"),
        ("export/a.py", "from ..engine import overlay"),
        ("export/a.py", "import tensorrt"),
    ],
)
def test_a_wrong_import_is_found(file: str, source: str) -> None:
    assert len(complaints(file, source)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("engine/a.py", "from .types import Frame\nfrom . import picture\nimport numpy"),
        ("engine/kernels/a.py", "from ..types import Frame"),
        ("engine/tensorrt.py", "import tensorrt"),
        ("stream/cli.py", "def f():\n    from ..export import tap"),
        ("stream/pipeline.py", "import threading\nfrom ..engine.saliency import tube\nfrom ..engine import overlay"),
        ("stream/av_source.py", "import av"),
        ("export/onnx.py", "import onnx, torch\nfrom ..engine.types import Frame\nfrom ..engine import manifest"),
    ],
)
def test_a_right_import_passes(file: str, source: str) -> None:
    assert complaints(file, source) == []


def test_packages_listed_are_packages_on_disk() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name not in NOT_ROOMS and path.name[0] != "."]
    on_disk = {name_of(path.parent) for folder in folders for path in folder.rglob("*.py")}
    assert sorted(setuptools["packages"]) == sorted(f"{PACKAGE}.{name.replace('/', '.')}" for name in on_disk)
    assert setuptools["package-dir"] == {f"{PACKAGE}.{room}": room for room in ROOMS}


def test_type_checkers_see_every_room() -> None:
    links = sorted((ROOT / ".types" / PACKAGE).iterdir())
    assert [link.name for link in links] == sorted(ROOMS)
    assert [link.resolve() for link in links] == sorted(ROOT / room for room in ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_refuses_its_bare_name(room: str) -> None:
    run = run_python(f"import {room}", cwd=ROOT)
    assert run.returncode != 0
    assert f"ImportError: import {PACKAGE}.{room}, not {room}" in run.stderr


LOADED = """
import sys
try:
    {code}
except SystemExit as end:
    assert not end.code, end.code
heavy = "torch torchvision onnx onnxscript onnxruntime openvino tensorrt tensorrt_rtx av gi aiohttp".split()
print(*sorted(set(heavy) & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "code",
    [
        "import saliency_tubes.stream",
        "import saliency_tubes.stream.cli as cli; sys.argv = ['saliency-tubes', '--help']; cli.main()",
    ],
    ids=["room", "help"],
)
def test_starting_loads_nothing_heavy(code: str, tmp_path: Path) -> None:
    run = run_python(LOADED.format(code=code), cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stderr.strip() == ""


def test_top_level_holds_only_what_it_may() -> None:
    assert {name.split("/")[0] for name in tracked()} - TOP_LEVEL == set()


# Folders of somebody's machine, and the hosts of package registries and their mirrors: neither holds elsewhere.
LOCAL = r"(?<![\w.}/-])/(?:home|root|work|Users)/\w"
REGISTRY = r"\b(?:(?:pypi|pythonhosted)\.org|npmjs\.(?:com|org)|(?:deb|security)\.debian\.org|download\.pytorch\.org)\b"
UNWANTED = re.compile(f"{LOCAL}|{REGISTRY}")


def test_no_file_names_a_local_folder_or_a_registry() -> None:
    wrong = []
    for name in tracked():
        data = (ROOT / name).read_bytes() if (ROOT / name).is_file() else b""
        if b"\0" in data:
            continue
        for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
            if UNWANTED.search(line):
                wrong.append(f"{name}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", LIMITS)
def test_nothing_grows_too_long(folder: str) -> None:
    most_file, most_function = LIMITS[folder]
    lengths = {name: (length, most_file) for name, length in _files(folder)}
    lengths |= {name: (length, most_function) for name, length in _functions(folder)}
    wrong = [f"{name}: {length} lines, {most} at most" for name, (length, most) in lengths.items() if length > most]
    assert not wrong, "\n".join(wrong)


def _files(folder: str) -> Iterator[tuple[str, int]]:
    for path in python_files(folder):
        yield name_of(path), len(path.read_text(encoding="utf-8").splitlines())


def _functions(folder: str) -> Iterator[tuple[str, int]]:
    for path in python_files(folder):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name_of(path)}:{node.lineno}: {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1
