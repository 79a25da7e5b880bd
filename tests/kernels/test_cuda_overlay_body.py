"""The overlay's CUDA kernel, run on the CPU: its bytes against the C++ path's, and against the definition in float64.

All goes the way it does on a GPU, by `CudaOverlay` and cuda-bindings, on one that is not there.
"""

import ctypes
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import may_be_off
from saliency_tubes.engine.cuda import jobs as cuda_jobs
from saliency_tubes.engine.cuda.shots import GATHERED, SHOT
from saliency_tubes.engine.cuda.work import CudaOverlay, Format, Part
from saliency_tubes.engine.draw.fixed import TABLE
from saliency_tubes.engine.draw.style import COLORMAPS, PRESETS, Style
from saliency_tubes.engine.geometry import blend_cells
from saliency_tubes.engine.picture import LUMA_WEIGHTS, Color
from saliency_tubes.engine.types import Crop, Explanation, Scale, Span, Tube
from surfaces import drawn_ref, host_frame

LOOSE = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MAPS = st.tuples(*2 * [st.one_of(st.integers(1, 32), st.integers(33, 64))])
CROPS = [Crop(), Crop(0.2, 0, 0.8, 1), Crop(0.11, 0.07, 0.93, 0.61), Crop(-0.3, 0, 1.3, 1), Crop(0.49, 0.3, 0.51, 0.9)]


@pytest.fixture
def gpu(gpu_double):
    double = gpu_double(seed=0)  # so that no memory is used twice within a batch, and the twin can read all of it
    double.set(keeps_launches=1)
    return double


def drawn(gpu, style, frames, evidence, crops):
    """Draws on copies of the frames. Returns the overlay, the copies, and the jobs that the kernel was given."""
    there = [frame.on_gpu(gpu) for frame in frames]
    overlay = CudaOverlay(style)
    overlay.draw([frame.surface for frame in there], evidence, crops)
    with overlay.gpu.entered():
        overlay.gpu.wait(0)
    jobs = [job for _, grid, (data,) in gpu.launched() for job in np.frombuffer(data, cuda_jobs.JOB)[: grid[1]]]
    return overlay, there, jobs


def twin(gpu, kernels, jobs, frames, there, geometry):
    """Draws by the C++ path on the same jobs and the same bytes, into the same memory."""
    for frame, copy in zip(frames, there, strict=True):
        copy.restore(frame.memory)
    for job in jobs:
        one = np.array([job])
        table = int(job["table"])
        moved = (gpu.memory(table, (1,)).ctypes.data - table) % 2**64  # to where it can always be read
        for name in ("table", "odd", "coefficients"):
            one[name] += np.uint64(moved * bool(job[name]))
        for name, of in (("planes", ("data", "across", "down")), ("parts", ("slice", "next"))):
            for field in of:
                one[name][field] += np.where(one[name][field] > 0, np.uint64(moved), np.uint64(0))
        kernels.run_twin(ctypes.c_void_p(one.ctypes.data), int(geometry != "linear"))


def contents(there):
    return [memory.values.copy() for frame in there for memory in frame.memory]


def same(one, other):
    return all(map(np.array_equal, one, other))


def explanation(rng, slices, cells, crop, odd=0.0):
    tube = rng.normal(size=(slices, *cells)).astype(np.float32) ** 3
    tube[rng.random(tube.shape) < odd] = rng.choice([np.nan, np.inf, -np.inf])
    made = Tube(tube, Span(3, 8 * slices), crop, np.full(tube.shape, 1 / tube.size, np.float32), (0, slices))
    return Explanation(0, (), (), made, Scale(*sorted(rng.normal(size=2) - [0.6, -0.6])), (0, 8), Fraction(1, 25))


@LOOSE
@given(
    format=st.sampled_from(Format),
    height=st.integers(1, 90),
    width=st.integers(1, 300),
    cells=MAPS,
    style=st.builds(
        Style,
        colormap=st.sampled_from(sorted(COLORMAPS)),
        alpha=st.floats(0, 1),
        threshold=st.floats(0, 1),
        geometry=st.sampled_from(["linear", "linear", "paper"]),
        soft=st.booleans(),
        add=st.booleans(),
    ),
    color=st.builds(Color, st.sampled_from(sorted(LUMA_WEIGHTS)), st.booleans()),
    crop=st.sampled_from(CROPS),
    pad=st.sampled_from([0, 4, 5, 64]),
    skew=st.sampled_from([0, 1, 3]),
    parts=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_bytes_are_those_of_the_cpp_path(
    gpu, kernels, format, height, width, cells, style, color, crop, pad, skew, parts, seed
):
    rng = np.random.default_rng(seed)
    frame = host_frame(format, height, width, seed, pad, skew, color)
    whole = [(explanation(rng, 3, cells, crop, 0.1 * (seed % 2)), 1 / parts) for _ in range(parts)]
    evidence = [Part.of(*one, 9.5) for one in whole]
    if style.geometry != "linear":
        evidence = blend_cells(whole, 9.5, style.geometry)
    found = []
    for backwards in (0, 1):  # threads and blocks: what a missing barrier would show
        gpu.set(backwards=backwards)
        overlay, there, jobs = drawn(gpu, style, [frame], [evidence], [crop])
        found.append((contents(there), overlay.not_finite()))
        if not backwards:
            there[0].close()
    (one, count), (other, other_count) = found
    assert same(one, other)
    assert count == other_count
    twin(gpu, kernels, jobs, [frame], there, style.geometry)
    assert same(one, contents(there))
    assert overlay.not_finite() == (2 * count if jobs else 0)  # the twin counts into the same counter
    there[0].close()


@LOOSE
@given(
    format=st.sampled_from(Format),
    size=st.tuples(st.integers(1, 90), st.integers(1, 200)),
    cells=MAPS,
    style=st.sampled_from([Style(), Style(threshold=0), Style(alpha=1.0, colormap="jet"), *PRESETS.values()]),
    crop=st.sampled_from(CROPS),
    seed=st.integers(0, 1000),
)
def test_the_definition_in_float64(gpu, format, size, cells, style, crop, seed):
    rng = np.random.default_rng(seed)
    frame = host_frame(format, *size, seed, color=Color(full_range=bool(seed % 2)))
    map_ = rng.random((1, *cells)).astype(np.float32) ** 3
    expected = drawn_ref(frame, map_[0].astype(np.float64), crop, style)
    evidence = [Part(map_, 0.0, 0.0, 1.0)] if style.geometry == "linear" else map_[0]
    _, (there,), _ = drawn(gpu, style, [frame], [evidence], [crop])
    frame.restore(contents([there]))
    there.close()
    shift = 6 if format is Format.P010 else 0
    for one, other in zip(frame.planes, expected, strict=True):
        off = np.abs((one >> shift).astype(int) - (other >> shift))
        # a level that rounds the other way, and at ten bits steps of levels are four times as high
        far = off > (8 if shift else 2)
        assert far.sum() <= may_be_off(far.shape, cells)


@pytest.mark.parametrize("geometry", ["linear", "paper"])
@pytest.mark.parametrize("format", Format)
def test_what_shared_memory_held_before_does_not_matter(rubbish, gpu, kernels, format, geometry):
    """At the edges of crops and tiles, where columns beside them are computed along."""
    gpu.set(rubbish=rubbish)
    rng, style = np.random.default_rng(rubbish), Style(threshold=0.1, geometry=geometry)
    for width in (37, 150):
        frame = host_frame(format, 21, width, width, pad=4)
        for crop in CROPS:
            whole = [(explanation(rng, 2, (5, 7), crop), 1.0)]
            evidence = blend_cells(whole, 9.5, geometry) if geometry == "paper" else [Part.of(*whole[0], 9.5)]
            _, there, jobs = drawn(gpu, style, [frame], [evidence], [crop])
            found = contents(there)
            twin(gpu, kernels, jobs, [frame], there, geometry)
            assert same(found, contents(there))


@pytest.mark.parametrize("format", [Format.NV12, Format.P010, Format.BGR])
def test_large_frames(gpu, kernels, format):
    rng = np.random.default_rng(1)
    frame = host_frame(format, 1080, 1920) if format is not Format.NV12 else host_frame(format, 2160, 3840, pad=256)
    one = explanation(rng, 2, (7, 7), Crop(0.2, 0, 0.8, 1))
    _, there, jobs = drawn(gpu, Style(), [frame], [[Part.of(one, 1.0, 8.0)]], [Crop(0.2, 0, 0.8, 1)])
    found = contents(there)
    twin(gpu, kernels, jobs, [frame], there, "linear")
    assert same(found, contents(there))
    assert not same(found, frame.memory)


def test_a_batch_is_drawn_by_one_launch_for_eight(gpu, kernels):
    rng = np.random.default_rng(2)
    kinds = list(Format) + [Format.NV12] * 3
    frames = [host_frame(format, 20 + 7 * i, 31 + 9 * i, i) for i, format in enumerate(kinds)]
    crops = [CROPS[i % len(CROPS)] for i in range(len(frames))]
    evidence = [[Part.of(explanation(rng, 2, (3 + i, 9), crop), 1.0, 8)] for i, crop in enumerate(crops)]
    _, there, jobs = drawn(gpu, Style(), frames, evidence, crops)
    assert len(jobs) == 10
    assert gpu.launches == {"overlay_linear": 2}
    found = contents(there)
    twin(gpu, kernels, jobs, frames, there, "linear")
    assert same(found, contents(there))


def test_no_evidence_leaves_the_frame_untouched(gpu):
    frame = host_frame(Format.NV12, 70, 90)
    weak = np.full((1, 7, 7), 0.19, np.float32)
    for parts in ([Part(weak, 0, 0, 1)], []):
        _, there, _ = drawn(gpu, Style(), [frame], [parts], [Crop()])
        assert same(frame.memory, contents(there))


def test_records_are_the_structs(kernels):
    known = {
        "PlaneJob": cuda_jobs.PLANE_JOB,
        "Part": cuda_jobs.PART,
        "Job": cuda_jobs.JOB,
        "Table": TABLE,
        "Shot": SHOT,
        "Gathered": GATHERED,
    }
    for name, dtype in known.items():
        assert kernels.size_of(name.encode()) == dtype.itemsize, name
    assert kernels.size_of(b"Jobs") == cuda_jobs.MOST_JOBS * cuda_jobs.JOB.itemsize <= 4096


def test_halves_are_numpys(kernels):
    every = np.arange(1 << 16, dtype=np.uint16)
    values = every.view(np.float16).astype(np.float32)
    found = np.array([kernels.of_half(int(bits)) for bits in every], np.float32)
    assert np.array_equal(found, values, equal_nan=True)
    rng = np.random.default_rng(0)
    some = np.concatenate([rng.normal(size=2000) * 10.0 ** rng.integers(-8, 6, 2000), [65519.9, 65520, 2**-25, 0.0]])
    some = some.astype(np.float32)
    with np.errstate(over="ignore"):
        expected = some.astype(np.float16).view(np.uint16)
    assert [kernels.half_of(float(value)) for value in some] == expected.tolist()
