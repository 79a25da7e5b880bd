"""The CUDA kernels on a real GPU: the bytes of the CPU's path, the evidence, the clip, the time a frame takes."""

import os
import subprocess
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from gpu_double.double import environment_of
from gputwin import drawn, fetched, sent
from pictures import make_picture
from saliency_tubes.engine.cuda.driver import why_not
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.cuda.samples import CudaPreprocess
from saliency_tubes.engine.cuda.timing import seconds_of, seconds_of_a_copy
from saliency_tubes.engine.cuda.work import (
    CudaEvidence,
    CudaOverlay,
    Format,
    Gpu,
    Part,
)
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.fit import fit
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Color, Layout, Picture
from saliency_tubes.engine.preprocess import sample
from saliency_tubes.engine.resize import _compiled
from saliency_tubes.engine.types import Crop, Frame
from surfaces import drawn_ref, host_frame

FRAMES, ROUNDS = 200, 5
MOST_OF_A_COPY = 1.3
"""the time of a frame fully drawn, of the time that a copy of as many bytes takes"""


@pytest.fixture(scope="module")
def opened(gpu):
    reason = why_not(gpu.index)
    if reason is not None and "cuda" in os.environ.get("SALIENCY_TUBES_GPU", "").split(","):
        pytest.fail(f"SALIENCY_TUBES_GPU promises cuda: {reason}")
    if reason is not None:
        pytest.skip(reason)
    made = Gpu.of(gpu.index)
    yield made
    made.clear()


@pytest.mark.parametrize("format", Format)
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("size", "pad", "skew"), [((1080, 1920), 128, 0), ((35, 51), 5, 3), ((1, 1), 0, 0)])
def test_the_definition_in_float64(opened, format, preset, size, pad, skew):
    rng, style, crop = np.random.default_rng(1), PRESETS[preset], Crop(0.11, 0, 0.93, 1)
    frame = host_frame(format, *size, pad=pad, skew=skew)
    cells = rng.random((1, 7, 9)).astype(np.float32)
    expected = drawn_ref(frame, cells[0].astype(np.float64), crop, style)
    views, surface = sent(opened, frame)
    overlay = CudaOverlay(style)
    evidence = [Part(cells, 0.0, 0.0, 1.0)] if style.geometry == "linear" else cells[0]
    overlay.draw([surface], [evidence], [crop])
    fetched(opened, frame, views)
    shift = 6 if format is Format.P010 else 0
    for one, other in zip(frame.planes, expected, strict=True):
        far = np.abs((one >> shift).astype(int) - (other >> shift)) > (8 if shift else 2)
        assert far.mean() <= 0.002 or far.sum() <= 2


def test_the_same_bytes_as_on_the_cpu(opened, tmp_path):
    """By the kernel's body on the CPU, which tests/kernels holds against the C++, in a process without this GPU."""
    program, file = Path(__file__).parents[1] / "gputwin.py", tmp_path / "frames.npz"
    environment = environment_of("kind=discrete", tmp_path / "report.jsonl")
    environment["PYTHONPATH"] = str(program.parent)
    subprocess.run([sys.executable, program, file], env=environment, check=True, timeout=300)
    with np.load(file) as there:
        expected = list(there.values())
    found = drawn(opened)
    assert found[-1].min() > 0
    assert len(found) == len(expected)
    assert all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_evidence(opened, dtype):
    rng = np.random.default_rng(3)
    activation = np.maximum(rng.normal(size=(2048, 4, 14, 14)), 0).astype(dtype)
    weights = rng.normal(size=2048).astype(np.float32)
    out, found = np.zeros((4, 14, 14), np.float32), np.zeros((4, 14, 14), np.float32)
    with opened.entered():
        there, result = opened.upload(activation, 0), opened.upload(out, 0)
    CudaEvidence().compute(there, weights, result)
    with opened.entered():
        opened.read(result.pointer, found, 0)
    exact = np.tensordot(weights.astype(np.float64), activation.astype(np.float64), 1)
    most = np.tensordot(np.abs(weights).astype(np.float64), activation.astype(np.float64), 1)
    assert np.all(np.abs(found - exact) <= 40 * 2.0**-24 * most)


@pytest.mark.parametrize("format", [Format.NV12, Format.I420, Format.RGB])
def test_samples_are_the_cpus(opened, format):
    spec = InputSpec((224, 224), (0.0,) * 3, (1.0,) * 3, "center", 256)
    frame = host_frame(format, 1080, 1920)
    planes = tuple(plane[..., 0] if plane.shape[2] == 1 else plane for plane in frame.planes)
    expected = sample(Frame(0, 0, Fraction(1, 25), Picture(frame.surface.layout, planes)), spec)
    made = np.zeros((3, 224, 224), np.uint8)
    _views, surface = sent(opened, frame)
    with opened.entered():
        there = opened.upload(made, 0)
    assert CudaPreprocess(spec).sample(surface, there) == expected.crop
    with opened.entered():
        opened.read(there.pointer, made, 0)
    off = np.abs(made.transpose(1, 2, 0).astype(int) - expected.pixels)
    assert off.max() <= (0 if _compiled is not None else 3)


@pytest.mark.skipif(_compiled is None, reason="installed without a C++ compiler")
@pytest.mark.parametrize("wanted", Layout)
@pytest.mark.parametrize("layout", Layout)
def test_pictures_are_made_alike_as_on_the_cpu(opened, layout, wanted):
    """Smaller, larger, and in another colour."""
    place, picture = CudaPlace(opened), make_picture(layout, 360, 640, seed=4, pad=7)
    for size, color in (((321, 181), picture.color), ((960, 540), Color("bt601", full_range=True))):
        image = place.fit(place.bring(picture), size, wanted, color)
        found, expected = place.host(image), fit(picture, size, wanted, color)
        assert all(map(np.array_equal, found.planes, expected.planes))
        del image
    assert place.leases == 0
    place.close()


@pytest.mark.parametrize("format", [Format.NV12, Format.P010, Format.RGB])
def test_bandwidth(opened, format, capsys):
    """Frames that are drawn all over, against a copy of as many bytes on the GPU; too many for its cache."""
    held = [sent(opened, host_frame(format, 2160, 3840, seed)) for seed in range(8)]
    strong, style = np.ones((1, 7, 7), np.float32), Style(threshold=0.0)
    with opened.entered():
        there = opened.upload(strong, 0)
    overlay, surfaces, parts = CudaOverlay(style), [surface for _, surface in held], [[Part(there, 0.0, 0.0, 1.0)]] * 8
    draw = partial(overlay.draw, surfaces, parts, [Crop()] * 8)
    drawing = median(seconds_of(opened, draw, FRAMES, ROUNDS))
    size = sum(view.shape[0] * view.dtype.itemsize for views, _ in held for view in views)
    copying = median(seconds_of_a_copy(opened, size, FRAMES, ROUNDS))
    with capsys.disabled():
        rate, copies = 2 * size / drawing / 1e9, drawing / copying
        print(f"\n{format.value} 2160p: {drawing / 8 * 1e6:.1f} us a frame, {rate:.0f} GB/s, {copies:.2f} copies")
    assert drawing <= MOST_OF_A_COPY * copying
