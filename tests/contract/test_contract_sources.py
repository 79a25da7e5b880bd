"""What every source must do. There is one so far: files."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.picture import Picture
from saliency_tubes.stream.source import Source, VideoInfo, file_path, open_source, redact
from videos import make_video


@pytest.fixture(params=["mp4", "file"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    clip = make_video(tmp_path / "a clip #1.mp4", frames=12)
    return open_source(clip.as_uri() if request.param == "file" else str(clip))


def test_frames_are_numbered_and_fit_the_info(source: Source) -> None:
    frames = list(source)
    source.close()
    assert [frame.index for frame in frames] == list(range(12))
    assert all(earlier.pts < later.pts for earlier, later in pairwise(frames))
    for frame in frames:
        assert (frame.picture.width, frame.picture.height) == (source.info.width, source.info.height)
        assert (frame.time_base, frame.pixel_aspect) == (source.info.time_base, source.info.pixel_aspect)
        assert (frame.picture.layout, frame.picture.color) == (source.info.layout, source.info.color)


def test_planes_belong_to_the_receiver(source: Source) -> None:
    # Scribbling over every frame must not reach the decoder's reference frames.
    clean = open_source(source.name)
    for frame, untouched in zip(source, clean, strict=True):
        for plane, expected in zip(frame.picture.planes, untouched.picture.planes, strict=True):
            np.testing.assert_array_equal(plane, expected)
            plane[:] = 255
    source.close()
    clean.close()


def test_a_second_iteration_goes_on(source: Source) -> None:
    first = next(iter(source))
    assert [first.index, *(frame.index for frame in source)] == list(range(12))
    assert list(source) == []
    source.close()


def test_close_ends_the_stream_and_may_be_called_twice(source: Source) -> None:
    next(iter(source))
    source.close()
    source.close()
    assert list(source) == []


def test_a_good_stream_has_no_remarks(source: Source) -> None:
    list(source)
    assert (source.errors, source.remarks, source.live) == (0, (), False)
    source.close()


@pytest.mark.parametrize("uri", ["rtsp://user:hush@host/x", "test://", "gst://videotestsrc", "csi://0", "http://x/y"])
def test_other_schemes_say_what_is_accepted(uri: str) -> None:
    with pytest.raises(UsageError, match="not an input of this version; give the path") as caught:
        open_source(uri)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("uri", ["", "-", "/dev/video0", "file://host/clip.mp4"])
def test_inputs_that_are_no_files(uri: str) -> None:
    with pytest.raises(UsageError):
        open_source(uri)


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
    assert file_path(uri) == (Path(path) if path else None)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("clip.mp4", "clip.mp4"),
        ("rtsp://host:554/live", "rtsp://host:554/live"),
        ("rtsp://user@host/live", "rtsp://user@host/live"),
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
    assert redact(uri) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize("wrong", [{"width": 0}, {"time_base": Fraction(0)}, {"rate": Fraction(-1)}])
def test_info_is_checked_when_made(wrong: dict[str, object]) -> None:
    good: dict[str, object] = {"width": 4, "height": 4, "time_base": Fraction(1, 25), "rate": None}
    assert VideoInfo(**good).rate is None  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=next(iter(wrong))):
        VideoInfo(**{**good, **wrong})  # type: ignore[arg-type]


def test_picture_is_writable_and_contiguous(source: Source) -> None:
    picture: Picture = next(iter(source)).picture
    assert all(plane.flags.writeable and plane.flags.c_contiguous and plane.flags.owndata for plane in picture.planes)
    source.close()
