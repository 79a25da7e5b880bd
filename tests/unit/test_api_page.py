"""docs/api.md is what the docstrings say, its examples run, and nothing on it is of an unknown type."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import saliency_tubes
from saliency_tubes import Explainer, PipelineOptions, explain, open_runner, open_source

pytest.importorskip("griffe", reason="docs/api.md is made by griffe")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """docs/make_api.py as a module."""
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def examples(page: Path) -> list[str]:
    found: list[str] = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for text in found if "from torch" not in text]


def test_the_page_is_current(maker: ModuleType) -> None:
    assert PAGE.read_text() == maker.page(), "make reference writes it anew"


def test_no_signature_has_any(maker: ModuleType) -> None:
    wrong = [f"{name}: {one}" for name, one in written(maker) if re.search(r"\bAny\b", str(one))]
    assert wrong == []


def test_everything_in_a_signature_has_a_type(maker: ModuleType) -> None:
    package = maker.load()
    offered = set(saliency_tubes.__all__)
    for name in offered:
        item = package[name]
        members = maker.public_members(item, offered) if item.is_class else {name: item}
        for key, one in members.items():
            if one.is_function:
                named = [part for part in one.parameters if part.name not in ("self", "cls")]
                assert all(part.annotation is not None for part in named), f"{name}.{key}"
                assert one.returns is not None, f"{name}.{key}"


def test_functions_take_and_give_what_is_offered(maker: ModuleType) -> None:
    package, offered = maker.load(), set(saliency_tubes.__all__)
    for name in offered:
        if package[name].is_function:
            types = {one for annotation in maker.annotations(package[name]) for one in maker.names_in(annotation)}
            assert types <= offered, name


KEPT_BACK = {
    *("Manifest.input", "Manifest.windows", "Manifest.head", "Manifest.missed", "Manifest.window"),
    *(
        "Place.reserve",
        "Place.sampler",
        "Place.painter",
        "Pipeline.overlay",
        "Sink.attach",
        "Spread.of",
        "Spread.total",
    ),
}
"""members without _ that the page leaves out, because they take or give a type that is not offered"""


def test_what_is_left_out_was_meant_to_be(maker: ModuleType) -> None:
    package, offered = maker.load(), set(saliency_tubes.__all__)
    left_out = {
        f"{name}.{key}"
        for name in offered
        if package[name].is_class
        for key, member in package[name].all_members.items()
        if not key.startswith("_")
        and not {one for written in maker.annotations(member) for one in maker.names_in(written)} <= offered
    }
    assert left_out == KEPT_BACK


def written(maker: ModuleType) -> list[tuple[str, object]]:
    """Every annotation of what is offered, with where it is."""
    package, offered = maker.load(), set(saliency_tubes.__all__)
    made: list[tuple[str, object]] = []
    for name in sorted(offered):
        item = package[name]
        members = maker.public_members(item, offered) if item.is_class else {"": item}
        init = item.members.get("__init__") if item.is_class else None
        for key, one in {**members, **({"__init__": init} if init is not None else {})}.items():
            made += [(f"{name}.{key}", annotation) for annotation in maker.annotations(one)]
    assert len(made) > 200
    return made


@pytest.mark.slow
@pytest.mark.parametrize("page", [ROOT / "README.md", PAGE], ids=lambda page: page.name)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, each knowing the names of those before it, beside a film called clip.mp4."""
    monkeypatch.chdir(tmp_path)
    for _ in explain("test://?size=160x96&frames=90", "clip.mp4", hop=64, limit=90):
        pass
    frames = [shown.frame.rgb.copy() for shown in explain("clip.mp4", frames=16)]
    with Explainer(frames=16) as explainer:
        explanation = [made for made in map(explainer.push, frames[:20]) if made is not None][-1]
    source = open_source("clip.mp4")
    names: dict[str, object] = {
        **{name: getattr(saliency_tubes, name) for name in saliency_tubes.__all__},
        "frames": frames,
        "rgb": frames[0],
        "frame": np.ascontiguousarray(frames[0][..., ::-1]),
        "explainer": explainer,
        "explanation": explanation,
        "source": source,
        "sinks": [],
        "runner": open_runner(clip_length=16),
        "options": PipelineOptions(),
    }
    blocks = examples(page)
    assert len(blocks) >= 2
    for block in blocks:
        exec(compile(block, f"{page.name}: {block}", "exec"), names)
    source.close()
