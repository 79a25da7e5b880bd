"""What every source must do: files, patterns, RTSP and the web, through PyAV and through GStreamer, into any memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from gpupictures import bytes_on_gpu, downloaded, scribble
from memories import CUDA, ON_HOST, Memory, memory_of, over, pairs
from saliency_tubes.engine.errors import SourceError, UsageError
from saliency_tubes.engine.picture import HOST, Picture
from saliency_tubes.engine.types import Frame
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.net.redact import redact
from saliency_tubes.stream.sources.arrays import ArraySource
from saliency_tubes.stream.sources.base import Source, SourceOptions
from saliency_tubes.stream.sources.gst_description import describe
from saliency_tubes.stream.sources.gst_feed import available
from saliency_tubes.stream.sources.open import open_source
from servers import RtspServer, python_with_gi
from videos import make_video
from waiting import wait_for
from web import make_hls, web

FILES = ["mp4-av", "file", "gst", "loop-av", "loop-gst", "realtime", "test", "arrays"]
LIVE = ["rtsp-av", "rtsp-gst", *(f"{kind}-{backend}" for kind in ("mjpeg", "hls", "http") for backend in ("av", "gst"))]
LIVE += ["pipeline-gst"]
BACKENDS = ["av", "gst"]
ON_GPU = ["mp4-av", "loop-av", "gst", "loop-gst", *(name for name in LIVE if name != "mjpeg-av")]
"""What is decoded into the memory of a GPU, or brought there by GStreamer. NVIDIA's decoders know no MJPEG."""
PIPELINE = "gst://videotestsrc is-live=true ! video/x-raw,width=96,height=64,framerate=30/1"
SLOW = {
    "test": "test://?size=160x96&rate=1/100",
    "pipeline": "gst://videotestsrc is-live=true ! video/x-raw,width=96,height=64,framerate=1/100",
}
"""addresses whose second frame comes after 100 seconds"""
HANGS = 20.0
"""seconds after which a reader is taken to hang"""
ADDRESSES = {"mjpeg": "{}/mjpeg", "hls": "{}/live.m3u8", "http": "{}/live.mp4"}


@pytest.fixture(scope="module")
def server() -> Iterator[RtspServer]:
    if python_with_gi() is None:
        pytest.skip("no Python here has GstRtspServer (make system-deps)")
    with RtspServer(size="64x48", rate=25) as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a web server, whose thread is there before those of each test are counted."""
    folder = tmp_path_factory.mktemp("web")
    make_hls(folder, "live", ended=True)
    with web(folder) as address:
        yield address


def needs_gst() -> None:
    if not available():
        pytest.skip("this Python has no GStreamer: link the system's gi package into it")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "a clip #1.mp4", frames=12)


@pytest.fixture
def memory(request: pytest.FixtureRequest) -> Iterator[Memory]:
    with memory_of(request.param, request) as memory:
        yield memory


@pytest.fixture(params=pairs(over(FILES + LIVE, there=ON_GPU)))
def source(request: pytest.FixtureRequest, clip: Path) -> Iterator[Source]:
    """Twelve frames, or a stream that is stopped after that many."""
    kind, where = request.param
    if "gst" in kind:
        needs_gst()
    with memory_of(where, request) as memory, closing(opened(kind, memory, clip, request)) as source:
        yield source


def opened(name: str, memory: Memory, clip: Path, request: pytest.FixtureRequest) -> Source:
    kind, _, backend = name.partition("-")
    if kind == "test":
        return open_source("test://?size=160x96&frames=12")
    if kind == "arrays":
        return ArraySource((np.full((48, 64, 3), shade, np.uint8) for shade in range(12)), Fraction(25))
    if name in LIVE:
        if kind == "rtsp":
            url = request.getfixturevalue("server").url()
        elif kind == "pipeline":
            url = PIPELINE
        else:
            url = ADDRESSES[kind].format(request.getfixturevalue("address"))
        return memory.open(url, SourceOptions(backend=backend))
    library = backend if backend else "gst" if kind == "gst" else "auto"
    options = SourceOptions(backend=library, loop=kind == "loop", realtime=kind == "realtime")
    return memory.open(clip.as_uri() if kind == "file" else str(clip), options)


def take(source: Source, count: int = 12) -> list[Frame]:
    return list(islice(source, count))


def test_frames_are_numbered_and_fit_the_info(source: Source) -> None:
    frames = take(source)
    assert [frame.index for frame in frames] == list(range(12))
    assert all(earlier.pts < later.pts for earlier, later in pairwise(frames))
    assert not any(frame.gap for frame in frames)
    for frame in frames:
        image = frame.image
        assert (image.width, image.height) == (source.info.width, source.info.height)
        assert (frame.time_base, frame.pixel_aspect) == (source.info.time_base, source.info.pixel_aspect)
        assert (image.layout, image.color) == (source.info.layout, source.info.color)


def test_frames_lie_in_the_memory_that_was_asked_for(source: Source, request: pytest.FixtureRequest) -> None:
    """What goes there is said, too."""
    where = "cuda:0" if request.node.callspec.params["source"][1] == CUDA else HOST
    assert {frame.image.where for frame in take(source, 3)} == {where}
    assert (where in source.info.decoder) == (where != HOST)


@pytest.mark.parametrize(
    ("kind", "memory"), over(["mp4-av", "gst", "http-av", "http-gst"], there=ON_GPU), indirect=["memory"]
)
def test_frames_belong_to_the_receiver(kind: str, memory: Memory, clip: Path, request: pytest.FixtureRequest) -> None:
    """Scribbling over every frame must not reach the decoder's reference frames."""
    if kind.endswith("gst"):
        needs_gst()
    with closing(opened(kind, memory, clip, request)) as source, closing(opened(kind, ON_HOST, clip, request)) as clean:
        for frame, untouched in islice(zip(source, clean, strict=True), 12):
            for plane, expected in zip(planes_of(frame), planes_of(untouched), strict=True):
                np.testing.assert_array_equal(plane, expected)
            scribble(frame.image)


def planes_of(frame: Frame) -> list[np.ndarray]:
    """Y, U and V, wherever they lie and however U and V do."""
    luma, *chroma = downloaded(frame.image).planes
    return [luma, *(chroma if len(chroma) == 2 else (chroma[0][..., index] for index in (0, 1)))]


def test_no_two_frames_share_memory(source: Source) -> None:
    """Whoever keeps a frame, as outputs in a thread of their own do, keeps no copy."""
    for one, other in pairwise(take(source, 6)):
        if isinstance(one.image, Picture):
            for plane, later in zip(one.picture.planes, other.picture.planes, strict=True):
                assert not np.shares_memory(plane, later)
        else:
            assert not set(bytes_on_gpu(one.image)) & set(bytes_on_gpu(other.image))


@pytest.mark.parametrize(("backend", "memory"), over(["gst"]), indirect=["memory"])
def test_both_backends_see_the_same(backend: str, memory: Memory, clip: Path) -> None:
    needs_gst()
    one, two = open_source(str(clip)), memory.open(str(clip), SourceOptions(backend=backend))
    assert (one.info.width, one.info.height, one.info.rate) == (two.info.width, two.info.height, two.info.rate)
    assert (one.info.layout, one.info.color) == (two.info.layout, two.info.color)
    for frame, other in zip(one, two, strict=True):
        assert frame.time == pytest.approx(other.time, abs=1e-4)
        for plane, same in zip(planes_of(frame), planes_of(other), strict=True):
            np.testing.assert_array_equal(plane, same)
    one.close()
    two.close()


def test_a_second_iteration_goes_on(source: Source) -> None:
    first = next(iter(source))
    assert [first.index, *(frame.index for frame in take(source, 11))] == list(range(12))


@pytest.mark.parametrize(("kind", "memory"), over(["mp4-av", "gst", "realtime"], there=["gst"]), indirect=["memory"])
def test_files_end(kind: str, memory: Memory, clip: Path, request: pytest.FixtureRequest) -> None:
    if kind == "gst":
        needs_gst()
    with closing(opened(kind, memory, clip, request)) as source:
        assert len(list(source)) == 12
        assert list(source) == []


def test_close_ends_the_stream_and_may_be_called_twice(source: Source) -> None:
    next(iter(source))
    source.close()
    source.close()
    assert list(source) == []


def after_stop(source: Source) -> list[Frame]:
    """The next frame, if one still comes after another thread has called `stop`."""
    take(source, 3)
    stopper = threading.Thread(target=source.stop)
    stopper.start()
    stopper.join()
    return take(source, 1)


def test_stop_ends_the_stream_from_another_thread(source: Source) -> None:
    """Of sources that have at least nine more frames, or go on for ever."""
    assert after_stop(source) == []


def test_a_source_that_is_deaf_to_stop_is_found(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as deaf:
        deaf.setattr(source, "stop", lambda: None)
        assert len(after_stop(source)) == 1


def open_slow(kind: str, memory: Memory, folder: Path, request: pytest.FixtureRequest) -> Source:
    """A source whose first frames come at once, and the next ones after minutes, or never."""
    kind, _, backend = kind.partition("-")
    if backend == "gst":
        needs_gst()
    options = SourceOptions(backend=backend or "auto", realtime=kind in ("realtime", "loop"), loop=kind == "loop")
    if kind in ("realtime", "loop"):
        return memory.open(str(make_video(folder / "slow.mp4", frames=12, rate=Fraction(1, 100))), options)
    if kind == "mjpeg":
        return memory.open(f"{request.getfixturevalue('address')}/mjpeg?frames=12", options)
    return memory.open(SLOW[kind], options)


def comes_back(source: Source, stop: Callable[[], None]) -> bool:
    """Whether somebody who waits for a frame leaves the loop when told to stop."""
    reader = threading.Thread(target=lambda: [None for _ in source], daemon=True)
    reader.start()
    stop()
    reader.join(HANGS)
    return not reader.is_alive()


@pytest.mark.parametrize(
    ("kind", "memory"),
    over(["realtime", "loop", "test", "mjpeg-av", "mjpeg-gst", "pipeline-gst"], there=ON_GPU),
    indirect=["memory"],
)
def test_stop_wakes_a_reader_that_waits(
    kind: str, memory: Memory, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = open_slow(kind, memory, tmp_path, request)
    assert comes_back(source, source.stop)
    source.close()


def open_frozen(
    kind: str, memory: Memory, request: pytest.FixtureRequest
) -> tuple[Source, Callable[[], None], Callable[[], None]]:
    """A source, what makes its server fall silent with all connections open, and what wakes the server again."""
    kind, _, backend = kind.partition("-")
    if backend == "gst":
        needs_gst()
    # Nothing wakes PyAV inside a read: it comes back when the read's time, which is `stall`, is up.
    options = SourceOptions(backend=backend, stall=3 * HANGS if backend == "gst" else 3)
    if kind == "hls":
        return memory.open(f"{request.getfixturevalue('address')}/stuck/live.m3u8", options), bool, bool
    server = request.getfixturevalue("server")
    return memory.open(server.url(), options), server.freeze, server.thaw


@pytest.mark.parametrize(
    ("kind", "memory"),
    over(["rtsp-av", "rtsp-gst", "hls-av", "hls-gst"], slow=["hls-av", "hls-gst"]),
    indirect=["memory"],
)
def test_a_frozen_server_holds_neither_stop_nor_close(
    kind: str, memory: Memory, request: pytest.FixtureRequest
) -> None:
    """The reader waits for a frame that does not come, and would try again for ever if it were not stopped."""
    source, freeze, thaw = open_frozen(kind, memory, request)
    came = [time.monotonic()]
    reader = threading.Thread(target=lambda: came.extend(time.monotonic() for _ in source), daemon=True)
    closer = threading.Thread(target=source.close, daemon=True)
    try:
        take(source, 3)
        freeze()
        reader.start()
        wait_for(lambda: time.monotonic() - came[-1] > 1)
        source.stop()
        reader.join(HANGS)
        assert not reader.is_alive()
        closer.start()
        closer.join(HANGS)
        assert not closer.is_alive()
    finally:
        thaw()
        source.stop()
        reader.join()  # nobody may close a source that is being read
        source.close()


def test_a_source_that_leaves_its_reader_waiting_is_found(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "HANGS", 0.5)
    source = open_slow("realtime", ON_HOST, tmp_path, request)
    assert not comes_back(source, lambda: None)
    source.stop()


def test_a_good_stream_has_no_remarks(source: Source, request: pytest.FixtureRequest) -> None:
    take(source)
    live = request.node.callspec.params["source"][0] in (*LIVE, "realtime")
    assert (source.health().errors, tuple(source.remarks), source.live) == (0, (), live)


@pytest.mark.parametrize(("backend", "memory"), over(["auto", "gst"]), indirect=["memory"])
def test_a_loop_goes_on_over_the_seam(backend: str, memory: Memory, clip: Path) -> None:
    if backend == "gst":
        needs_gst()
    source = memory.open(str(clip), SourceOptions(backend=backend, loop=True))
    frames = take(source, 30)
    assert [frame.index for frame in frames if frame.gap] == [12, 24]
    assert {b.pts - a.pts for a, b in pairwise(frames)} == {frames[1].pts - frames[0].pts}
    assert (source.info.expected_frames, source.info.duration) == (None, None)
    source.close()


def test_real_time_is_the_files_own_speed(clip: Path) -> None:
    source = open_source(str(clip), SourceOptions(realtime=True))
    start = time.monotonic()
    late = [time.monotonic() - start - frame.time for frame in source]
    assert min(late) >= -0.01
    source.close()


@pytest.mark.parametrize("uri", ["ftp://user:hush@host/x", "ndi://user:hush@host"])
def test_other_schemes_say_what_is_accepted(uri: str) -> None:
    with pytest.raises(UsageError, match="not an input of this version; give a video file, rtsp://") as caught:
        open_source(uri)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("uri", ["", "-", "file://host/clip.mp4", "csi://front", "gst://", "a\0.mp4", "file:///a%00"])
def test_inputs_that_make_no_sense(uri: str) -> None:
    with pytest.raises(UsageError):
        open_source(uri)


def test_certificates_under_a_name_that_no_file_can_have() -> None:
    with pytest.raises(UsageError, match="tls-ca must be a file of certificates, or any, got"):
        open_source("rtsp://camera/", SourceOptions(tls_ca="a\0.pem"))


@pytest.mark.parametrize(("backend", "memory"), over(BACKENDS), indirect=["memory"])
def test_a_name_that_the_system_does_not_take(tmp_path: Path, backend: str, memory: Memory) -> None:
    if backend == "gst":
        needs_gst()
    with pytest.raises(SourceError, match=r"^[^\n]*: File name too long$"):
        memory.open(str(tmp_path / f"{'x' * 300}.mp4"), SourceOptions(backend=backend))


@pytest.mark.parametrize(("backend", "memory"), over(BACKENDS), indirect=["memory"])
@pytest.mark.parametrize("uri", ["/dev/video77", "v4l2:///dev/video77", "rtsp://me:hush@127.0.0.1:1/x"])
def test_what_is_not_there_is_said_in_one_line(uri: str, backend: str, memory: Memory) -> None:
    if backend == "gst":
        needs_gst()
    with pytest.raises(SourceError) as caught:
        memory.open(uri, SourceOptions(backend=backend, first_timeout=0.1))
    assert str(caught.value).startswith(redact(uri) + ": ")
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(("backend", "memory"), over(BACKENDS), indirect=["memory"])
@pytest.mark.parametrize(
    ("host", "said"),
    [("127.0.0.1:1", "127.0.0.1 cannot be reached: connection refused"), ("camera.invalid", "no host is known")],
)
def test_why_a_server_cannot_be_reached(host: str, said: str, backend: str, memory: Memory) -> None:
    if backend == "gst":
        needs_gst()
    with pytest.raises(SourceError, match=said):
        memory.open(f"rtsp://{host}/x", SourceOptions(backend=backend, first_timeout=0.1))


def test_csi_is_a_pipeline() -> None:
    options = SourceOptions(size=(1920, 1080), rate=Fraction(60))
    description, settings = describe(Address.parse("csi://1"), options)
    assert settings == {}
    assert description == (
        "nvarguscamerasrc name=src sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1"
    )


def test_a_v4l2_camera_is_asked_for_its_format() -> None:
    options = SourceOptions(size=(640, 480), rate=Fraction(15), format="mjpeg")
    description, settings = describe(Address.parse("v4l2:///dev/video2"), options)
    assert description == "v4l2src name=src ! image/jpeg,width=640,height=480,framerate=15/1 ! decodebin"
    assert settings == {"device": "/dev/video2"}


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("clip.mp4", "clip.mp4"),
        ("a:b.mp4", "a:b.mp4"),
        ("file:///a/b%20c.mp4", "/a/b c.mp4"),
        ("file://localhost/a#1.mp4", "/a#1.mp4"),
        ("rtsp://host/x", None),
    ],
)
def test_file_path(uri: str, path: str | None) -> None:
    assert Address.parse(uri).file == (Path(path) if path else None)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("clip.mp4", "clip.mp4"),
        ("rtsp://host:554/live", "rtsp://host:554/live"),
        ("rtsp://user@host/live", "rtsp://***@host/live"),
        ("rtsp://user:hush@host:554/live", "rtsp://user:***@host:554/live"),
        ("rtsp://user:hu@sh@host/live", "rtsp://user:***@host/live"),
        ("rtsp://user:hu/sh@host/live", "rtsp://user:***@host/live"),
        ("rtsp://host:554/room@2", "rtsp://host:554/room@2"),
        ("http://host/x?user=me&password=hush&n=1", "http://host/x?user=me&password=***&n=1"),
        (
            "gst://rtspsrc location=rtsp://a:hush@b/c user-pw=hush ! fakesink",
            "gst://rtspsrc location=rtsp://a:***@b/c user-pw=*** ! fakesink",
        ),
    ],
)
def test_redact(uri: str, shown: str) -> None:
    assert redact(uri) == Address.parse(uri).shown == shown
    assert redact(shown) == shown


@pytest.mark.parametrize("wrong", [{"width": 0}, {"time_base": Fraction(0)}, {"rate": Fraction(-1)}])
def test_info_is_checked_when_made(wrong: dict[str, object]) -> None:
    good: dict[str, object] = {"width": 4, "height": 4, "time_base": Fraction(1, 25), "rate": None}
    assert VideoInfo(**good).rate is None  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=next(iter(wrong))):
        VideoInfo(**{**good, **wrong})  # type: ignore[arg-type]


def test_a_picture_can_be_written_to(source: Source) -> None:
    image = next(iter(source)).image
    if isinstance(image, Picture):
        assert all(plane.flags.writeable and plane.flags.c_contiguous for plane in image.planes)
    else:
        scribble(image)
        assert all((plane == 255).all() for plane in downloaded(image).planes)


@pytest.mark.parametrize(("kind", "memory"), over(["pipeline-gst"]), indirect=["memory"])
def test_frames_outlive_their_connection(kind: str, memory: Memory) -> None:
    """A connection that breaks is made again; its frames stay as they are for as long as somebody holds them."""
    needs_gst()
    with closing(memory.open(f"{PIPELINE} ! identity error-after=4")) as source:
        frames = take(source, 8)
        assert [frame.gap for frame in frames].count(True) >= 1
        first = downloaded(frames[0].image).copy()
    for plane, same in zip(downloaded(frames[0].image).planes, first.planes, strict=True):
        assert (plane == same).all()


@pytest.mark.parametrize(("kind", "memory"), over(["pipeline-gst"]), indirect=["memory"])
def test_another_size_comes_with_a_gap(kind: str, memory: Memory) -> None:
    needs_gst()
    raw = [f"video/x-raw,format=I420,width={width},height=64,framerate=30/1" for width in (96, 128)]
    parts = " ".join(f"videotestsrc num-buffers=5 ! {each} ! joined." for each in raw)
    with closing(memory.open(f"gst://{parts} concat name=joined ! identity sync=true")) as source:
        frames = take(source, 9)
        assert [frame.image.width for frame in frames] == [96] * 5 + [128] * 4
        assert [frame.gap for frame in frames] == [False] * 5 + [True] + [False] * 3
