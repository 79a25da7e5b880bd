"""Writes docs/api.md: what `saliency_tubes` offers, from its signatures and docstrings. Run by `make reference`.

Everything is read from source by griffe, which also reads the texts under fields; nothing of the package is run.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent

import griffe

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"
WIDTH = 110
"""characters of a signature on one line"""
SHORT = {"U8", "F32", "F64", "AddressLike"}
"""names for longer types in signatures, told in the introduction"""
OWN_PAGE = ("saliency_tubes.engine.errors.TubesError",)
"""base classes whose members are described once, at themselves"""
PLAIN = {
    "saliency_tubes.engine.types.Explanation": "PlainExplanation",
    "saliency_tubes.engine.types.Shown": "PlainShown",
}
"""types that are offered under other names than their own"""
NOTEBOOKS = ("_repr_png_", "_repr_html_")
"""what notebooks call"""

Item = griffe.Object | griffe.Alias

INTRODUCTION = """\
# saliency_tubes in Python

<!-- Made by `make reference` from the docstrings: change these, not this page. -->

This page lists the names that `saliency_tubes` offers; they are its `__all__`. For them, versions follow
[Semantic Versioning](https://semver.org/spec/v2.0.0.html). **Everything else is private**: a module, a name or an
attribute that is not on this page may change or vanish in any version. All that is offered is typed: `mypy --strict`
and pyright see no `Any`.

Pictures are arrays [H, W, 3] uint8 in RGB. Only `TubeAnnotator` takes BGR, as OpenCV and supervision use it. A size is
(width, height) in pixels, a shape is [H, W]. In signatures `U8`, `F32` and `F64` stand for arrays of NumPy's uint8,
float32 and float64, and `AddressLike` for a `str`, a `Path` or an `Address`. Times are in seconds, or whole numbers in
units of a `time_base`.

```python
from saliency_tubes import explain

for shown in explain("clip.mp4", "explained.mp4", limit=80):
    if shown.explanation:
        print(shown.frame.time, shown.explanation.label)
```

With a loop of your own, as around `cv2.VideoCapture`:

```python
import cv2
from saliency_tubes import Explainer, TubeAnnotator

camera = cv2.VideoCapture("clip.mp4")  # or 0
annotator = TubeAnnotator()
with Explainer(fps=25, frames=16) as explainer:
    for _ in range(40):
        read, frame = camera.read()
        explainer.push(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        scene = annotator.annotate(scene=frame.copy(), explanation=explainer.latest)
```

The evidence for one frame as an array, as other tools for class activation maps give it:

```python
explanation = explainer.latest
heatmap = explanation.heatmap()  # [H, W] float32, 0..1
tube = explanation.tube.evidence  # [t, h, w] float32, in logits
```
"""

SECTIONS = {
    "Explaining": ("explain", "RunOptions", "Shown", "Explainer", "Explanation", "TubeAnnotator"),
    "Looks": ("Style", "PRESETS", "Normalize"),
    "A pipeline from parts": (
        *(
            "Pipeline",
            "PipelineOptions",
            "Look",
            "Summary",
            "Sighting",
            "Snapshot",
            "Spread",
            "open_source",
            "SourceOptions",
            "Source",
            "SourceHealth",
        ),
        *(
            "open_runner",
            "Runner",
            "TensorRunner",
            "HostRunner",
            "Manifest",
            "open_sink",
            "SinkOptions",
            "Sink",
            "SinkHealth",
            "Event",
            "PlainShown",
            "PlainExplanation",
        ),
    ),
    "Types": (
        *(
            "Address",
            "Secret",
            "Login",
            "Frame",
            "Image",
            "Picture",
            "Place",
            "Layout",
            "Color",
            "WallTime",
            "VideoInfo",
            "ClassScore",
        ),
        *("Tube", "Span", "Crop", "Scale", "Target", "Clip", "Sample", "HostSample", "Outputs", "HostOutputs"),
    ),
    "Errors": ("TubesError", "UsageError", "ModelError", "SourceError", "SinkError"),
}
"""the page's order; every name that is offered is in one of them"""


@cache
def load() -> griffe.Module:
    """The package as its source says it is."""
    package = griffe.load("saliency_tubes", search_paths=[ROOT / ".types"], resolve_aliases=True)
    assert isinstance(package, griffe.Module)
    return package


def page() -> str:
    """The whole page. Raises SystemExit where a name that is offered has no place or no docstring."""
    package = load()
    offered = {str(name) for name in package.exports or ()}
    placed = [name for names in SECTIONS.values() for name in names]
    if sorted(placed) != sorted(offered):
        sys.exit(f"SECTIONS and saliency_tubes.__all__ differ in {sorted(offered ^ set(placed))}, or name one twice")
    parts: list[str] = [INTRODUCTION]
    for title, names in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        for name in names:
            parts += _described(name, package[name], offered)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).strip() + "\n"


def _described(name: str, item: Item, offered: set[str]) -> Iterator[str]:
    yield f"\n### {name}\n"
    if item.is_function:
        yield _code(name, item)
        yield _text(item, name)
        return
    yield _text(item, name)
    if item.is_class:
        yield from _members(name, item, offered)


def _members(name: str, item: Item, offered: set[str]) -> Iterator[str]:
    init = item.members.get("__init__")
    if init is not None and init.docstring is not None:
        yield _code(name, init)
        yield _text(init, f"{name}()")
    members = public_members(item, offered)
    yield from (_field(key, one) for key, one in members.items() if one.is_attribute)
    yield ""
    for key, one in members.items():
        if one.is_function:
            yield f"#### {name}.{key}\n"
            yield _code(key, one)
            yield _text(one, f"{name}.{key}")


def public_members(item: Item, offered: set[str]) -> dict[str, Item]:
    """What users may rely on of a class: not what begins with _, nor what takes or gives a type that is not offered.

    What a base class offers by itself is described there.
    """
    made = {}
    for key, member in item.all_members.items():
        hidden = key.startswith("_") and key not in NOTEBOOKS
        # a dataclass's fields have types; what has none is for this project's own use
        hidden = hidden or (member.is_attribute and member.annotation is None and "dataclass" in member.parent.labels)
        elsewhere = member.inherited and member.final_target.parent.canonical_path in OWN_PAGE
        types = {name for written in annotations(member) for name in names_in(written)}
        if not hidden and not elsewhere and not types - offered:
            made[key] = member
    return made


def annotations(item: Item) -> list[griffe.Expr]:
    """Of a function's arguments and of what it returns, or of an attribute."""
    if item.is_function:
        written = [parameter.annotation for parameter in item.parameters] + [item.returns]
    else:
        written = [item.annotation] if item.is_attribute else []
    return [one for one in written if isinstance(one, griffe.Expr)]


def names_in(annotation: griffe.Expr) -> set[str]:
    """The project's own types in an annotation, but for those in SHORT."""
    paths = {name.canonical_path for name in annotation.iterate(flat=True) if isinstance(name, griffe.ExprName)}
    names = {path.rpartition(".")[2] for path in paths if path.startswith("saliency_tubes.") and path.count(".") > 1}
    return {name for name in names if name[:1].isupper()} - SHORT


def _field(name: str, item: Item) -> str:
    written, about = name, "" if item.docstring is None else " ".join(item.docstring.value.split())
    if item.annotation is not None:
        written += f": {_plain(item.annotation)}"
    if "dataclass" in item.parent.labels and item.value is not None:
        default, meaning = _default(item.value)
        written, about = written + (f" = {default}" if default else ""), about or meaning
    return f"- `{written}`" + (f": {about}" if about else "")


def _default(value: str | griffe.Expr) -> tuple[str, str]:
    """A field's default, empty where it has none, and its meaning, where it is declared as an option."""
    if not isinstance(value, griffe.ExprCall) or str(value.function) not in ("option", "field"):
        return str(value), ""
    named = {one.name: one.value for one in value.arguments if isinstance(one, griffe.ExprKeyword)}
    if str(value.function) == "field":
        made = f"{named['default_factory']}()" if "default_factory" in named else ""
        return str(named.get("default", made)), ""
    default, meaning = value.arguments[:2]
    if isinstance(meaning, griffe.ExprName):  # an `Option` that several fields share
        meaning = meaning.resolved.value.arguments[0]
    return str(default), str(ast.literal_eval(str(meaning)))


def _text(item: Item, name: str) -> str:
    """The docstring as Markdown: what is indented is an example."""
    if item.docstring is None:
        sys.exit(f"{name} has no docstring")
    blocks = re.split(r"\n\n", item.docstring.value)
    made = [f"```python\n{dedent(block)}\n```" if block.startswith("    ") else block for block in blocks]
    return "\n\n".join(made) + "\n"


def _code(name: str, function: Item) -> str:
    """The signature as it would be written, without self, as a block that is no example."""
    words = []
    for parameter in function.parameters:
        if parameter.name in ("self", "cls"):
            continue
        kind = parameter.kind.value if parameter.kind is not None else ""
        if kind == "keyword-only" and not any(word.startswith("*") for word in words):
            words.append("*")
        stars = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        default = "" if parameter.default is None or stars else f" = {parameter.default}"
        words.append(f"{stars}{parameter.name}: {_plain(parameter.annotation)}{default}")
    returned = "" if function.returns is None or function.name == "__init__" else f" -> {_plain(function.returns)}"
    line = f"{name}({', '.join(words)}){returned}"
    if len(line) > WIDTH:
        line = "\n".join([f"{name}(", *(f"    {word}," for word in words), f"){returned}"])
    return f"```py\n{line}\n```\n"


def _plain(annotation: str | griffe.Expr | None) -> str:
    """Types by the names that they are offered under, without modules in front."""
    if isinstance(annotation, griffe.Expr):
        paths = {one.canonical_path for one in annotation.iterate(flat=True) if isinstance(one, griffe.ExprName)}
        for path in paths & PLAIN.keys():
            annotation = re.sub(rf"\b{path.rpartition('.')[2]}\b", PLAIN[path], str(annotation))
    return re.sub(r"\b[a-z_]+\.(?=[A-Z])", "", str(annotation))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
