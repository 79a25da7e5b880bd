"""Frames that lie elsewhere than in the host's memory, through the place that knows them: a double of a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from saliency_tubes.engine.draw.host import HostPainter, HostPlace
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import U8, Color, Image, Layout, Picture
from saliency_tubes.engine.preprocess import sample
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Crop, Frame, HostSample, Sample
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sources.base import Source
from stubs import MemorySink, StubRunner, StubSource


@dataclass(frozen=True, eq=False)
class FarImage:
    """A picture that only FarPlace may look into."""

    kept: Picture
    where: str = "far"

    @property
    def width(self) -> int:
        return self.kept.width

    @property
    def height(self) -> int:
        return self.kept.height


@dataclass(frozen=True, eq=False)
class FarSample:
    kept: HostSample

    @property
    def size(self) -> tuple[int, int]:
        return self.kept.size

    @property
    def crop(self) -> Crop:
        return self.kept.crop

    @property
    def pixels(self) -> U8:
        return self.kept.pixels.copy()


class FarSampler:
    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec

    def put(self, frame: Frame) -> Sample:
        return FarSample(sample(replace(frame, image=inner(frame.image)), self._spec))


class FarPainter(HostPainter):
    def paint(self, image: Image, *rest: object, **more: object) -> None:
        super().paint(inner(image), *rest, **more)  # type: ignore[arg-type]


class FarPlace(HostPlace):
    def sampler(self, spec: InputSpec) -> FarSampler:  # type: ignore[override]
        return FarSampler(spec)

    def painter(self, style: Style) -> FarPainter:
        return FarPainter(Overlay(style))

    def fit(self, image: Image, size: tuple[int, int], layout: Layout, color: Color) -> Image:  # type: ignore[override]
        return FarImage(super().fit(inner(image), size, layout, color))

    def host(self, image: Image) -> Picture:
        if isinstance(image, Picture):
            return image
        self.host_copies += 1
        return inner(image).copy()


def inner(image: Image) -> Picture:
    assert isinstance(image, FarImage)
    return image.kept


class FarSource(StubSource):
    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            yield replace(frame, image=FarImage(frame.picture))


class FarSink(MemorySink):
    """Takes frames where they lie."""

    takes = frozenset({"far"})

    def write(self, shown) -> None:
        self.indices.append(shown.frame.index)
        self.pictures.append(tuple(plane.tobytes() for plane in inner(shown.frame.image).planes))


def run(source: Source, sinks: list[MemorySink], place: HostPlace, sync: str) -> int:
    options = Options(target=Target(0), hop=2, sync=sync)
    with Pipeline(source, StubRunner(), sinks, options, place=place) as pipeline:
        shown = sum(1 for _ in pipeline)
        copies = pipeline.snapshot().host_copies
    assert shown == len(sinks[0].indices)
    return copies


def test_a_stream_that_lives_elsewhere_gives_the_same_bytes() -> None:
    near, far, also = MemorySink(), FarSink(), FarSink()
    assert run(StubSource(), [near], HostPlace(), "aligned") == 0
    assert run(FarSource(), [far, also], FarPlace(), "aligned") == 0
    assert far.pictures == also.pictures == near.pictures
    assert far.lines == near.lines


def test_outputs_that_take_frames_from_the_host_share_one_copy() -> None:
    near, one, other, far = MemorySink(), MemorySink(), MemorySink(), FarSink()
    run(StubSource(), [near], HostPlace(), "aligned")
    assert run(FarSource(), [far, one, other], FarPlace(), "aligned") == 40
    assert one.pictures == other.pictures == far.pictures == near.pictures


def test_an_output_without_pictures_costs_no_copy() -> None:
    class Lines(MemorySink):
        takes_pictures = False

        def write(self, shown) -> None:
            self.indices.append(shown.frame.index)

    assert run(FarSource(), [Lines()], FarPlace(), "aligned") == 0


def test_what_the_host_cannot_reach_is_told() -> None:
    frame = next(iter(FarSource()))
    with pytest.raises(ValueError, match="an image on far is out of the host's reach"):
        _ = frame.picture
    with pytest.raises(ValueError, match="out of the host's reach"):
        HostPlace().host(frame.image)


def test_a_picture_is_its_own_image_on_the_host() -> None:
    frame, place = next(iter(StubSource())), HostPlace()
    assert place.host(frame.image) is frame.picture is frame.image
    picture = frame.picture
    assert place.fit(picture, (picture.width, picture.height), picture.layout, picture.color) is picture
    taken = place.sampler(StubRunner().manifest.input).put(frame)
    assert taken.pixels.shape == (*taken.size, 3)
    assert np.any(taken.pixels)
