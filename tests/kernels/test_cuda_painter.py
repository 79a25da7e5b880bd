"""The painter of pictures on a GPU, over a GPU that is not there: its bytes are those of the host's painter, and it
waits for nothing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import make_picture
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.frames import FrameQueue
from saliency_tubes.engine.cuda.jobs import Format, RawPlane, Surface
from saliency_tubes.engine.cuda.painter import CudaPainter
from saliency_tubes.engine.cuda.pictures import DevicePicture
from saliency_tubes.engine.draw.caption import Caption
from saliency_tubes.engine.draw.host import HostPainter
from saliency_tubes.engine.draw.overlay import Overlay, paths
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.picture import LUMA_WEIGHTS, Color, Layout, Picture
from saliency_tubes.engine.saliency import Normalize
from saliency_tubes.engine.types import ClassScore, Crop, Explanation, Parts, Scale, Span, Tube

pytestmark = pytest.mark.skipif(len(paths()) == 1, reason="installed without a C++ compiler")

LOOSE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CROPS = [Crop(), Crop(0.2, 0, 0.8, 1), Crop(0.11, 0.07, 0.93, 0.61), Crop(-0.3, 0, 1.3, 1)]
STYLES = {
    **PRESETS,
    "everything": Style(threshold=0.0, alpha=1.0, colormap="jet", frame=True),
    "fixed": Style(normalize=Normalize("fixed", -1.0, 2.0), colormap="viridis"),
}
CAPTIONS = [
    None,
    Caption("yoga 0.90", "0.0", "12.3"),
    Caption("瑜伽 vs يوغا 0.46", "least", "most"),
    Caption.of_age(3.1),
]


def opened(gpu_double, **settings):
    return gpu_double(**settings), Gpu.of(0)


@pytest.fixture
def shared(gpu_double) -> Gpu:
    """One for all examples of a test."""
    return opened(gpu_double, seed=5)[1]


class OnGpu:
    """A picture on the GPU with its twin on the host."""

    def __init__(self, gpu: Gpu, stream, picture: Picture, pitch: int = 256) -> None:
        self.gpu, self.stream, self.picture = gpu, stream, picture
        self.memory, places, self.shapes = [], [], []
        with gpu.entered():
            for plane in picture.planes:
                row = int(np.prod(plane.shape[1:]))
                padded = np.zeros((plane.shape[0], -(-row // pitch) * pitch), np.uint8)
                padded[:, :row] = plane.reshape(plane.shape[0], row)
                self.memory.append(gpu.allocate(padded.nbytes))
                gpu.write(self.memory[-1].pointer, padded, stream.handle)
                places.append(RawPlane(self.memory[-1].pointer, padded.shape[1]))
                self.shapes.append(padded.shape)
            ready = stream.record()
        format = Format(picture.layout.value)
        surface = Surface(format, places, picture.width, picture.height, picture.color)
        self.image = DevicePicture(gpu, surface, ready)

    def used(self, event) -> None:
        for memory in self.memory:
            memory.used_until(event)

    def planes(self) -> list[np.ndarray]:
        found = []
        with self.gpu.entered():
            self.stream.wait(self.image.ready)
            for memory, shape, plane in zip(self.memory, self.shapes, self.picture.planes, strict=True):
                whole = np.empty(shape, np.uint8)
                self.gpu.read(memory.pointer, whole, self.stream.handle)
                row = int(np.prod(plane.shape[1:]))
                assert not whole[:, row:].any(), "drew beside the plane"
                found.append(whole[:, :row].reshape(plane.shape))
        return found

    def close(self) -> None:
        with self.gpu.entered():
            self.stream.synchronize()
        for memory in self.memory:
            memory.close()


def explanation(rng, crop: Crop, cells=(7, 7), start: int = 3, odd: float = 0.0, slices: int = 4) -> Explanation:
    evidence = (rng.normal(size=(slices, *cells)) ** 3).astype(np.float32)
    evidence[rng.random(evidence.shape) < odd] = rng.choice([np.nan, np.inf])
    scores = (ClassScore(0, "yoga", 0.9, 1.0),)
    pool = np.full(evidence.shape, 1 / evidence.size, np.float32)
    tube = Tube(evidence, Span(start, 8 * slices), crop, pool, (0, slices))
    low, high = sorted(rng.normal(size=2) - [0.6, -0.6])
    return Explanation(0, scores, scores, tube, Scale(low, high), (0, 8), Fraction(1, 25))


def paint(painter, image, parts: Parts, at=9.5, opacity=1.0, outline=None, caption=None, pixel_aspect=1.0) -> None:
    painter.paint(
        image, parts, at=at, opacity=opacity, outline=outline, caption=caption, pixel_aspect=pixel_aspect
    )  # fmt: skip


@LOOSE
@given(
    layout=st.sampled_from(Layout),
    height=st.integers(1, 130),
    width=st.integers(1, 260),
    cells=st.tuples(*2 * [st.one_of(st.integers(1, 32), st.integers(33, 64))]),
    style=st.sampled_from(list(STYLES.values())),
    color=st.builds(Color, st.sampled_from(sorted(LUMA_WEIGHTS)), st.booleans()),
    crop=st.sampled_from(CROPS),
    outlined=st.booleans(),
    captions=st.tuples(*2 * [st.sampled_from(CAPTIONS)]),
    opacity=st.floats(0, 1),
    pixel_aspect=st.sampled_from([1.0, 64 / 45, 0.7]),
    odd=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 1000),
)
def test_bytes_are_the_hosts(
    shared, layout, height, width, cells, style, color, crop, outlined, captions, opacity, pixel_aspect, odd, seed
):
    """Of four frames of one size: of one window, of two, of the first again, of none."""
    gpu, rng = shared, np.random.default_rng(seed)
    frames = FrameQueue.of(gpu)
    with gpu.entered():
        other = gpu.stream("low")
    painter, host = CudaPainter(frames, style), HostPainter(Overlay(style))
    first, second = explanation(rng, crop, cells, odd=odd), explanation(rng, crop, cells, start=9)
    picture = make_picture(layout, height, width, seed, color)
    on_gpu = OnGpu(gpu, other, picture)
    for step, parts in enumerate([((first, 1.0),), ((first, 0.3), (second, 0.7)), ((first, 1.0),), ()]):
        more = {"outline": crop if outlined else None, "caption": captions[step % 2], "pixel_aspect": pixel_aspect}
        for painted, image in ((host, picture), (painter, on_gpu.image)):
            paint(painted, image, parts, at=4.0 + 7.3 * step, opacity=opacity, **more)
        assert all(map(np.array_equal, on_gpu.planes(), picture.planes)), step
    assert painter.not_finite == host.not_finite
    on_gpu.close()
    painter.close()
    frames.close(), other.close()


def test_pictures_change_their_size(gpu_double):
    _, gpu = opened(gpu_double)
    frames = FrameQueue.of(gpu)
    painter, host, rng = CudaPainter(frames, Style()), HostPainter(Overlay(Style())), np.random.default_rng(0)
    for index, size in enumerate([(97, 131), (33, 60), (140, 250), (97, 131)]):
        crop, picture = CROPS[index], make_picture(Layout.NV12, *size, index)
        on_gpu, one = OnGpu(gpu, frames.stream, picture), explanation(rng, crop)
        for painted, image in ((host, picture), (painter, on_gpu.image)):
            paint(painted, image, ((one, 1.0),), outline=crop, caption=CAPTIONS[1])
        assert all(map(np.array_equal, on_gpu.planes(), picture.planes)), index
        on_gpu.close()
    painter.close()
    frames.close()


@pytest.mark.parametrize("kind", ["discrete", "integrated"])
def test_frames_cost_no_wait_no_memory_and_no_copy(gpu_double, kind):
    double, gpu = opened(gpu_double, kind=kind, seed=0)  # work is done as late as possible
    frames = FrameQueue.of(gpu)
    crop, rng = Crop(0.2, 0, 0.8, 1), np.random.default_rng(0)
    painter, picture = CudaPainter(frames, Style()), OnGpu(gpu, frames.stream, make_picture(Layout.NV12, 48, 80))
    windows = [explanation(rng, crop, start=8 * i) for i in range(40)]

    def frame(index: int) -> None:
        parts = ((windows[index // 8], 0.25), (windows[index // 8 + 1], 0.75))
        caption = Caption(f"yoga 0.{10 + index // 8}", "0.0", "12.3")
        paint(painter, picture.image, parts, at=8.0 + index, outline=crop, caption=caption)

    for index in range(80):
        frame(index)
    with gpu.entered():
        frames.stream.synchronize()
    before = double.report
    for index in range(80, 112):
        frame(index)
    assert double.pending(frames.stream.handle), "somebody has waited"
    after = double.report
    for name in ("allocations", "frees"):
        assert after["counts"][name] == before["counts"][name]
    assert after["waits"] == before["waits"]
    # four new windows with a caption each: a tube and a caption, and nothing for the other frames
    assert after["copies"]["HtoD"] - before["copies"]["HtoD"] == 8
    assert after["launches"]["overlay_linear"] - before["launches"]["overlay_linear"] == 32
    assert after["launches"]["marks"] - before["launches"]["marks"] == 32
    with gpu.entered():
        frames.stream.synchronize()
    picture.close()
    painter.close()
    frames.close()


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
def test_a_picture_is_drawn_on_after_it_is_made(gpu_double, seed):
    """On another stream, as a decoder's: by its event and nothing else."""
    _, gpu = opened(gpu_double, seed=seed)
    frames = FrameQueue.of(gpu)
    with gpu.entered():
        decoder = gpu.stream("low")
    crop, rng = Crop(0.2, 0, 0.8, 1), np.random.default_rng(seed)
    painter, host, one = CudaPainter(frames, Style()), HostPainter(Overlay(Style())), explanation(rng, crop)
    for index in range(6):
        picture = make_picture(Layout.NV12, 60, 90, index)
        on_gpu = OnGpu(gpu, decoder, picture)
        for painted, image in ((host, picture), (painter, on_gpu.image)):
            paint(painted, image, ((one, 1.0),), at=float(index), caption=CAPTIONS[1])
        assert all(map(np.array_equal, on_gpu.planes(), picture.planes))
        on_gpu.close()
    painter.close()
    frames.close(), decoder.close()


def test_what_cannot_be_drawn_is_told(gpu_double):
    double, gpu = opened(gpu_double)
    frames = FrameQueue.of(gpu)
    painter, picture = CudaPainter(frames, Style()), make_picture(Layout.NV12, 60, 90)
    wide, on_gpu = explanation(np.random.default_rng(0), Crop(), (4, 65)), OnGpu(gpu, frames.stream, picture)
    with pytest.raises(
        UsageError, match="at most 64 cells on an axis, this network has 4x65: frames must live on the host"
    ):
        paint(painter, on_gpu.image, ((wide, 1.0),))
    with pytest.raises(ValueError, match="cuda:0 cannot draw on an image on host"):
        paint(painter, picture, (), caption=CAPTIONS[1])
    assert not double.launches
    assert painter.description == "CUDA, Discrete double"
    on_gpu.close()
    painter.close()
    frames.close()
