"""A stream on a GPU whose look another thread changes while it runs, as SIGHUP does, gives the bytes of the host."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.manifest import Manifest
from saliency_tubes.engine.place import Place
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.pipeline.explainer import Look
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from samebytes import HERE, Case, Noting, Script, Way, look_at
from stubs import StubRunner

from gpu_double.pipelines import OnGpu

LOOKS = {
    8: Look(Target(0), Style("viridis", alpha=0.9)),
    14: Look(Target(2), Style(frame=True)),
    20: Look(Target(2), replace(Style(), geometry="paper")),
    26: Look(Target(0), Style(threshold=0.5), max_age=0.01),
}
"""frame after which a look is taken -> the look"""


class Restyling(Noting):
    """Changes the look once some frames are written, and before the next one comes."""

    pipeline: Pipeline | None = None

    def write(self, shown: Shown) -> None:
        look = LOOKS.get(shown.frame.index)
        if look is not None:
            thread = threading.Thread(target=setattr, args=(self.pipeline, "look", look))
            thread.start()
            thread.join()
        super().write(shown)


@dataclass
class Restyled(Way):
    """Another way, with looks that change."""

    inner: Way
    sink: Restyling | None = None

    def runner(self, manifest: Manifest, batch: int = 1, script: Script | None = None) -> StubRunner:
        return self.inner.runner(manifest, batch, script)

    def place(self) -> Place | None:
        return self.inner.place()

    def noting(self, script: Script) -> Noting:
        self.sink = Restyling(script)
        return self.sink

    def begun(self, pipeline: Pipeline) -> None:
        assert self.sink is not None
        self.sink.pipeline = pipeline

    def ended(self, pipeline: Pipeline, place: Place | None) -> None:
        self.inner.ended(pipeline, place)


CASE = Case(("test://?size=160x96&rate=25&frames=34",), Options(Target(0), sync="live", limit=34), takes=2)


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_a_look_that_changes_while_a_stream_runs(seed: int, gpu_double: Callable[..., Any]) -> None:
    plain, expected = look_at(CASE), look_at(CASE, way=Restyled(HERE))
    assert plain[0].pictures[:9] == expected[0].pictures[:9]
    assert plain[0].pictures[9:] != expected[0].pictures[9:]
    way = OnGpu(gpu_double(seed=seed))
    assert look_at(CASE, way=Restyled(way)) == expected
    way.close()
