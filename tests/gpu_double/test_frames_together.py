"""Frames of several streams, sampled and drawn on in one go: one launch for all, the bytes of the host, and what fails
with one frame is told to its stream alone."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
from pictures import make_picture
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.frames import FrameQueue
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.draw.caption import Caption
from saliency_tubes.engine.draw.host import HostPainter
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.errors import ModelError
from saliency_tubes.engine.fit import fit
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Layout
from saliency_tubes.engine.place import Needs
from saliency_tubes.engine.preprocess import sample
from saliency_tubes.engine.types import ClassScore, Crop, Explanation, Frame, Scale, Span, Tube
from together import SOON, at_once

STREAMS = 8
LAYOUTS = (Layout.NV12, Layout.I420, Layout.RGB)
STYLES = (Style(), Style("viridis", alpha=1.0, threshold=0.0), PRESETS["paper-pytorch"])
SIZES = ((60, 90), (48, 64), (33, 131))
SPECS = (
    InputSpec((24, 40), (0.0,) * 3, (1.0,) * 3, "stretch"),
    InputSpec((17, 31), (0.0,) * 3, (1.0,) * 3, "letterbox"),
)


def explanation(seed: int) -> Explanation:
    evidence = (np.random.default_rng(seed).normal(size=(4, 7, 7)) ** 3).astype(np.float32)
    scores = (ClassScore(0, f"class {seed}", 0.9, 1.0),)
    tube = Tube(
        evidence, Span(3, 32), Crop(0.1, 0, 0.9, 1), np.full(evidence.shape, 1 / evidence.size, np.float32), (0, 4)
    )
    return Explanation(0, scores, scores, tube, Scale(0.0, 2.0), (0, 8), Fraction(1, 25))


class Stream:
    """One stream's frames on the GPU, beside the same ones on the host."""

    def __init__(self, number: int) -> None:
        self.number, self.spec, style = number, SPECS[number % 2], STYLES[number % 3]
        self.place = CudaPlace(Gpu.of(0))
        height, width = SIZES[number // 2 % 3]
        self.place.reserve(Needs((width, height), LAYOUTS[number % 3], 4, 8, self.spec))
        self.sampler, self.painter = self.place.sampler(self.spec), self.place.painter(style)
        self.host, self.size = HostPainter(Overlay(style)), (height, width)
        self.explained = explanation(number)
        self.caption = Caption.of(self.explained, style) if number % 4 else None
        self.outline = self.explained.tube.crop if number % 2 else None

    def next(self, index: int) -> None:
        """Brings a frame to the GPU, and keeps another on the host."""
        self.index, self.seen = index, None
        self.picture = make_picture(LAYOUTS[self.number % 3], *self.size, 100 * self.number + index)
        self.frame = Frame(index, index, Fraction(1, 25), self.place.bring(self.picture))

    def put(self) -> Any:
        self.seen = self.sampler.put(self.frame)
        return self.seen.ready

    def paint(self, painter: Any = None, image: Any = None) -> Any:
        (painter or self.painter).paint(
            image or self.frame.image, ((self.explained, 1.0),), at=4.0 + self.index, opacity=0.9,
            outline=self.outline, caption=self.caption, pixel_aspect=1.0,
        )  # fmt: skip
        return self.frame.image.ready

    def check(self) -> None:
        """What the network sees, and what was drawn, are the host's."""
        expected = sample(Frame(0, 0, Fraction(1, 25), self.picture), self.spec).pixels
        assert np.array_equal(self.seen.pixels, expected)
        self.paint(self.host, self.picture)
        self.check_picture()

    def check_picture(self) -> None:
        found = self.place.host(self.frame.image)
        assert all(map(np.array_equal, found.planes, self.picture.planes)), (self.number, self.index)

    def close(self) -> None:
        self.frame = self.seen = None  # type: ignore[assignment]
        assert self.place.leases == 0
        self.painter.close()
        self.place.close()


@pytest.fixture
def opened(gpu_double: Callable[..., Any]) -> Iterator[Callable[[int], tuple[Any, list[Stream], FrameQueue]]]:
    streams: list[Stream] = []

    def start(seed: int) -> tuple[Any, list[Stream], FrameQueue]:
        double = gpu_double(seed=seed)
        streams[:] = [Stream(number) for number in range(STREAMS)]
        (frames,) = {stream.place.frames for stream in streams}
        for stream in streams:  # a first frame each: tables are uploaded, kernels compiled
            stream.next(0)
            stream.put()
            stream.paint()
            stream.check()
        return double, streams, frames

    yield start
    gc.collect()  # an error keeps the frames on its way
    while streams:
        streams.pop().close()


def launches(double: Any, before: dict[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in double.launches.items() if count > before.get(name, 0)}


@pytest.mark.parametrize(
    "seed", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_eight_streams_are_one_launch_of_each_kernel_and_the_bytes_are_the_hosts(opened: Any, seed: int) -> None:
    double, streams, frames = opened(seed)
    for index in range(1, 4):
        for stream in streams:
            stream.next(index)
        before = double.launches
        assert not any(at_once(frames, [stream.put for stream in streams])[0])
        assert launches(double, before) == {"preprocess": 1}
        before, events = double.launches, double.report["calls"]["cuEventRecord"]
        assert not any(at_once(frames, [stream.paint for stream in streams])[0])
        assert launches(double, before) == {"overlay_linear": 1, "overlay_cubic": 1, "marks": 1}
        splines = sum(stream.number % 3 == 2 for stream in streams)  # an event for each upload of coefficients
        assert double.report["calls"]["cuEventRecord"] - events == 1 + splines
        for stream in streams:
            stream.check()


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
def test_streams_that_race_give_the_same_bytes(opened: Any, seed: int) -> None:
    """Each in a thread of its own, as fast as it can: some are queued alone, some with others."""
    _, streams, _ = opened(seed)
    errors: list[BaseException] = []

    def run(stream: Stream) -> None:
        try:
            for index in range(1, 6):
                stream.next(index)
                stream.put()
                stream.paint()
                stream.check()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=partial(run, stream)) for stream in streams]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert not errors


@pytest.mark.parametrize("work", ["put", "paint"])
@pytest.mark.parametrize(
    ("function", "after", "times"),
    [
        pytest.param("cuStreamWaitEvent", 2, 1, id="one picture cannot be waited for"),
        pytest.param("cuLaunchKernel", 0, 2, id="the launch for all is refused, and then that of one"),
    ],
)
def test_what_fails_with_one_frame_is_told_to_its_stream_alone(
    opened: Any, work: str, function: str, after: int, times: int
) -> None:
    double, streams, frames = opened(1)
    for stream in streams:
        stream.next(1)
        if work == "paint":
            stream.put()
    double.fail(function, 700, after=after, times=times)
    errors, _ = at_once(frames, [getattr(stream, work) for stream in streams])
    told = [error for error in errors if error is not None]
    assert [type(error) for error in told] == [ModelError]
    assert str(told[0]).startswith("the GPU says: ")
    assert "\n" not in str(told[0])
    for stream, error in zip(streams, errors, strict=True):
        if error is None:
            if work == "put":
                stream.paint()
            stream.check()
    for stream, error in zip(streams, errors, strict=True):
        if error is not None:  # it hears of it with its next frame
            with pytest.raises(ModelError, match="the GPU says: "):
                getattr(stream, work)()
    told.clear(), errors.clear()
    for stream in streams:  # all go on, also the one that was told: it may try its next frame
        stream.next(2)
        stream.put()
        stream.paint()
        stream.check()


def test_an_event_that_cannot_be_recorded_is_told_to_all(opened: Any) -> None:
    double, streams, frames = opened(1)
    for stream in streams:
        stream.next(1)
    double.fail("cuEventRecord", 700)
    errors, _ = at_once(frames, [stream.put for stream in streams])
    assert [type(error) for error in errors] == [ModelError] * STREAMS
    assert len(set(map(id, errors))) == STREAMS


def test_a_gpu_that_is_lost_is_told_to_all_and_the_queue_is_given_back(gpu_double: Callable[..., Any]) -> None:
    double = gpu_double(seed=1)
    streams = [Stream(number) for number in range(3)]
    frames = streams[0].place.frames
    for stream in streams:
        stream.next(0)
    double.lose()
    errors, _ = at_once(frames, [stream.put for stream in streams])
    assert [type(error) for error in errors] == [ModelError] * 3
    for stream in streams:
        stream.place.close()
        stream.place.close()  # twice is once
    assert frames.users == 0


def test_memory_that_waits_to_be_drawn_on_is_not_made_alike_before(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture whose drawing waits for another thread is let go, and its memory is taken for a picture made alike."""
    _, (stream, *_), frames = opened(1)
    stream.next(1)
    wide = make_picture(LAYOUTS[0], 40, 50, 7)
    source, (height, width) = stream.place.bring(wide), stream.size
    kept = [stream.place.bring(stream.picture) for _ in range(2)]
    last = [stream.place.bring(stream.picture)]  # with these, all that the pool has
    settle = frames.settle

    def meanwhile() -> None:
        settle()
        if last:
            with frames.combiner.busy():
                stream.paint(image=last.pop())
                gc.collect()

    monkeypatch.setattr(frames, "settle", meanwhile)
    try:
        found = stream.place.fit(source, (width, height), LAYOUTS[0], wide.color)
    except ModelError:  # all memory was in use when it was asked for
        kept.pop()
        found = stream.place.fit(source, (width, height), LAYOUTS[0], wide.color)
    monkeypatch.undo()
    stream.place.synchronize()
    expected = fit(wide, (width, height), LAYOUTS[0], wide.color)
    assert all(map(np.array_equal, stream.place.host(found).planes, expected.planes))
    del kept, found, source


def test_the_last_place_of_a_gpu_closes_the_stream(gpu_double: Callable[..., Any]) -> None:
    double, gpu = gpu_double(), Gpu.of(0)
    first, second = CudaPlace(gpu), CudaPlace(gpu)
    assert double.live["streams"] == 5  # two of each place, and one for the frames of both
    first.close()
    assert double.live["streams"] == 3
    second.close()
    assert double.live["streams"] == 0
    third = CudaPlace(gpu)
    assert double.live["streams"] == 3
    third.close()
