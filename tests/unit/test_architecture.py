"""docs/architecture.md against the code: the files, types and queues that it names, and its drawing."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
PAGE, DRAWING = ROOT / "docs" / "architecture.md", ROOT / "docs" / "architecture.svg"


def table(title: str) -> list[list[str]]:
    """The rows of the table under a heading, as cells, without its head."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_type_is_where_it_is_said_to_be() -> None:
    for name, file, _ in table("Types between rooms"):
        tree = ast.parse((ROOT / words(file)[0]).read_text(encoding="utf-8"))
        assert words(name)[0] in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}, name


def test_every_file_that_is_named_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")
    paths = [
        word for word in words(text) if re.fullmatch(r"[\w./-]+/[\w.-]+\.\w+|(?:stream|engine|export)/[\w/]+", word)
    ]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_queues_are_those_of_the_pipeline() -> None:
    """The metric `queue_depth` has them by these names."""
    named = {words(row[0])[0] for row in table("Threads and queues")}
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "stream" / "pipeline").glob("p*.py"))
    assert named == set(re.findall(r'"(\w+)": self\.\w+', code))


def test_the_drawing_has_both_colour_schemes_and_needs_nothing_else() -> None:
    drawing = DRAWING.read_text(encoding="utf-8")
    root = ElementTree.fromstring(drawing)
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    light, dark = (set(re.findall(r"--([\w-]+):", part)) for part in drawing.split("prefers-color-scheme: dark"))
    assert light == dark
    assert set(re.findall(r"var\(--([\w-]+)\)", drawing)) == light
    assert re.findall(r"(?:href|src|url)\s*[=(]\s*[\"']?(?!#)[^\"')\s]+", drawing) == []
