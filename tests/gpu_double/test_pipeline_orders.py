"""However the work of a GPU is interleaved, streams on it give the same lines and pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
from saliency_tubes.engine.fit import fit
from saliency_tubes.engine.manifest import Manifest
from saliency_tubes.engine.picture import Color, Layout
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.pipeline.pipeline import Options
from saliency_tubes.stream.sinks.base import Sink
from saliency_tubes.stream.sources.open import open_source
from samebytes import HERE, Case, Digests, Way, exact_manifest, look_at, run

from gpu_double.pipelines import OnGpu

SMALL = "test://?size=160x96&rate=25&frames=24"
CASES = {
    "aligned": Case((SMALL,), Options(Target(0), hop=2)),
    "live": Case((SMALL,), Options(Target(0), sync="live", limit=24), takes=3),
    "live, the connection is lost": Case((SMALL,), Options(sync="live", limit=24), takes=2, loses=11),
    "eight streams": Case((SMALL,) * 8, Options(Target(0), hop=4)),
    "three streams": Case((SMALL,) * 3, Options(hop=3, stride=2), "letterbox"),
}
SEEDS = [0, *(pytest.param(seed, marks=[pytest.mark.slow] * (seed != 2)) for seed in range(1, 50))]
"""0: work is done as late as possible; 1: at once; others: at random moments, in random order"""


@lru_cache
def expected(name: str) -> tuple[Digests, ...]:
    return tuple(look_at(CASES[name]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_the_order_of_the_gpus_work_changes_nothing(name: str, seed: int, gpu_double: Callable[..., Any]) -> None:
    way = OnGpu(gpu_double(seed=seed))
    assert tuple(look_at(CASES[name], way=way)) == expected(name)
    way.close()


@pytest.mark.parametrize("kind", ["discrete", pytest.param("integrated", marks=pytest.mark.slow)])
@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 2, 8])  # 1: as "eight streams" above
def test_streams_share_a_model_in_batches_of_any_size(batch: int, kind: str, gpu_double: Callable[..., Any]) -> None:
    class Batched(OnGpu):
        def runner(self, manifest: Manifest, **named: Any) -> Any:
            return super().runner(manifest, batch=batch)

    way = Batched(gpu_double(kind=kind, seed=5))
    assert tuple(look_at(CASES["eight streams"], way=way)) == expected("eight streams")
    assert max(way.runners[0].sizes) <= batch
    way.close()


class Changing:
    """A camera whose pictures get another size, then other colours and a gap, then their first size again."""

    def __init__(self) -> None:
        self._inner = open_source("test://?size=160x96&rate=25&frames=40")
        self._frames = self._read()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def _read(self) -> Iterator[Frame]:
        for frame in self._inner:
            size = (224, 128) if 12 <= frame.index < 25 else (160, 96)
            image = fit(frame.image, size, Layout.I420, Color())
            yield replace(frame, image=image, gap=frame.index in (12, 20, 25), damaged=frame.index in (0, 1, 30))


class Following(Sink):
    """An output that takes every size. Keeps the sizes it was given."""

    follows_size = True

    def __init__(self) -> None:
        super().__init__("following")
        self.sizes: list[tuple[int, int]] = []

    def write(self, shown: Shown) -> None:
        self.sizes.append((shown.frame.image.width, shown.frame.image.height))


@pytest.mark.parametrize("seed", [0, 3])
def test_sizes_gaps_and_damaged_frames(seed: int, gpu_double: Callable[..., Any]) -> None:
    def outcome(way: Way) -> tuple[Digests, list[tuple[int, int]]]:
        sink = Following()
        runner = way.runner(exact_manifest("stretch"))
        return run(Changing(), runner, Options(Target(0), hop=2), [sink], way=way), sink.sizes  # type: ignore[arg-type]

    way = OnGpu(gpu_double(seed=seed))
    assert outcome(way) == outcome(HERE)
    way.close()
