"""A stream's place on a GPU that is not there: pictures go up once, samples and clips are the CPU's, pictures come back
as they were, and nothing is allocated or left."""

import gc
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from pictures import make_picture
from saliency_tubes.engine.cuda.clips import Gather
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.jobs import Format
from saliency_tubes.engine.cuda.pictures import DevicePicture, bytes_of, laid_out
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.cuda.pool import Pool
from saliency_tubes.engine.errors import ModelError, UsageError
from saliency_tubes.engine.fit import fit
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Color, Layout
from saliency_tubes.engine.place import Needs
from saliency_tubes.engine.preprocess import sample, tensor
from saliency_tubes.engine.resize import _compiled
from saliency_tubes.engine.types import Clip, Crop, Frame, HostSample, Span

MEAN, STD = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)
SPECS = [
    InputSpec((24, 40), MEAN, STD, "center", 48),
    InputSpec((17, 31), MEAN, STD, "stretch"),
    InputSpec((32, 32), MEAN, STD, "letterbox"),
]
ASPECTS = [Fraction(1), Fraction(4, 3), Fraction(8, 9)]
SIZES = [(48, 64), (51, 35), (33, 97)]


def frame_of(image, index=0, aspect=Fraction(1)):
    return Frame(index, index, Fraction(1, 25), image, aspect)


def clip_of(samples, start=0):
    return Clip(tuple(samples), Span(start, len(samples)), samples[0].crop, (start, start + 1), Fraction(1, 25))


def input_of(gpu, spec, clips, dtype=np.float32):
    """The clips as `Gather` writes them."""
    shape = (len(clips), 3, len(clips[0].samples), *spec.size)
    gather = Gather(gpu, spec, shape[2])
    with gpu.entered():
        stream, out = gpu.stream(), gpu.upload(np.full(shape, 7, dtype), 0)
        gather.write(clips, out, stream)
        found = np.zeros(shape, dtype)
        gpu.read(out.pointer, found, stream.handle)
        stream.close()
    return found


@pytest.mark.skipif(_compiled is None, reason="installed without a C++ compiler")
@pytest.mark.parametrize("seed", range(6))
def test_what_the_network_sees_is_what_it_sees_of_the_host(gpu_double, seed):
    gpu_double(seed=seed, kind=("discrete", "integrated")[seed % 2])
    rng, spec, aspect = np.random.default_rng(seed), SPECS[seed % 3], ASPECTS[seed // 2]
    gpu = Gpu.of()
    place = CudaPlace(gpu)
    sampler, seen, expected = place.sampler(spec), [], []
    for index in range(5):
        height, width = SIZES[int(rng.integers(3))]
        layout = list(Layout)[int(rng.integers(3))]
        picture = make_picture(layout, height, width, seed=int(rng.integers(1000)), pad=int(rng.integers(9)))
        image = place.bring(picture)
        assert place.bring(image) is image
        assert (image.where, image.layout, image.width, image.height) == ("cuda:0", layout, width, height)
        seen.append(sampler.put(frame_of(image, index, aspect)))
        expected.append(sample(frame_of(picture, index, aspect), spec))
        back = place.host(image)
        assert back.layout is layout
        assert all(map(np.array_equal, back.planes, picture.planes))
    assert [one.crop for one in seen] == [one.crop for one in expected]
    mixed = [seen[0], expected[1], *seen[2:]]
    for dtype in (np.float32, np.float16):
        found = input_of(gpu, spec, [clip_of(mixed[:4]), clip_of(mixed[1:], 1)], dtype)
        assert np.array_equal(found, tensor([clip_of(expected[:4]), clip_of(expected[1:], 1)], spec).astype(dtype))
    assert all(np.array_equal(one.pixels, other.pixels) for one, other in zip(seen, expected, strict=True))
    assert (place.uploads, place.host_copies) == (5, 5)
    assert place.leases == 6  # five samples, and the last picture
    del image, seen, mixed
    assert place.leases == 0
    place.close()


def test_after_the_first_frames_nothing_is_allocated(gpu_double):
    """And a frame goes up once, and comes down once if it is asked for."""
    double = gpu_double(seed=11)
    place, spec = CudaPlace(Gpu.of()), SPECS[0]
    told = place.reserve(Needs((64, 48), Layout.NV12, 3, 6, spec))
    assert told == "0 MB: 3 pictures of 64x48, 6 samples of 40x24"
    sampler, window = place.sampler(spec), []
    with Gpu.of().entered():
        stream, gather = Gpu.of().stream(), Gather(Gpu.of(), spec, 4)
        out = Gpu.of().upload(np.zeros((1, 3, 4, *spec.size), np.float32), 0)
    for index in range(30):
        if index == 10:
            before, copied = double.counts, double.copies
        image = place.bring(make_picture(Layout.NV12, 48, 64, seed=index))
        window = [*window[-3:], sampler.put(frame_of(image, index))]
        if len(window) == 4:
            with Gpu.of().entered():
                gather.write([clip_of(window)], out, stream)
        if index % 2:
            place.host(image)
    after = double.counts
    kinds = ("allocations", "frees", "pinned_allocations", "pinned_frees", "modules_loaded", "contexts_made")
    assert {kind: after[kind] - before[kind] for kind in kinds} == dict.fromkeys(kinds, 0)
    assert double.copies["HtoD"] - copied["HtoD"] == 20
    assert double.copies["DtoH"] - copied["DtoH"] == 2 * 10  # two planes each
    assert (place.uploads, place.host_copies, place.leases) == (30, 15, 5)
    del image, window
    stream.close()
    place.close()


def test_bringing_and_sampling_wait_for_nothing(gpu_double):
    double = gpu_double(seed=0)
    place = CudaPlace(Gpu.of())
    sampler = place.sampler(SPECS[0])
    sampler.put(frame_of(place.bring(make_picture(Layout.I420, 48, 64))))  # tables are uploaded, and waited for
    before = sum(double.report["waits"].values())
    for index in range(3):
        sampler.put(frame_of(place.bring(make_picture(Layout.I420, 48, 64)), index))
    assert sum(double.report["waits"].values()) == before
    place.close()


def test_who_lent_the_memory_of_a_picture_is_told_how_long_it_is_read(gpu_double):
    gpu_double(seed=0)
    place, told = CudaPlace(Gpu.of()), []
    picture = place.bring(make_picture(Layout.I420, 48, 64))
    lent = DevicePicture(place.gpu, picture.surface, picture.ready, SimpleNamespace(used=told.append))
    sample = place.sampler(SPECS[0]).put(frame_of(lent))
    assert told == [sample.ready]
    lent.drawn(picture.ready)
    assert told == [sample.ready, picture.ready]
    place.close()


def test_a_picture_on_the_host_outlives_the_place_and_is_its_own(gpu_double):
    gpu_double(seed=3)
    place = CudaPlace(Gpu.of())
    pictures = [make_picture(Layout.RGB, 20, 30, seed=seed) for seed in range(4)]
    found = [place.host(place.bring(picture)) for picture in pictures]
    place.close()
    for one, other in zip(found, pictures, strict=True):
        assert np.array_equal(one.planes[0], other.planes[0])
        one.planes[0][...] = 0  # writable


def test_memory_is_refused_in_one_line_when_there_is_too_little(gpu_double):
    double = gpu_double(memory=40_000_000)
    place = CudaPlace(Gpu.of())
    with pytest.raises(ModelError, match=r"has \d+ MB free, and this stream needs 187 MB: 60 pictures of 1920x1080"):
        place.reserve(Needs((1920, 1080), Layout.NV12, 60, 10, SPECS[0]))
    assert double.live["device"] == 0
    assert place.reserve(Needs((64, 48), Layout.NV12, 4, 4, SPECS[0])).startswith("0 MB: 4 pictures of 64x48, 4 sam")
    assert double.live["device"] == 8
    place.close()


def test_all_pictures_in_use_is_said_in_one_line(gpu_double):
    gpu_double()
    place = CudaPlace(Gpu.of())
    place.reserve(Needs((64, 48), Layout.RGB, 2, 1, SPECS[0]))
    held = [place.bring(make_picture(Layout.RGB, 48, 64)) for _ in range(2)]
    with pytest.raises(ModelError, match=r"all 2 blocks of 0.0 MB on cuda:0 are in use"):
        place.bring(make_picture(Layout.RGB, 48, 64))
    held.pop()
    place.bring(make_picture(Layout.RGB, 48, 64))
    other = place.bring(make_picture(Layout.RGB, 24, 64))  # of another size: as many again
    assert place.leases == 2
    del held, other
    place.close()


@pytest.mark.parametrize("seed", range(8))
def test_a_block_is_leased_again_only_after_its_last_use(gpu_double, seed):
    """The double calls it an error if the next writer overtakes the last reader."""
    double = gpu_double(seed=seed)
    gpu, read = Gpu.of(), []
    with gpu.entered():
        pool, first, second = Pool(gpu, 256, 2), gpu.stream("high"), gpu.stream("low")
        for number in range(8):
            block = pool.take(first)
            memory = [(block.pointer, 256)]
            target = double.memory(block.pointer, (256,))
            double.work(first.handle, lambda target=target, number=number: target.fill(number), writes=memory)
            ready = first.record()
            block.used(ready)
            second.wait(ready)
            double.work(second.handle, lambda target=target: read.append(int(target[7])), reads=memory)
            block.used(second.record())
            del block
        first.synchronize()
        second.synchronize()
    assert read == list(range(8))
    assert pool.leased == 0
    assert double.counts["allocations"] <= 2
    pool.close()
    first.close()
    second.close()


COLORS = [Color(), Color("bt601", full_range=True)]


@pytest.mark.skipif(_compiled is None, reason="installed without a C++ compiler")
@pytest.mark.parametrize("size", [(64, 48), (70, 24)])
@pytest.mark.parametrize("wanted", Layout)
@pytest.mark.parametrize("layout", Layout)
def test_a_picture_that_changes_gets_the_cpus_bytes_and_stays(gpu_double, layout, wanted, size):
    gpu_double(seed=size[0])
    place = CudaPlace(Gpu.of())
    for number, (seen, color) in enumerate([(COLORS[0], COLORS[0]), COLORS, COLORS[::-1]]):
        picture = make_picture(layout, 48, 64, seed=number, color=seen, pad=number)
        image = place.bring(picture)
        fitted, expected = place.fit(image, size, wanted, color), fit(picture, size, wanted, color)
        assert (fitted is image) == (expected is picture)
        assert (fitted.where, fitted.width, fitted.height) == ("cuda:0", *size)
        assert (place.uploads, place.host_copies) == (number + 1, number)
        found = place.host(fitted)
        assert (found.layout, found.color) == (expected.layout, expected.color)
        assert all(map(np.array_equal, found.planes, expected.planes))
        assert place.fit(picture, size, wanted, color).where == "host"
        del image, fitted
    assert place.leases == 0
    place.close()


@pytest.mark.skipif(_compiled is None, reason="installed without a C++ compiler")
@pytest.mark.parametrize("format", [Format.P010, Format.BGR, Format.BGRA, Format.RGBA])
@pytest.mark.parametrize("wanted", Layout)
def test_formats_that_the_host_has_not_are_made_alike_too(gpu_double, format, wanted):
    double, rng = gpu_double(seed=1), np.random.default_rng(3)
    place, size = CudaPlace(Gpu.of()), (34, 18)
    memory = double.array(rng.integers(0, 256, bytes_of(format, size), np.uint8))
    if format is Format.P010:
        memory.values.view(np.uint16)[...] &= 0xFFC0  # the lower six bits say nothing
    image = DevicePicture(place.gpu, laid_out(format, size, Color(), memory.pointer))
    expected = fit(place.host(image), (21, 30), wanted, COLORS[1])
    found = place.host(place.fit(image, (21, 30), wanted, COLORS[1]))
    pairs = zip(found.planes, expected.planes, strict=True)
    off = max(np.abs(one.astype(int) - other).max() for one, other in pairs)
    assert off <= (2 if format is Format.P010 else 0)  # whose ten bits the host rounds to eight first
    del image
    place.close()


def test_a_picture_of_another_gpu_is_not_made_alike(gpu_double):
    gpu_double(gpus=2)
    place, other = CudaPlace(Gpu.of(0)), CudaPlace(Gpu.of(1))
    with pytest.raises(ValueError, match="an image on cuda:1 cannot be made alike on cuda:0"):
        place.fit(other.bring(make_picture(Layout.RGB, 8, 8)), (4, 4), Layout.RGB, Color())
    place.close()
    other.close()


@pytest.mark.parametrize("format", [Format.P010, Format.BGRA, Format.BGR])
def test_formats_that_the_host_has_not_come_down_as_those_it_has(gpu_double, format):
    double = gpu_double()
    gpu = Gpu.of()
    place, rng, size = CudaPlace(gpu), np.random.default_rng(2), (34, 18)
    memory = double.array(rng.integers(0, 256, bytes_of(format, size), np.uint8))
    surface = laid_out(format, size, Color(), memory.pointer)
    found = place.host(DevicePicture(gpu, surface))
    row = surface.places[0].pitch
    first = memory.values[: 18 * row].reshape(18, row)
    if format is Format.P010:
        expected = np.minimum((first[:, :68].copy().view(np.uint16) / 256 + 1 / 512).round(), 255)
        assert found.layout is Layout.NV12
        assert np.abs(found.planes[0].astype(int) - expected).max() <= 1
    else:
        channels = 4 if format is Format.BGRA else 3
        assert np.array_equal(found.planes[0], first[:, : 34 * channels].reshape(18, 34, channels)[..., 2::-1])
    place.close()


def test_what_is_elsewhere_is_refused(gpu_double):
    gpu_double(gpus=2)
    place, other = CudaPlace(Gpu.of(0)), CudaPlace(Gpu.of(1))
    image, picture, sampler = other.bring(make_picture(Layout.RGB, 8, 8)), make_picture(Layout.RGB, 8, 8), place.sampler
    for refuse, given in (
        (place.bring, image),
        (place.host, image),
        (sampler(SPECS[0]).put, frame_of(image)),
        (sampler(SPECS[0]).put, frame_of(picture)),
    ):
        with pytest.raises(ValueError, match=r"an image on (cuda:1|host) cannot be"):
            refuse(given)
    place.close()
    other.close()


def test_samples_of_the_host_go_up_once(gpu_double):
    double = gpu_double()
    gpu, spec = Gpu.of(), SPECS[1]
    rng = np.random.default_rng(0)
    samples = [HostSample(rng.integers(0, 256, (*spec.size, 3), np.uint8), Crop()) for _ in range(6)]
    gather = Gather(gpu, spec, 4)
    with gpu.entered():
        stream, out = gpu.stream(), gpu.upload(np.zeros((1, 3, 4, *spec.size), np.float32), 0)
        gather.write([clip_of(samples[:4])], out, stream)
        before = double.copies["HtoD"]
        gather.write([clip_of(samples[2:], 2)], out, stream)
        assert double.copies["HtoD"] == before + 2
        found = np.zeros(out.shape, np.float32)
        gpu.read(out.pointer, found, stream.handle)
        with pytest.raises(ValueError, match="out must be"):
            gather.write([clip_of(samples[:3])] * 2, out, stream)
        with pytest.raises(ValueError, match="clips must be of 4 samples"):
            gather.write([clip_of(samples[:3])], out, stream)
    assert np.array_equal(found, tensor([clip_of(samples[2:], 2)], spec))
    stream.close()
    del gather
    gc.collect()


def test_pictures_of_three_sizes_in_turn_allocate_little(gpu_double):
    """A source, its outputs and the pictures of an outage may differ; the size that is used most stays."""
    double = gpu_double()
    place = CudaPlace(Gpu.of())
    large, small = make_picture(Layout.NV12, 48, 64), [make_picture(Layout.RGB, 20, 30), make_picture(Layout.RGB, 9, 9)]
    place.bring(large)
    place.bring(small[0])
    for _ in range(3):
        for _ in range(2):
            place.bring(large)
        place.bring(small[0])
    before = double.counts
    place.bring(large)
    place.bring(small[1])  # the second size goes, not the first
    place.bring(large)
    after = double.counts
    assert after["allocations"] - before["allocations"] == 1
    assert after["pinned_allocations"] == before["pinned_allocations"]
    place.close()


def test_a_block_is_not_lost_where_its_last_use_cannot_be_waited_for(gpu_double):
    double, gpu = gpu_double(), Gpu.of()
    pool = Pool(gpu, 1000, 1)
    with gpu.entered():
        writer, reader = gpu.stream(), gpu.stream()
        pool.take(writer).used(writer.record())
        double.fail("cuStreamWaitEvent", 700)
        with pytest.raises(ModelError):
            pool.take(reader)
        assert pool.leased == 0
        pool.take(reader)
        pool.close()
        writer.close()
        reader.close()


def test_uploads_that_fail_take_nothing_with_them(gpu_double):
    double = gpu_double()
    place, picture = CudaPlace(Gpu.of()), make_picture(Layout.NV12, 48, 64)
    place.bring(picture)
    for function in ("cuMemcpyHtoDAsync", "cuEventRecord") * 5:  # more often than there is pinned memory for
        double.fail(function, 2)
        with pytest.raises(ModelError):
            place.bring(picture)
    for number in range(10):
        changed = make_picture(Layout.NV12, 48, 64, seed=number)
        assert np.array_equal(place.host(place.bring(changed)).planes[0], changed.planes[0])
    assert place.leases == 0
    place.close()


@pytest.mark.parametrize("function", ["cuCtxPushCurrent", "cuEventRecord", "cuEventSynchronize"])
def test_a_place_is_closed_also_where_a_step_of_it_fails(gpu_double, function):
    """The double tells at the end what was left."""
    double = gpu_double()
    place, other = CudaPlace(Gpu.of()), Gpu.of().stream
    with Gpu.of().entered():
        reader = other()
        for size in (16, 32):
            image = place.bring(make_picture(Layout.RGB, size, size))
            for _ in range(20):
                image.used(place.frames.stream.record())
                image.used(reader.record())
            del image
        reader.close()
    double.fail(function, 2)
    place.close()


@pytest.mark.parametrize(("stored", "megabytes"), [("", 37), ("p010", 75), ("rgba", 100)])
def test_memory_is_counted_as_pictures_lie_there(gpu_double, stored, megabytes):
    double = gpu_double(memory=200_000_000)
    place, layout = CudaPlace(Gpu.of()), Layout.RGB if stored == "rgba" else Layout.NV12
    told = place.reserve(Needs((1920, 1080), layout, 12, 1, SPECS[0], stored=stored))
    kind = f" in {stored}" if stored else ""
    assert told == f"{megabytes} MB: 12 pictures of 1920x1080{kind}, 1 samples of 40x24"
    assert round(double.live["device_bytes"] / 1e6) == megabytes
    size = (1920, 1080)
    before = double.counts["allocations"]
    format = Format(stored or layout.value)
    block = double.array(np.zeros(bytes_of(format, size), np.uint8))
    lent = DevicePicture(place.gpu, laid_out(format, size, Color(), block.pointer))
    kept = place.bring(lent, keep=True)
    assert (double.counts["allocations"] - before, place.copies) == (0, 1)
    del kept, lent
    place.close()


def test_a_network_that_cannot_be_drawn_is_refused_at_the_start(gpu_double):
    double = gpu_double()
    place = CudaPlace(Gpu.of())
    with pytest.raises(UsageError, match="at most 64 cells on an axis, this network has 4x65: frames must live on the"):
        place.reserve(Needs((64, 48), Layout.NV12, 2, 2, SPECS[0], (4, 65)))
    assert double.live["device"] == 0
    place.reserve(Needs((64, 48), Layout.NV12, 2, 2, SPECS[0], (64, 64)))
    place.close()
