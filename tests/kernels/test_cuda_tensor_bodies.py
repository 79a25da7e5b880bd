"""The CUDA kernels around the network, run on the CPU: the evidence against float64, the clip against the CPU's."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from saliency_tubes.engine.cuda.clips import Gather
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.fit import FIT, CudaFit
from saliency_tubes.engine.cuda.memory import view_of
from saliency_tubes.engine.cuda.resources import given
from saliency_tubes.engine.cuda.samples import CudaPreprocess
from saliency_tubes.engine.cuda.shots import SHOT
from saliency_tubes.engine.cuda.work import CudaEvidence, Format
from saliency_tubes.engine.fit import fit
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Color, Layout, Picture
from saliency_tubes.engine.preprocess import sample, tensor
from saliency_tubes.engine.resize import _compiled
from saliency_tubes.engine.types import Clip, Crop, Frame, HostSample, Span
from surfaces import host_frame

MEAN, STD = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)
SPECS = {
    "center": InputSpec((56, 48), MEAN, STD, "center", 64),
    "stretch": InputSpec((32, 64), MEAN, STD, "stretch"),
    "letterbox": InputSpec((48, 48), MEAN, STD, "letterbox"),
}


@pytest.fixture
def gpu(gpu_double):
    return gpu_double(seed=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 1, 2, 3), (300, 2, 14, 14), (65, 2, 7, 7), (1, 400, 4, 7, 7)])
def test_evidence(rubbish, gpu, shape, dtype):
    rng = np.random.default_rng(0)
    activation = np.maximum(rng.normal(size=shape), 0).astype(dtype)
    weights = rng.normal(size=shape[-4]).astype(np.float32)
    exact = np.tensordot(weights.astype(np.float64), activation.reshape(shape[-4:]).astype(np.float64), 1)
    most = np.tensordot(np.abs(weights).astype(np.float64), activation.reshape(shape[-4:]).astype(np.float64), 1)
    found = []
    for backwards in (0, 1):
        gpu.set(rubbish=rubbish, backwards=backwards)
        out = gpu.array(np.full(shape[-3:], np.nan, np.float32))
        CudaEvidence().compute(gpu.array(activation), weights, out)
        found.append(out.values)
    assert np.array_equal(*found)
    # a sum of n numbers one by one, then 6 pairs: each step rounds by at most 2^-24 of what was added up
    assert np.all(np.abs(found[0] - exact) <= (shape[-4] / 64 + 8) * 2.0**-24 * most + 1e-30)


def test_evidence_by_weights_on_the_gpu_can_be_captured(gpu):
    """A graph that is replayed reads the activation and the weights that are there then."""
    rng = np.random.default_rng(1)
    activation = gpu.array(rng.normal(size=(70, 2, 7, 7)).astype(np.float32))
    rows, evidence = rng.normal(size=(2, 70)).astype(np.float32), CudaEvidence()
    weights, out = gpu.array(rows[0]), gpu.array(np.zeros((2, 7, 7), np.float32))
    here, cuda = Gpu.of(), Gpu.of().cuda
    expected = []
    with here.entered():
        stream = here.stream()
        for row in rows:
            evidence.compute(activation, row, out, stream)
            stream.synchronize()
            expected.append(out.values.copy())
        given(cuda, cuda.cuStreamBeginCapture(stream.handle, cuda.CUstreamCaptureMode(1)))
        evidence.compute(activation, weights, out, stream)
        graph = given(cuda, cuda.cuStreamEndCapture(stream.handle))
        launch = given(cuda, cuda.cuGraphInstantiate(graph, 0))
        for row, values in zip(rows, expected, strict=True):
            weights.values[...] = row
            given(cuda, cuda.cuGraphLaunch(launch, stream.handle))
            stream.synchronize()
            assert np.array_equal(out.values, values)
        given(cuda, cuda.cuGraphExecDestroy(launch))
        given(cuda, cuda.cuGraphDestroy(graph))
        stream.close()
    with pytest.raises(ValueError, match=r"weights must be float32 \[70\]"):
        evidence.compute(activation, gpu.array(rows), out)


@pytest.mark.parametrize("rule", SPECS)
@pytest.mark.parametrize("format", [Format.NV12, Format.I420, Format.RGB, Format.BGRA, Format.P010])
@pytest.mark.parametrize("size", [(90, 160), (35, 51), (240, 133)])
def test_samples_are_the_cpus(gpu, rule, format, size):
    spec = SPECS[rule]
    frame = host_frame(format, *size, seed=3, pad=6, color=Color("bt601", True))
    if format is Format.P010:  # whose ten bits hold bytes here, so that NV12 has the same picture
        for plane in frame.planes:
            plane[...] = plane >> 8 << 8
    planes = [plane[..., 0] if plane.shape[2] == 1 else plane for plane in frame.planes]
    if format is Format.P010:
        planes = [(plane >> 8).astype(np.uint8) for plane in planes]
    if format is Format.BGRA:
        planes = [np.ascontiguousarray(planes[0][..., 2::-1])]
    picture = Picture(frame.surface.layout, tuple(planes), frame.surface.color)
    aspect = Fraction(4, 3)
    expected = sample(Frame(0, 0, Fraction(1, 25), picture, aspect), spec)
    made = gpu.array(np.full((3, *spec.size), 7, np.uint8))
    assert CudaPreprocess(spec).sample(frame.on_gpu(gpu).surface, made, aspect) == expected.crop
    off = np.abs(made.values.transpose(1, 2, 0).astype(int) - expected.pixels)
    assert off.max() <= (0 if _compiled is not None else 3)  # OpenCV rounds between resizing and colour


@pytest.mark.skipif(_compiled is None, reason="installed without a C++ compiler")
@pytest.mark.parametrize("wanted", Layout)
@pytest.mark.parametrize("format", [Format.NV12, Format.I420, Format.RGB, Format.BGRA])
@pytest.mark.parametrize("size", [(40, 30), (97, 61), (20, 70)])
def test_pictures_are_made_alike_as_on_the_cpu(gpu, format, wanted, size):
    for color, wanted_color in itertools.product((Color("bt601", True), Color()), repeat=2):
        frame = host_frame(format, 35, 51, seed=size[0], pad=6, color=color)
        planes = [plane[..., 0] if plane.shape[2] == 1 else plane for plane in frame.planes]
        if format is Format.BGRA:
            planes = [np.ascontiguousarray(planes[0][..., 2::-1])]
        picture = Picture(frame.surface.layout, tuple(planes), color)
        made, source = host_frame(Format(wanted.value), *size[::-1], pad=3, color=wanted_color), frame.on_gpu(gpu)
        target = made.on_gpu(gpu)
        with Gpu.of().entered():
            CudaFit(Gpu.of()).queue(source.surface, target.surface, 0)
            Gpu.of().wait(0)
        expected = fit(picture, size, wanted, wanted_color)
        for plane, other in zip(made.planes, expected.planes, strict=True):
            plane[...] = other.reshape(plane.shape)
        # what lies between the rows is left as it was
        assert all(np.array_equal(there.values, here) for there, here in zip(target.memory, made.memory, strict=True))
        source.close()
        target.close()


def test_the_records_are_the_kernels(kernels):
    assert kernels.size_of(b"Fit") == FIT.itemsize
    assert kernels.size_of(b"Shot") == SHOT.itemsize


def test_ten_bits_count(gpu):
    """What lies between two bytes makes a difference."""
    spec = InputSpec((8, 8), (0.0,) * 3, (1.0,) * 3, "stretch")
    found = []
    for luma in (100 << 8, (100 << 8) + 128, 101 << 8):
        frame = host_frame(Format.P010, 8, 8)
        frame.planes[0][...], frame.planes[1][...] = luma, 128 << 8
        made = gpu.array(np.zeros((3, 8, 8), np.uint8))
        CudaPreprocess(spec).sample(frame.on_gpu(gpu).surface, made)
        found.append(made.values[0, 0, 0])
    assert found == [round((luma - 16) * 255 / 219) for luma in (100, 100.5, 101)]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("size", "count"), [((8, 12), 2), ((7, 9), 3), ((70, 90), 1), ((5, 5), 70)])
def test_clips_are_the_cpus(rubbish, gpu, size, count, dtype):
    spec, clip_length, rng = InputSpec(size, MEAN, STD, "stretch"), 4, np.random.default_rng(1)
    samples = [HostSample(rng.integers(0, 256, (*size, 3), np.uint8)) for _ in range(2 * count + 6)]
    clips = [
        Clip(tuple(samples[first : first + 8 : 2]), Span(first, clip_length, 2), Crop(), (0, 1), Fraction(1, 25))
        for first in range(0, 2 * count, 2)
    ]
    gather = Gather(Gpu.of(), spec, clip_length)
    for backwards in (0, 1):
        gpu.set(rubbish=rubbish, backwards=backwards)
        out = gpu.array(np.full((count, 3, clip_length, *size), 7, dtype))
        with Gpu.of().entered():
            stream = Gpu.of().stream()
            gather.write(clips, view_of(out), stream)
            stream.synchronize()
        assert np.array_equal(out.values, tensor(clips, spec).astype(dtype))
        stream.close()
    assert gpu.launches["gather"] == 2 * -(-count * clip_length // 256)


def smooth(height, width):
    y, x = np.mgrid[:height, :width]
    luma = 126 + 90 * np.sin(x / 37) * np.cos(y / 29)
    half_y, half_x = np.mgrid[: height // 2, : width // 2]
    chroma = np.stack([128 + 60 * np.sin(half_x / 31 + 1), 128 + 60 * np.cos(half_y / 23)], -1)
    return luma.astype(np.uint8), chroma.astype(np.uint8)


def test_swscale_sees_the_same_picture(gpu):
    """To the level, nearly everywhere: it rounds more often."""
    spec = InputSpec((54, 96), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), "stretch")
    frame = host_frame(Format.NV12, 540, 960)
    for plane, content in zip(frame.planes, smooth(540, 960), strict=True):
        plane[...] = content if content.ndim == 3 else content[..., None]
    seen = gpu.array(np.zeros((3, 54, 96), np.uint8))
    CudaPreprocess(spec).sample(frame.on_gpu(gpu).surface, seen)
    decoded = VideoFrame(960, 540, "nv12")
    for plane, content in zip(decoded.planes, frame.planes, strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        rows[:, : content.shape[1] * content.shape[2]] = content.reshape(len(content), -1)
    decoded.colorspace, decoded.color_range = 1, 1  # BT.709, limited
    # its own default takes one chroma sample for two pixels
    flags = (
        Interpolation.AREA | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND
    )
    theirs = decoded.reformat(96, 54, "rgb24", interpolation=flags).to_ndarray()
    off = np.abs(seen.values.transpose(1, 2, 0).astype(int) - theirs)
    print(f"swscale: mean {off.mean():.2f} levels, most {off.max():.0f}")
    assert off.mean() <= 0.1
    assert off.max() <= 2
