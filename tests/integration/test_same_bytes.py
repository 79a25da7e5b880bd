"""Every JSON line and every picture is to the byte what it was when tests/same_bytes.json was made."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from saliency_tubes.engine.draw.overlay import paths
from samebytes import CASES, Case, Digests, look_at, saved

COMPILED = [path for path in paths() if path != "numpy"]
pytestmark = pytest.mark.skipif(
    not COMPILED, reason="the digests are of the compiled overlay; NumPy's is some levels off"
)
NAMES = {
    "lines": "line of JSON",
    "pictures": "picture, outside its caption,",
    "captions": "picture, where the caption is,",
}


def check(found: list[Digests], kept: list[Digests]) -> None:
    """Names the first item of each kind that is another one."""
    assert len(found) == len(kept)
    wrong = []
    for stream, (new, old) in enumerate(zip(found, kept, strict=True)):
        for kind in (field.name for field in fields(Digests)):
            ours, theirs = getattr(new, kind), getattr(old, kind)
            if ours != theirs:
                first = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]),
                             min(len(ours), len(theirs)))  # fmt: skip
                wrong.append(
                    f"stream {stream}: {NAMES[kind]} {first} is the first that differs; {len(ours)} of {len(theirs)}"
                )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("name", "case"), CASES.items(), ids=CASES)
def test_outputs_are_what_they_were(name: str, case: Case, request: pytest.FixtureRequest) -> None:
    if case.needs_clips:
        request.getfixturevalue("clips")
    check(look_at(case), saved()[name])


@pytest.mark.parametrize("path", COMPILED)
@pytest.mark.parametrize("name", ["pattern, aligned", "film, live", "clip, aligned, one class against another"])
def test_every_path_of_the_overlay_gives_the_same(name: str, path: str, request: pytest.FixtureRequest) -> None:
    if CASES[name].needs_clips:
        request.getfixturevalue("clips")
    check(look_at(CASES[name], path), saved()[name])


def test_every_saved_run_is_looked_at() -> None:
    assert saved().keys() == CASES.keys()


@pytest.mark.parametrize("kind", NAMES)
def test_one_item_that_differs_is_found(kind: str) -> None:
    kept = saved()["pattern, aligned"]
    items: Any = [*getattr(kept[0], kind)]
    items[5] = "00000000"
    changed = Digests(**{**vars(kept[0]), kind: items})
    with pytest.raises(AssertionError, match=f"stream 0: {NAMES[kind]} 5 is the first"):
        check([changed], kept)


def test_a_picture_too_few_is_found() -> None:
    (kept,) = saved()["film, live"]
    with pytest.raises(AssertionError, match="picture, outside its caption, 69 is the first"):
        check([Digests(kept.lines, kept.pictures[:-1], kept.captions)], [kept])


def test_pictures_as_png_are_the_pictures_shown(tmp_path: Path) -> None:
    """What is decoded from a file without loss is what the digests are of."""
    import cv2
    import numpy as np
    from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
    from saliency_tubes.stream.sinks.open import open_sink
    from saliency_tubes.stream.sources.open import open_source
    from stubs import StubRunner

    source = open_source("test://?size=160x120&frames=12")
    with Pipeline(source, StubRunner(), [open_sink(str(tmp_path / "%d.png"))], Options(hop=4)) as pipeline:
        shown = [one.rgb for one in pipeline]
    source.close()
    files = [cv2.imread(str(tmp_path / f"{index}.png"))[..., ::-1] for index in range(12)]
    assert np.array_equal(files, shown)
