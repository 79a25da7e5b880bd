"""The CUDA kernels around the network, run on the CPU: the evidence against float64, the clip against the CPU's."""

from fractions import Fraction

import numpy as np
import pytest
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from saliency_tubes.engine.cuda.work import CudaEvidence, CudaPreprocess, Format
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Color, Picture
from saliency_tubes.engine.preprocess import sample
from saliency_tubes.engine.resize import _compiled
from saliency_tubes.engine.types import Frame
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
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (5, 1, 2, 3), (2048, 4, 14, 14), (65, 2, 7, 7), (1, 400, 4, 7, 7)])
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


@pytest.mark.parametrize("rule", SPECS)
@pytest.mark.parametrize("format", [Format.NV12, Format.I420])
@pytest.mark.parametrize("size", [(90, 160), (35, 51), (240, 133)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_clip_slots_are_the_cpus(rubbish, gpu, rule, format, size, dtype):
    spec = SPECS[rule]
    frame = host_frame(format, *size, seed=3, pad=6, color=Color("bt601", True))
    planes = [plane[..., 0] if plane.shape[2] == 1 else plane for plane in frame.planes]
    picture = Picture(frame.surface.layout, tuple(planes), frame.surface.color)
    aspect = Fraction(4, 3)
    seen = sample(Frame(0, 0, Fraction(1, 25), picture, aspect), spec)
    expected, crop = seen.pixels, seen.crop
    gpu.set(rubbish=rubbish)
    there = gpu.array(np.full((1, 3, 4, *spec.size), 7, dtype))
    assert CudaPreprocess(spec).fill(frame.on_gpu(gpu).surface, there, 2, aspect) == crop
    clip = there.values
    assert np.all(clip[0, :, [0, 1, 3]] == 7)
    numbers = [((np.arange(256) / 255 - mean) / std).astype(np.float32) for mean, std in zip(MEAN, STD, strict=True)]
    same = np.stack([numbers[c][expected[..., c]] for c in range(3)]).astype(dtype)
    if _compiled is not None:  # OpenCV rounds between resizing and colour
        assert np.array_equal(clip[0, :, 2], same)
    levels = np.stack([np.rint((clip[0, c, 2] * STD[c] + MEAN[c]) * 255) for c in range(3)], -1)
    assert np.abs(levels - expected.astype(int)).max() <= 2


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
    there = gpu.array(np.zeros((3, 1, 54, 96), np.float32))
    CudaPreprocess(spec).fill(frame.on_gpu(gpu).surface, there, 0)
    clip = there.values
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
    off = np.abs(255 * clip[:, 0].transpose(1, 2, 0) - theirs)
    print(f"swscale: mean {off.mean():.2f} levels, most {off.max():.0f}")
    assert off.mean() <= 0.1
    assert off.max() <= 2
