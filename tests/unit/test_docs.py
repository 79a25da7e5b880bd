"""docs/*.md and README.md against the code: what a page names must be there, and what there is must be on the page."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from itertools import product, takewhile
from pathlib import Path

import pytest
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.app.arguments import config_of, given_options, known_options, parse_run
from saliency_tubes.stream.app.cli import _parsers
from saliency_tubes.stream.app.default_outputs import with_outputs
from saliency_tubes.stream.sinks.condition import STATES
from saliency_tubes.stream.sinks.open import _BY_SCHEME
from saliency_tubes.stream.sources.base import NETWORK
from saliency_tubes.stream.sources.open import _BY_SCHEME as SOURCES
from saliency_tubes.stream.sources.pattern import LARGEST, MOST_FRAMES, RATES, SMALLEST

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
ROOMS = ("stream", "engine", "export")
LIVE, TROUBLE = ROOT / "docs" / "live.md", ROOT / "docs" / "troubleshooting.md"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
WIDTH = 120


def section(title: str, page: Path = LIVE) -> str:
    """What stands under a heading of level two."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page.name} has no section {title!r}"
    return found[1]


def first_cells(text: str) -> list[str]:
    """Of tables: each word in backquotes in a row's first cell."""
    cells: list[str] = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


@cache
def trees() -> tuple[tuple[Path, ast.Module], ...]:
    return tuple((path, ast.parse(path.read_text())) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))


def calls(name: str) -> Iterator[tuple[Path, ast.Call]]:
    """Of a function or method of that name, wherever it is called."""
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and name == getattr(node.func, "attr", getattr(node.func, "id", "")):
                yield path, node


def first_words(name: str, *files: str) -> set[str]:
    """The texts that a function is given as its first argument. files: where, if not everywhere."""
    return {
        text.value
        for path, call in calls(name)
        if (not files or path.name in files) and call.args
        for text in _chosen(call.args[0])
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
    }


def _chosen(value: ast.expr) -> Iterator[ast.expr]:
    """What an expression may be: of a choice, either."""
    if isinstance(value, ast.IfExp):
        yield from _chosen(value.body)
        yield from _chosen(value.orelse)
    else:
        yield value


# messages


@cache
def messages() -> tuple[str, ...]:
    """Every text in the code but docstrings, with a NUL where something is put in that is no text of its own."""
    found: list[str] = []
    for _, tree in trees():
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [text for node in ast.walk(tree) if id(node) not in docs for text in _texts(node)]
    return tuple(found)


def _texts(node: ast.AST) -> list[str]:
    """What a text in the code may read."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return [node.value if isinstance(node.value, str) else node.value.decode(errors="replace")]
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in product(*(_texts(part) or ["\0"] for part in node.values))]
    if isinstance(node, ast.FormattedValue):
        return _texts(node.value) if isinstance(node.value, ast.IfExp) else []
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    return []


def is_said(quoted: str) -> bool:
    """Whether the code has a message like this. `...` stands for whatever is put in there, or left out."""
    pieces = [re.escape(piece) for piece in quoted.split("...")]
    pattern = re.compile(".*".join(pieces), re.DOTALL)
    return any(pattern.search(text) for text in messages())


def quotes(page: Path) -> list[str]:
    """What a page quotes: all between double quotes, but in code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r'"([^"]+)"', text)


def test_what_the_page_of_troubles_quotes_is_said_by_the_code() -> None:
    found = quotes(TROUBLE)
    assert len(found) > 40
    assert [quoted for quoted in found if not is_said(quoted)] == []


@pytest.mark.parametrize(
    ("quoted", "said"),
    [
        ("no answer within ... s", True),
        ("no answer within ... minutes", False),
        ("the camera is sulking", False),
        ("What was chosen at the start", False),  # stands in a docstring alone
    ],
)
def test_a_message_that_does_not_exist_is_found_out(quoted: str, said: bool) -> None:
    assert is_said(quoted) is said


# tables of docs/live.md


def test_every_input_has_a_row() -> None:
    named = {word.partition("://")[0] for word in first_cells(section("Inputs")) if "://" in word}
    assert named == NETWORK | {"file", "v4l2", "csi", "gst", *SOURCES}


def test_every_output_has_a_row() -> None:
    named = {word.partition("://")[0] for word in first_cells(section("Outputs")) if "://" in word}
    assert named == {*_BY_SCHEME, "null"}


def test_the_bounds_of_the_pattern() -> None:
    text = section("Inputs")
    for said in ("{}x{}".format(*SMALLEST), "{}x{}".format(*LARGEST), f"{float(RATES[0]):g} to {int(RATES[1])}",
                 f"{MOST_FRAMES:,}"):  # fmt: skip
        assert said in text


def test_every_flag_that_is_named_exists() -> None:
    elsewhere = {"--help", "--config", "--camera", "--serve", "--no-serve", "--port"}
    elsewhere |= {"--minutes", "--hours", "--speed", "--cut-every"}
    """of other commands and of scripts"""
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", LIVE.read_text()))
    assert named - elsewhere - {f"--{name}" for name in known_options()} == set()


def test_the_page_of_options_is_linked() -> None:
    assert "(options.md)" in LIVE.read_text()


def test_every_state_of_an_output_is_explained() -> None:
    assert first_cells(section("States").split("### Of an output")[1]) == list(STATES)


def test_every_event_of_the_log_is_explained() -> None:
    said = first_words("say") | first_words("LogEntry", "monitor.py") | first_words("_say", "report.py")
    assert {"input", "done", "tube", "deleted"} < said
    assert set(first_cells(section("Logs"))) == said


def test_every_reason_for_a_loss_is_explained() -> None:
    reasons = {*first_words("_drop"), *first_words("_lose", "gst_rtsp.py"), "disk full", "retrying"}
    reasons |= {"too late", "queue full", "newer window"}
    assert {"slow client", "not delivered"} < reasons
    told = re.findall(r"^\| `[^|]*` \| (`.*?`) \|", section("What is dropped"), re.MULTILINE)
    assert {word for cell in told for word in re.findall(r"`([^`]+)`", cell)} == reasons


# pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        place, _, anchor = target.partition("#")
        if "://" in target:
            continue
        other = page.parent / place if place else page
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other), target


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [LIVE, TROUBLE], ids=lambda page: page.name)
def test_lines_can_be_read(page: Path) -> None:
    """Rows of tables cannot be broken."""
    long = [line for line in page.read_text().splitlines() if len(line) > WIDTH and not line.startswith("|")]
    assert long == []


def test_the_pages_are_found_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert "(docs/live.md)" in text
    assert "(docs/troubleshooting.md)" in text
    for page in ("performance", "gpu", "jetson", "tensorrt"):
        assert f"(docs/{page}.md)" in text


# commands


MACHINES = tuple(ROOT / "docs" / f"{name}.md" for name in ("gpu", "jetson", "performance"))
SHELL = {"|", "&&", ";", ">", "2>", "<", "&", "||"}
"""words that end a command"""


def commands_in(page: Path) -> list[list[str]]:
    """The words of each `saliency-tubes` command in a page's blocks of code, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text().replace("\\\n", " "), re.DOTALL)
    lines = [line.partition(" #")[0] for block in blocks for line in block.splitlines()]
    found = [re.search(r"(?<![\w'\[-])saliency-tubes (\w.*)", line) for line in lines]
    commands = [shlex.split(match[1]) for match in found if match]
    return [list(takewhile(lambda word: word not in SHELL, words)) for words in commands]


def named_in(page: Path) -> list[list[str]]:
    """The words of each command that a page's sentences name, which may be a part of one."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return [shlex.split(words) for words in re.findall(r"`saliency-tubes (\w[^`]*)`", text)]


def read(words: list[str]) -> None:
    """By the program's own parser, and a run's options by its own checks. Raises SystemExit or UsageError."""
    parser, run = _parsers(words)
    if words[0] != "run":
        parser.parse_args(words)
        return
    args = parse_run(run, words[1:])
    if args.config is None:
        with_outputs(config_of(args.input, args.outputs, given_options(args)))


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page.name != "extend.md"],  # which runs what its reader adds
    ids=lambda page: page.name,
)
def test_commands_are_understood_as_typed(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed, named = commands_in(page), named_in(page)
    assert typed or page not in MACHINES
    wrong = []
    for words in (*typed, *named):
        try:
            read(words)
        except (SystemExit, UsageError) as error:
            if getattr(error, "code", None) == 0:
                continue  # --help
            said = f"{error} {capsys.readouterr().err}"
            if words in typed or not any(lack in said for lack in ("arguments are required", "no input", "no output")):
                wrong.append((words, said))
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    ["cure", "build i3d --nowhere", "build i3d --batch some", "run a.mp4 b.mp4 --memory gpu", "run test://?frames=9"],
)
def test_a_command_that_is_wrong_is_found_out(line: str) -> None:
    with pytest.raises((SystemExit, UsageError)):
        read(line.split())


@pytest.mark.parametrize("page", MACHINES, ids=lambda page: page.name)
def test_extras_and_promises_exist(page: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    text = page.read_text()
    named = {name for many in re.findall(r"'(?:saliency-tubes|\.)\[([\w,-]+)\]'", text) for name in many.split(",")}
    assert named <= extras.keys()
    kinds = re.search(r"^KINDS = \((.*)\)$", (ROOT / "tests" / "promises.py").read_text(), re.MULTILINE)
    assert kinds is not None
    promised = {word for many in re.findall(r"SALIENCY_TUBES_GPU=([\w,]+)", text) for word in many.split(",")}
    assert promised <= set(re.findall(r"\w+", kinds[1]))
    for file in re.findall(r"(?:python|pytest) (tests/[\w/.]+)", text):
        assert (ROOT / file).exists(), file
