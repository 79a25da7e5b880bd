"""A stream whose frames live on a GPU gives the lines and the pictures that it gives on the host, to the byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from saliency_tubes.engine.draw.overlay import paths
from samebytes import CASES, Digests, look_at, saved

from gpu_double.pipelines import OnGpu

pytestmark = pytest.mark.skipif(paths() == ("numpy",), reason="the digests are of the compiled overlay")
QUICK = ("pattern, aligned", "pattern, live", "streams that share a model, no clips")


@pytest.fixture
def way(gpu_double: Callable[..., Any]) -> Iterator[OnGpu]:
    way = OnGpu(gpu_double())
    yield way
    way.close()


def same(found: list[Digests], kept: list[Digests]) -> None:
    for mine, theirs in zip(found, kept, strict=True):
        for kind in ("lines", "pictures", "captions"):
            assert getattr(mine, kind) == getattr(theirs, kind), kind


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES]
)
def test_a_run_on_the_gpu_gives_what_one_on_the_host_gives(
    name: str, way: OnGpu, request: pytest.FixtureRequest
) -> None:
    case = CASES[name]
    if case.needs_clips:
        request.getfixturevalue("clips")
    found = look_at(case, way=way)
    same(found, saved()[name])
    frames = sum(len(one.pictures) for one in found)
    assert (way.uploads, way.downloads) == (frames, frames)
