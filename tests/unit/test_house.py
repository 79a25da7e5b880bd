"""The house rules of the repository: who imports whom, what lies where, how long things get."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "saliency_tubes"
ROOMS = ("stream", "engine", "export")
API = "stream/api"
"""the folder of what `saliency_tubes` itself offers; it imports the rooms by their full names, and itself relatively"""
NOT_ROOMS = {"tests", "docker", "docs", "build", "dist", "demo"}

TOP_LEVEL = {
    *ROOMS,
    *("tests", "docker", "docs", ".ci", ".github", ".types", ".gitattributes", ".gitignore"),
    *("pyproject.toml", "setup.py", "constraints.txt", "Makefile"),
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "NOTICE"),
}

BASES = ("stream.sources.base", "stream.sinks.base")
LAYERS: dict[str, tuple[str, ...]] = {
    "engine": ("engine.runtimes.base", "engine.draw.style", "engine.draw.caption"),
    "engine.runtimes": ("engine", "engine.cuda"),
    "engine.draw": ("engine",),
    "engine.cuda": ("engine", "engine.draw", "engine.runtimes.device"),
    "stream.net": ("engine",),
    "stream.media": ("engine", "engine.cuda", "stream.net"),
    "stream.sources": ("engine", "stream.net", "stream.media"),
    "stream.sinks": (
        *("engine", "engine.draw", "stream.net", "stream.media", "stream.web"),
        "stream.telemetry.events",
    ),
    "stream.telemetry": (
        *("engine", "engine.draw", "engine.runtimes.base", "stream.net", *BASES),
        "stream.sinks.condition",
    ),
    "stream.pipeline": (
        *("engine", "engine.draw", "engine.runtimes.base", "stream.media", "stream.telemetry", *BASES),
        "stream.sinks.group",
    ),
    "stream.web": (
        *("engine", "engine.draw", "stream.net", "stream.media", "stream.telemetry"),
        "stream.sinks.stream_view",
    ),
    "stream.app": (
        *("engine", "engine.draw", "engine.runtimes", "stream.net", "stream.media", "stream.sources", "stream.sinks"),
        *("stream.telemetry", "stream.pipeline"),
    ),
    "stream.doctor": (
        *("engine", "engine.draw", "engine.cuda", "engine.runtimes", "stream.net", "stream.media", "stream.sources"),
        *("stream.sinks", "stream.app"),
    ),
    "stream.bench": (
        *("engine", "engine.draw", "engine.cuda", "engine.runtimes", "stream.media", "stream.sources", "stream.sinks"),
        *("stream.telemetry", "stream.pipeline", "stream.app", "stream.doctor"),
    ),
    "stream": (),
    "stream.api": (
        *("engine", "engine.draw", "engine.runtimes", "stream.media", "stream.sources", "stream.sinks"),
        *(
            "stream.net.address",
            "stream.net.secret",
            "stream.telemetry.events",
            "stream.telemetry.stats",
            "stream.telemetry.stopwatch",
            "stream.telemetry.summary",
            "stream.pipeline",
        ),
        *("stream.app.arguments", "stream.app.config", "stream.app.job", "stream.app.keywords"),
    ),
    "export": (
        *("engine", "engine.runtimes", "stream.media"),
        *("stream.sources.av_file", "stream.pipeline.window"),  # clips of video files, as a run cuts them
    ),
    "export.zoo": ("engine", "export"),
}
"""what each room may import beside itself: a room, or one module of it"""
FOR_ALL_OF_STREAM = "stream.telemetry.log"
"""says what happens, wherever it happens; of the project it imports only what hides passwords"""
OPENERS = {
    "stream.app.placing": ("engine.cuda",),
    "stream.app.cli": ("export", "stream.doctor", "stream.bench"),
    "export.cli": ("export.zoo",),
}
"""modules that import, inside a function and when they are asked to, what is not below them"""

NO_CLOCK = ("threading", "multiprocessing", "concurrent", "asyncio", "time")
"""not for the explainer: the same frames give the same output, however fast they came"""

ONLY_IN = {
    **dict.fromkeys(("torch", "torchvision", "onnx", "onnxscript"), ("export/*",)),
    **dict.fromkeys(NO_CLOCK, ("stream/*", "export/*")),
    **dict.fromkeys(("tensorrt", "tensorrt_rtx"), ("engine/runtimes/tensorrt*.py",)),
    "threading": (
        "stream/*",
        "export/*",
        "engine/cuda/combiner.py",
        "engine/cuda/driver.py",
        "engine/cuda/frames.py",
        "engine/cuda/once.py",
        "engine/cuda/outputs.py",
    ),  # locks: one GPU serves several threads
    "cuda": ("engine/cuda/driver.py", "engine/cuda/program.py"),
    "openvino": ("engine/runtimes/openvino*.py",),
    "onnxruntime": ("engine/runtimes/onnxruntime_session.py", "export/*"),
    "av": ("stream/*/av_*.py",),
    "PyNvVideoCodec": ("stream/*/nvc_*.py",),
    "gi": ("stream/*/gst_*.py",),
    "paho": ("stream/sinks/mqtt.py",),
    **dict.fromkeys(("starlette", "uvicorn"), ("stream/web/*",)),
}
"""which files may import what"""

LIMITS = {**dict.fromkeys(ROOMS, (350, 50, 250)), "tests": (800, 120, 500)}
"""Maximum lines of a file, of a function and of a class. Complexity is ruff's to count (C901 in pyproject.toml)."""
SAME_NAME = {
    "Pool": "how a network's head averages, and memory that is leased and returned",
    "Explainer": "what people call, and what does it in the pipeline",
    "Explanation": "what people get, and what flows",
    "Shown": "what people get, and what flows",
    "Pipeline": "what people call, and what does it",
}
"""Public classes whose name is there twice, and what the two are."""


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
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == "lazily" and len(node.args) == 2 and isinstance(node.args[1], ast.Constant):
                yield absolute(str(node.args[1].value).replace(":", "."), 1)
            elif called in ("import_module", "__import__") and isinstance(node.args[0], ast.Constant):
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
    top, *rest = item.module.split(".")
    if top in ROOMS:
        return f"is not importable here: use {PACKAGE}.{item.module}"
    if top == PACKAGE:
        return _between_rooms(item, ".".join(rest))
    if top in ONLY_IN and not any(fnmatchcase(item.file, pattern) for pattern in ONLY_IN[top]):
        return f"belongs in {' or '.join(ONLY_IN[top])} only"
    return None


def _between_rooms(item: Import, target: str) -> str | None:
    """target: a module, or a name in one, without the package."""
    module = item.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    room = ".".join(item.file.split("/")[:-1])
    if any(_within(target, one) for one in OPENERS.get(module, ())):
        return None if item.lazy else f"{target} is imported inside a function, when it is asked for"
    allowed = LAYERS.get(room, ())
    if room.startswith("stream"):
        allowed += (FOR_ALL_OF_STREAM,)
    there = _room_of(target)
    if there == room or there in allowed or any(_within(target, one) for one in allowed if one not in LAYERS):
        return None
    return f"{room} imports {', '.join(allowed)} only"


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def _room_of(name: str) -> str:
    """The innermost room that a name is in."""
    return max((room for room in LAYERS if _within(name, room)), key=len, default="")


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


def test_every_room_has_its_rule_and_says_what_it_holds() -> None:
    rooms = {".".join(path.relative_to(ROOT).parent.parts): path for path in python_files(*ROOMS)
             if path.name == "__init__.py"}  # fmt: skip
    assert rooms.keys() == LAYERS.keys()
    assert [room for room, path in rooms.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))] == []


def test_the_documentation_has_the_rooms() -> None:
    text = (
        (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("\n## The rooms\n")[1].split("\n## ")[0]
    )
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| `")]
    told = {room.strip(" `"): set(re.findall(r"`([^`]+)`", imports)) for room, _, imports in rows}
    wrong = [f"| `{room}` | ... | {', '.join(f'`{name}`' for name in allowed)} |"
             for room, allowed in LAYERS.items() if told.get(room) != set(allowed)]  # fmt: skip
    assert not wrong, "docs/architecture.md, The rooms, should have\n" + "\n".join(wrong)
    assert told.keys() == LAYERS.keys()


def test_no_module_imports_itself_through_others() -> None:
    """Lazy imports and those for type checkers included."""
    graph = import_graph({name_of(path): path.read_text(encoding="utf-8") for path in python_files(*ROOMS)})
    assert len(graph) > 150
    assert circles(graph) == []


def test_a_circle_is_found() -> None:
    files = {
        "engine/a.py": "from .b import x",
        "engine/b.py": "def f():\n    from . import c",
        "engine/c.py": "if TYPE_CHECKING:\n    from .a import y",
        "engine/d.py": "from . import a",
        "engine/e.py": "TABLE = {'f': lazily(__package__, 'f:F')}",
        "engine/f.py": "from .e import TABLE",
    }
    assert circles(import_graph(files)) == [["engine.a", "engine.b", "engine.c"], ["engine.e", "engine.f"]]


def import_graph(files: Mapping[str, str]) -> dict[str, set[str]]:
    """Which modules each module imports, of those given. files: source by name."""
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): name for name in files}
    graph: dict[str, set[str]] = {}
    for module, name in modules.items():
        named = {item.module.removeprefix(f"{PACKAGE}.") for item in imports(name, files[name])}
        # `from .a import b` names a.b, which is a module or something in the module a
        found = {one if one in modules else one.rpartition(".")[0] for one in named}
        graph[module] = (found & modules.keys()) - {module}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The modules that reach themselves, grouped by whom else they reach and are reached by."""
    reached = {module: _reached(graph, module) for module in graph}
    groups = {tuple(sorted(other for other in reached[one] if one in reached[other])) for one in graph}
    return sorted(list(group) for group in groups if group)


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    left = list(graph[start])
    while left:
        module = left.pop()
        if module not in found:
            found.add(module)
            left += graph[module]
    return found


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("engine/a.py", "from ..stream.pipeline import pipeline"),
        ("engine/a.py", "from .. import export"),
        ("engine/a.py", "import saliency_tubes.stream.pipeline.window"),
        ("engine/a.py", "import engine.types"),
        ("engine/a.py", "import torch.nn"),
        ("engine/a.py", "def f():\n    import time"),
        ("engine/a.py", "from .draw import overlay"),
        ("engine/runtimes/base.py", "import tensorrt"),
        ("engine/runtimes/a.py", "from ..draw.style import Style"),
        ("engine/draw/a.py", "from ..cuda import jobs"),
        ("engine/cuda/a.py", "from ..runtimes.open import open_runner"),
        ("engine/a.py", "import importlib\nimportlib.import_module('tensorrt')"),
        ("engine/a.py", "def f():\n    import_module('..stream.app', __package__)"),
        ("stream/net/a.py", "from ..media.info import VideoInfo"),
        ("stream/sources/a.py", "from ..sinks.base import Sink"),
        ("stream/sinks/a.py", "from ..sources.feed import FeedError"),
        ("stream/telemetry/a.py", "from ..sinks.mqtt import MqttSink"),
        ("stream/pipeline/a.py", "from ..sources.live import LiveSource"),
        ("stream/pipeline/a.py", "from ..app.job import Config"),
        ("stream/app/a.py", "def f():\n    from ...export import tap"),
        ("stream/app/a.py", "from saliency_tubes import explain"),
        ("stream/pipeline/a.py", "from ..api.run import explain"),
        ("stream/api/a.py", "from saliency_tubes.run import explain"),
        ("stream/api/a.py", "from saliency_tubes.stream.net.redact import redact"),
        ("stream/app/cli.py", "from ...export import tap"),
        ("stream/app/cli.py", "import onnx"),
        ("stream/pipeline/pipeline.py", "import av"),
        ("stream/sinks/av_file.py", "import gi"),
        ("stream/pipeline/pipeline.py", "def f():\n    from av.video import frame"),
        ("export/a.py", "from ..stream.pipeline import pipeline"),
        ("export/a.py", "from ..engine.draw import overlay"),
        ("export/a.py", "import tensorrt"),
    ],
)
def test_a_wrong_import_is_found(file: str, source: str) -> None:
    assert len(complaints(file, source)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("engine/a.py", "from .types import Frame\nfrom . import picture\nimport numpy"),
        ("engine/saliency.py", "from .runtimes.base import Runner"),
        ("engine/draw/a.py", "from ..types import Frame\nfrom .style import Style"),
        ("stream/app/placing.py", "def f():\n    from ...engine.cuda.place import CudaPlace"),
        ("engine/runtimes/tensorrt.py", "import tensorrt"),
        ("stream/app/cli.py", "def f():\n    from ...export import tap"),
        ("stream/media/a.py", "from ..telemetry.log import say"),
        (
            "stream/pipeline/pipeline.py",
            "import threading\nfrom ...engine.saliency import tube\nfrom ..sinks.base import Sink",
        ),
        ("stream/sources/av_file.py", "import av"),
        ("stream/api/a.py", "from saliency_tubes.engine.types import Frame\nfrom .run import explain"),
        ("export/a.py", "from ..stream.sources.av_file import AvSource\nfrom ..stream.pipeline.window import Window"),
        ("export/onnx.py", "import onnx, torch\nfrom ..engine.types import Frame\nfrom ..engine.runtimes import open"),
    ],
)
def test_a_right_import_passes(file: str, source: str) -> None:
    assert complaints(file, source) == []


def test_packages_listed_are_packages_on_disk() -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name not in NOT_ROOMS and path.name[0] != "."]
    on_disk = {name_of(path.parent) for folder in folders for path in folder.rglob("*.py")}
    expected = [PACKAGE if name == API else f"{PACKAGE}.{name.replace('/', '.')}" for name in on_disk]
    assert sorted(setuptools["packages"]) == sorted(expected)
    assert setuptools["package-dir"] == {PACKAGE: API, **{f"{PACKAGE}.{room}": room for room in ROOMS}}


def test_type_checkers_see_every_room() -> None:
    links = sorted((ROOT / ".types" / PACKAGE).iterdir())
    api = [path for path in (ROOT / API).iterdir() if path.is_file()]
    assert {link.name: link.resolve() for link in links} == {
        **{room: ROOT / room for room in ROOMS},
        **{path.name: path for path in api},
    }


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_refuses_its_bare_name(room: str) -> None:
    run = run_python(f"import {room}", cwd=ROOT)
    assert run.returncode != 0
    assert f"ImportError: import {PACKAGE}.{room}, not {room}" in run.stderr


def test_the_api_has_one_name(tmp_path: Path) -> None:
    run = run_python(f"import {PACKAGE}.stream.api", cwd=tmp_path)
    assert run.returncode != 0
    assert f"ImportError: import {PACKAGE}, not {PACKAGE}.stream.api" in run.stderr


LOADED = """
import sys
try:
    {code}
except SystemExit as end:
    assert not end.code, end.code
heavy = "torch torchvision onnx onnxscript onnxruntime openvino tensorrt tensorrt_rtx av gi paho starlette".split()
print(*sorted(set(heavy) & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "code",
    [
        "import saliency_tubes",
        "import saliency_tubes.stream",
        "import saliency_tubes.stream.app.cli as cli; sys.argv = ['saliency-tubes', '--help']; cli.main()",
    ],
    ids=["api", "room", "help"],
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
    wrong = [f"{name}: {length} lines, {most} at most" for name, length, most in _lengths(folder) if length > most]
    assert not wrong, "\n".join(wrong)


def test_no_class_has_the_name_of_another() -> None:
    files: dict[str, list[str]] = {}
    for path in python_files(*ROOMS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files.setdefault(node.name, []).append(name_of(path))
    twice = {name: found for name, found in files.items() if len(found) > 1}
    assert {name: found for name, found in twice.items() if name not in SAME_NAME} == {}
    assert SAME_NAME.keys() - twice.keys() == set()


def _lengths(folder: str) -> Iterator[tuple[str, int, int]]:
    """Files, functions and classes: name, lines, and the most there may be."""
    most_file, most_function, most_class = LIMITS[folder]
    for path in python_files(folder):
        source = path.read_text(encoding="utf-8")
        yield name_of(path), len(source.splitlines()), most_file
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                most = most_class if isinstance(node, ast.ClassDef) else most_function
                yield f"{name_of(path)}: {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1, most


def test_no_test_asserts_that_something_is_quick() -> None:
    """A busy machine would fail it. What bounds a test that hangs has a name: waiting.ends, waiting.wait_for."""
    files = [path for path in python_files("tests") if path.parent.name != "bench"]
    wrong = [line for path in files for line in quick_asserts(name_of(path), path.read_text(encoding="utf-8"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "source",
    [
        "assert time.monotonic() - start < 2",
        "assert 0.2 <= time.perf_counter() - start <= 3.5",
        "assert 2 > time.monotonic() - start",
        "assert ok and (time.time() - start) / count < 200e-6",
    ],
)
def test_an_assert_of_speed_is_found(source: str) -> None:
    assert len(quick_asserts("a.py", source)) == 1


@pytest.mark.parametrize(
    "source",
    ["assert time.monotonic() - start > 0.2", "assert time.monotonic() < deadline", "assert took < 2 * LONG"],
)
def test_other_asserts_of_time_pass(source: str) -> None:
    assert quick_asserts("a.py", source) == []


def quick_asserts(file: str, source: str) -> list[str]:
    """Asserts that a time read from a clock is less than a number."""
    nodes = [node for one in ast.walk(ast.parse(source)) if isinstance(one, ast.Assert) for node in ast.walk(one)]
    found = {node.lineno for node in nodes if isinstance(node, ast.Compare) if _is_quick(node)}
    return [f"{file}:{line}: asserts that something is quick" for line in sorted(found)]


def _is_quick(node: ast.Compare) -> bool:
    sides = [node.left, *node.comparators]
    for (left, right), operator in zip(pairwise(sides), node.ops, strict=True):
        less, more = (right, left) if isinstance(operator, ast.Gt | ast.GtE) else (left, right)
        ordered = isinstance(operator, ast.Lt | ast.LtE | ast.Gt | ast.GtE)
        if ordered and _reads_clock(less) and not any(isinstance(part, ast.Name) for part in ast.walk(more)):
            return True
    return False


def _reads_clock(node: ast.AST) -> bool:
    calls = [ast.unparse(part.func) for part in ast.walk(node) if isinstance(part, ast.Call)]
    return any(call in ("time.monotonic", "time.perf_counter", "time.time") for call in calls)


FOREIGN = ("_KINETICS400_CATEGORIES", "_forward_hooks", "_actions", "_obj", "_exit", "_out_messages", "_repr_html_",
           "_repr_png_")  # fmt: skip
"""Names of other people's that tests look at, and those that notebooks ask for."""
PRIVATE_USES = 33
"""How often tests may look into what is private. It falls: whoever takes some away lowers it."""


def test_tests_look_at_what_is_public() -> None:
    files = {name_of(path): path.read_text(encoding="utf-8") for path in python_files("tests")}
    found = [line for name, source in files.items() for line in private_uses(name, source)]
    assert len(found) <= PRIVATE_USES, "\n".join(found)


def test_a_look_into_what_is_private_is_found() -> None:
    source = "x = sink._frames\nself._own = cls._own\nsuper()._begin()\nos._exit(1)\nmodule.__name__"
    assert private_uses("a.py", source) == ["a.py:1: sink._frames"]


def private_uses(file: str, source: str) -> list[str]:
    """Attributes with a leading underscore that are not of the object whose method it is."""
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__")
        if node.attr not in FOREIGN and ast.unparse(node.value) not in ("self", "cls", "super()")
    ]
    return [f"{file}:{node.lineno}: {ast.unparse(node)}" for node in found]


EXAMPLES = {"mynet.py", "mymodels.py", "path/to/file.py", "model.py"}
"""Names of files that users have."""


def test_files_that_are_named_are_there() -> None:
    """In comments, docstrings and messages of the code, and in CONTRIBUTING.md."""
    there = {f"/{name}" for name in tracked()}
    wrong = []
    for path in [*python_files(*ROOMS), ROOT / "CONTRIBUTING.md"]:
        named = set(named_files(path.read_text(encoding="utf-8"))) - EXAMPLES
        wrong += [
            f"{name_of(path)}: {name}" for name in sorted(named) if not any(one.endswith(f"/{name}") for one in there)
        ]
    assert wrong == []


def test_a_file_that_is_named_is_found() -> None:
    assert named_files("# as in stream/a.py, b.py and `docs/c.md`; *.py, x.pyi and d.python are none") == [
        "stream/a.py", "b.py", "docs/c.md"
    ]  # fmt: skip


def named_files(text: str) -> list[str]:
    return re.findall(r"(?<![\w./%{}*-])((?:[\w-]+/)*[\w-]+\.(?:py|md))\b", text)
