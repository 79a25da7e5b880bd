"""Frames that a decoder lends. It has few buffers, and waits for them: streams that hold frames for long copy them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.place import Needs
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Frame
from saliency_tubes.stream.pipeline.options import Options
from saliency_tubes.stream.sources.base import Source
from saliency_tubes.stream.sources.open import open_source
from samebytes import HERE, exact_manifest, run

from gpu_double.pipelines import OnGpu

FRAMES = 60
PATTERN = f"test://?size=160x96&rate=50&frames={FRAMES}"
FEW, MANY = 4, 64
"""Buffers of a decoder: fewer than a window of eight frames holds, and as many as there are frames."""


class Lending:
    """A source whose pictures are a decoder's own, of which so many may be out at a time."""

    def __init__(self, source: Source, buffers: int) -> None:
        self._source, self.decoder = source, CudaPlace(Gpu.of(0))
        info = source.info
        self.decoder.reserve(Needs((info.width, info.height), info.layout, buffers, 1, exact_manifest("stretch").input))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            yield replace(frame, image=self.decoder.bring(frame.image))


class Counted(OnGpu):
    """Counts copies within the GPU, too."""

    copies = 0

    def ended(self, pipeline: Any, place: Any) -> None:
        super().ended(pipeline, place)
        self.copies += place.copies


@pytest.mark.parametrize(
    ("options", "buffers", "copies"),
    [
        (Options(Target(0), hop=4), FEW, FRAMES),
        (Options(Target(0), hop=4, sync="aligned", delay=0.2), FEW, FRAMES),
        (Options(Target(0), hop=4, sync="live"), MANY, 0),
    ],
    ids=["aligned", "delayed", "live"],
)
def test_only_streams_that_hold_frames_copy_what_a_decoder_lends(
    options: Options, buffers: int, copies: int, gpu_double: Callable[..., Any]
) -> None:
    way = Counted(gpu_double(seed=1))
    with_lent = Lending(open_source(PATTERN), buffers)
    found = run(with_lent, way.runner(exact_manifest("stretch")), options, [], None, way)
    assert (way.uploads, way.copies, with_lent.decoder.leases) == (0, copies, 0)
    if options.sync == "aligned" and not options.delay:
        assert found == run(open_source(PATTERN), HERE.runner(exact_manifest("stretch")), options, [], None, HERE)
    with_lent.decoder.close()
    way.close()
