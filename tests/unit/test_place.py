"""Frames that lie elsewhere than in the host's memory, through the place that knows them: a double of a device."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
from saliency_tubes.engine.draw.host import HostPainter, HostPlace
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.errors import ModelError, TubesError
from saliency_tubes.engine.fit import fit
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import U8, Color, Image, Layout, Picture, on_host
from saliency_tubes.engine.place import Needs
from saliency_tubes.engine.preprocess import sample
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Crop, Frame, HostSample, Sample
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sources.base import Source
from stubs import MemorySink, Slowed, StubRunner, StubSource


@dataclass(frozen=True, eq=False)
class FarImage:
    """A picture that only FarPlace may look into."""

    kept: Picture
    where: str = "far"

    @property
    def stored(self) -> str:
        return self.layout.value

    @property
    def layout(self) -> Layout:
        return self.kept.layout

    @property
    def color(self) -> Color:
        return self.kept.color

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
    """It counts which of its images are held, and has room for as many as were asked for."""

    name = description = "far"

    def __init__(self) -> None:
        super().__init__()
        self.needs: Needs | None = None
        self.most_held = 0
        self.closed = False
        self._held: WeakSet[FarImage] = WeakSet()
        self._lock = threading.Lock()

    @property
    def leases(self) -> int:  # type: ignore[override]
        gc.collect()  # what a cycle holds would be let go at some time
        return len(self._held)

    def reserve(self, needs: Needs) -> str:
        self.needs = needs
        return f"{needs.pictures} pictures"

    def leased(self, picture: Picture) -> FarImage:
        with self._lock:
            image = FarImage(picture)
            self._held.add(image)
            self.most_held = max(self.most_held, len(self._held))
            return image

    def bring(self, image: Image, *, keep: bool = False) -> Image:
        if image.where == self.name:
            return image
        self.uploads += 1
        return self.leased(on_host(image).copy())

    def sampler(self, spec: InputSpec) -> FarSampler:  # type: ignore[override]
        return FarSampler(spec)

    def painter(self, style: Style) -> FarPainter:
        return FarPainter(Overlay(style))

    def fit(self, image: Image, size: tuple[int, int], layout: Layout, color: Color) -> Image:  # type: ignore[override]
        if isinstance(image, Picture):
            return super().fit(image, size, layout, color)
        made = super().fit(inner(image), size, layout, color)
        return image if made is inner(image) else self.leased(made)

    def host(self, image: Image) -> Picture:
        if isinstance(image, Picture):
            return image
        self.host_copies += 1
        return inner(image).copy()

    def close(self) -> None:
        self.closed = True


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
        super().write(replace(shown, frame=replace(shown.frame, image=inner(shown.frame.image))))


def run(
    source: Source, sinks: list[MemorySink], place: HostPlace, sync: str = "aligned", runner: StubRunner | None = None
) -> int:
    options = Options(target=Target(0), hop=2, sync=sync)
    with Pipeline(source, runner or StubRunner(), sinks, options, place=place) as pipeline:
        shown = sum(1 for _ in pipeline)
        told = pipeline.snapshot()
    assert (told.uploads, told.host_copies, told.copies) == (place.uploads, place.host_copies, place.copies)
    if isinstance(place, FarPlace):
        assert place.leases == 0
        assert place.needs is not None
        assert place.most_held <= place.needs.pictures
    assert shown == len(sinks[0].indices)
    return told.host_copies


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


@pytest.mark.parametrize("sync", ["aligned", "live"])
def test_frames_from_the_host_are_brought_once_and_let_go(sync: str) -> None:
    near, far, also, place = MemorySink(), FarSink(), FarSink(), FarPlace()
    run(StubSource(), [near], HostPlace(), "aligned")
    assert run(StubSource(), [far, also], place, sync) == 0
    assert place.uploads == 40
    assert sync == "live" or far.pictures == also.pictures == near.pictures


def test_frames_on_the_host_are_not_brought_anywhere() -> None:
    place = HostPlace()
    picture = next(iter(StubSource())).picture
    assert place.bring(picture) is picture
    with pytest.raises(ValueError, match="out of the host's reach"):
        place.bring(FarImage(picture))
    run(StubSource(), [MemorySink()], place)
    assert place.uploads == 0


@pytest.mark.parametrize(("extent", "hop"), [(8, 1), (8, 3), (8, 8), (15, 2), (15, 15), (8, 20)])
def test_aligned_frames_need_no_more_memory_than_is_asked_for(extent: int, hop: int) -> None:
    place, options = FarPlace(), Options(target=Target(0), hop=hop, stride=extent // 7)
    with Pipeline(StubSource(90), StubRunner(), [FarSink()], options, place=place) as pipeline:
        for _ in pipeline:
            time.sleep(0.001)  # so that all queues before it fill
    assert place.needs is not None
    assert extent <= place.most_held <= place.needs.pictures


class Damaged(StubSource):
    """Its first frames cannot be explained."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            yield replace(frame, damaged=frame.index < 60)


def test_damaged_frames_that_no_window_will_see_do_not_wait_for_one() -> None:
    near, far, place = MemorySink(), FarSink(), FarPlace()
    run(Damaged(100), [near], HostPlace())
    run(Damaged(100), [far], place)
    assert far.pictures == near.pictures
    assert far.indices == list(range(100))


class Failing(FarPlace):
    """Its work of one kind fails at the twentieth frame."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what, self._left = what, 20

    def __getattribute__(self, name: str) -> Any:
        if name == "_what" or name != self._what:
            return super().__getattribute__(name)
        self._left -= 1
        if self._left == 0:
            raise ModelError(f"the far place cannot {name}")
        return super().__getattribute__(name)


@pytest.mark.parametrize("what", ["bring", "host"])
@pytest.mark.parametrize("sync", ["aligned", "live"])
def test_nothing_is_held_after_an_error_in_the_place(what: str, sync: str) -> None:
    place, sinks = Failing(what), [MemorySink()]
    with pytest.raises(ModelError, match=f"the far place cannot {what}"):
        run(StubSource(), sinks, place, sync)
    assert sinks[0].closed
    assert place.leases == 0


@pytest.mark.parametrize("broken", ["source", "runner", "sink"])
@pytest.mark.parametrize("sync", ["aligned", "live"])
def test_nothing_is_held_after_an_error_elsewhere(broken: str, sync: str) -> None:
    at = {broken: 3}
    source = Slowed(StubSource(fail_at=at.get("source")), 1)  # so that live, too, the network is asked several times
    runner, sinks = StubRunner(fail_at=at.get("runner")), [FarSink(fail_at=at.get("sink"))]
    place = FarPlace()
    with pytest.raises((RuntimeError, TubesError), match=r"the (source|network|sink) failed"):
        run(source, sinks, place, sync, runner)  # type: ignore[arg-type]
    assert place.leases == 0


def test_a_run_that_is_left_early_holds_nothing() -> None:
    place = FarPlace()
    with Pipeline(StubSource(), StubRunner(), [FarSink()], Options(hop=2), place=place) as pipeline:
        next(iter(pipeline))
    assert place.leases == 0


def test_who_iterates_shares_the_copy_of_the_outputs() -> None:
    near, place = MemorySink(), FarPlace()
    with Pipeline(StubSource(), StubRunner(), [near], Options(hop=2), place=place) as pipeline:
        seen = [tuple(plane.tobytes() for plane in pipeline.on_host(shown).frame.picture.planes) for shown in pipeline]
    assert seen == near.pictures
    assert place.host_copies == 40


class Growing(StubSource):
    """Its pictures get another size, twice."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            if frame.index in (15, 30):
                frame = replace(frame, gap=True)
            size = (96, 64) if 15 <= frame.index < 30 else (64, 48)
            yield replace(frame, image=fit(frame.image, size, Layout.I420, Color()))


def test_another_size_is_fitted_where_the_frame_lies() -> None:
    near, far, also, place = MemorySink(), FarSink(), FarSink(), FarPlace()
    also.follows_size = True
    run(Growing(), [near], HostPlace())
    assert run(Growing(), [far, also], place) == 0
    assert far.pictures == near.pictures
    assert len(also.pictures[20][0]) == 96 * 64


def test_too_little_memory_is_refused_before_anything_begins() -> None:
    class Small(FarPlace):
        def reserve(self, needs: Needs) -> str:
            raise ModelError(f"no room for {needs.pictures} pictures")

    sink = MemorySink()
    with (
        pytest.raises(ModelError, match="no room for"),
        Pipeline(StubSource(), StubRunner(), [sink], Options(), place=Small()),
    ):
        pass
    assert not sink.opened


def test_the_place_is_told_what_decides_how_much_memory_is_needed() -> None:
    source, runner, place = StubSource(), StubRunner(), FarPlace()
    source.info = replace(source.info, stored="p010")
    runner.cells = (4, 4)
    with Pipeline(source, runner, [FarSink()], Options(hop=2), place=place) as pipeline:
        list(pipeline)
    assert place.needs is not None
    assert (place.needs.size, place.needs.layout, place.needs.stored) == ((64, 48), Layout.I420, "p010")
    assert place.needs.cells == (4, 4)
