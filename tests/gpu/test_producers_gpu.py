"""Frames that torch and cupy make on streams of their own: what is drawn, and when.

Each frame is made late on purpose: its stream is kept busy first. So a kernel that does not wait for it draws on what
was there before, and the result is wrong. The other way round, what is drawn must be there for the producer once its
stream waits for ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from promises import missing
from saliency_tubes.engine.cuda.driver import Gpu, why_not
from saliency_tubes.engine.cuda.samples import CudaPreprocess
from saliency_tubes.engine.cuda.work import CudaEvidence, CudaOverlay, Format, Part, Surface
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.engine.types import Crop

HEIGHT, WIDTH = 720, 1280
CYCLES = 200_000_000
"""of the GPU's clock: about 0.1 s"""
STYLE = Style(threshold=0.0)
CELLS = np.linspace(0, 1, 49, dtype=np.float32).reshape(1, 7, 7)


@pytest.fixture(scope="module")
def here(gpu: Any) -> Gpu:
    reason = why_not(gpu.index)
    return missing(reason, "cuda") if reason is not None else Gpu.of(gpu.index)


@pytest.fixture(scope="module")
def torch(here: Gpu) -> Any:
    """PyTorch that has this GPU. It is no promise: a machine with a GPU may have PyTorch for CPUs."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA, or not for this GPU")
    return torch


@pytest.fixture(scope="module")
def cupy(here: Gpu) -> Any:
    return pytest.importorskip("cupy")


@pytest.fixture(scope="module")
def noise() -> np.ndarray[Any, Any]:
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def expected(noise: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What the CPU draws: the GPU's bytes are the same."""
    picture = Picture(Layout.RGB, (noise.copy(),))
    Overlay(STYLE).draw(picture, CELLS[0], Crop())
    return picture.planes[0]


def busy(torch: Any) -> None:
    """Keeps the current stream of torch at work for longer than Python takes to queue everything: 0.1 s on the largest
    GPUs, some seconds on a Jetson."""
    large = torch.ones((4096, 4096), device="cuda")
    for _ in range(40):
        large = (large @ large).clamp_(max=1)


def surface_of(array: Any) -> Surface:
    return Surface(Format.RGB, [array], WIDTH, HEIGHT)


def parts() -> list[Part]:
    return [Part(CELLS, 0.0, 0.0, 1.0)]


@pytest.mark.parametrize("ours", ["its own", "the producer's", "the default"])
def test_a_frame_of_torch_is_drawn_on_once_it_is_made(
    here: Gpu, torch: Any, noise: Any, expected: Any, ours: str
) -> None:
    source, frame = torch.from_numpy(noise).cuda(), torch.zeros((HEIGHT, WIDTH, 3), dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    overlay, producer = CudaOverlay(STYLE, here.device.index), torch.cuda.Stream()
    with here.entered():
        own = here.stream("high")
    streams = {"its own": own, "the producer's": producer, "the default": None}
    overlay.draw([surface_of(frame.clone())], [parts()], [Crop()], streams[ours])  # its tables are uploaded
    torch.cuda.synchronize()
    with torch.cuda.stream(producer):
        busy(torch)
        frame.copy_(source, non_blocking=True)
        # While the producer's stream is current, DLPack lets ours wait for it.
        overlay.draw([surface_of(frame)], [parts()], [Crop()], streams[ours])
    torch.cuda.synchronize()
    assert np.array_equal(frame.cpu().numpy(), expected)


def test_torch_reads_what_was_drawn(here: Gpu, torch: Any, noise: Any, expected: Any) -> None:
    """The consumer's stream waits for ours by an event, and nobody waits on the host."""
    frame = torch.from_numpy(noise).cuda()
    overlay, consumer = CudaOverlay(STYLE, here.device.index), torch.cuda.Stream()
    overlay.draw([surface_of(frame.clone())], [parts()], [Crop()])
    torch.cuda.synchronize()
    with here.entered():
        own = here.stream("high")
    ours = torch.cuda.ExternalStream(own.handle)
    with torch.cuda.stream(ours):
        busy(torch)
    overlay.draw([surface_of(frame)], [parts()], [Crop()], own)
    consumer.wait_stream(ours)
    with torch.cuda.stream(consumer):
        seen = frame.clone()
    torch.cuda.synchronize()
    assert np.array_equal(seen.cpu().numpy(), expected)


def test_a_frame_of_cupy_is_drawn_on_once_it_is_made(here: Gpu, cupy: Any, noise: Any, expected: Any) -> None:
    source, frame = cupy.asarray(noise), cupy.zeros((HEIGHT, WIDTH, 3), cupy.uint8)
    busy = cupy.RawKernel(
        'extern "C" __global__ void wait(long long n) { long long t = clock64(); while (clock64() - t < n) {} }', "wait"
    )
    overlay, producer = CudaOverlay(STYLE, here.device.index), cupy.cuda.Stream(non_blocking=True)
    overlay.draw([surface_of(frame.copy())], [parts()], [Crop()])
    cupy.cuda.Device().synchronize()
    with here.entered():
        own = here.stream("high")
    with producer:
        busy((1,), (1,), (np.int64(CYCLES),))
        frame[...] = source
        overlay.draw([surface_of(frame)], [parts()], [Crop()], own)
    cupy.cuda.Device().synchronize()
    assert np.array_equal(cupy.asnumpy(frame), expected)


@pytest.mark.parametrize("make", ["torch", "cupy"])
def test_evidence_of_an_activation_that_is_made_late(here: Gpu, make: str, request: pytest.FixtureRequest) -> None:
    """As a network's last layer, on the network's stream."""
    torch = request.getfixturevalue("torch")
    library = request.getfixturevalue(make)
    rng = np.random.default_rng(2)
    activation, weights = rng.random((64, 4, 7, 7), np.float32), rng.random(64, np.float32)
    producer = torch.cuda.Stream()
    source, late = torch.from_numpy(activation).cuda(), torch.zeros((64, 4, 7, 7), device="cuda")
    out = torch.zeros((4, 7, 7), device="cuda")
    with here.entered():
        own = here.stream("low")
    evidence = CudaEvidence(here.device.index)
    evidence.compute(source, weights, out, own)
    torch.cuda.synchronize()
    with torch.cuda.stream(producer):
        busy(torch)
        late.copy_(source)
        given = late if make == "torch" else library.from_dlpack(late)
        evidence.compute(given, weights, out, producer)
    torch.cuda.synchronize()
    exact = np.tensordot(weights.astype(np.float64), activation.astype(np.float64), 1)
    assert np.allclose(out.cpu().numpy(), exact, rtol=1e-5)


def test_samples_of_frames_of_torch(here: Gpu, torch: Any) -> None:
    """Frames on the producer's stream, the samples in torch's memory: what a network in torch is fed."""
    spec = InputSpec((112, 112), (0.5,) * 3, (0.5,) * 3, "center", 128)
    rng = np.random.default_rng(3)
    planes = rng.integers(0, 256, (4, HEIGHT * 3 // 2, WIDTH), np.uint8)
    preprocess, producer = CudaPreprocess(spec, here.device.index), torch.cuda.Stream()

    def samples_of(frames: Any, stream: Any, delay: Callable[[], None]) -> Any:
        samples = torch.zeros((4, 3, 112, 112), dtype=torch.uint8, device="cuda")
        torch.cuda.synchronize()
        with torch.cuda.stream(producer):
            delay()
            late = frames.clone()
            for slot, frame in enumerate(late):
                surface = Surface(Format.NV12, [frame[:HEIGHT], frame[HEIGHT:].view(HEIGHT // 2, WIDTH)], WIDTH, HEIGHT)
                preprocess.sample(surface, samples[slot], stream=stream)
        torch.cuda.synchronize()
        return samples.cpu().numpy()

    there = torch.from_numpy(planes).cuda()
    quiet = samples_of(there, producer, lambda: None)
    late = samples_of(there, producer, lambda: busy(torch))
    assert quiet.any()
    assert np.array_equal(quiet, late)
