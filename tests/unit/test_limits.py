"""How large a picture may be: what counts, what is read from heads, and that FFmpeg's bound comes and goes."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import av
import cv2
import numpy as np
import pytest
from bombs import jpeg, png
from saliency_tubes.engine.errors import SourceError, UsageError
from saliency_tubes.stream.app.settings import read_settings
from saliency_tubes.stream.media import av_limits
from saliency_tubes.stream.media.limits import coded_size, exceeds, too_large
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source
from videos import make_video


def test_pixels_count_and_not_sides() -> None:
    assert not exceeds((4096, 2304), (4096, 2304))
    assert not exceeds((2304, 4096), (4096, 2304))
    assert not exceeds((65_500, 1), (4096, 2304))
    assert exceeds((4096, 2305), (4096, 2304))
    assert too_large((16_000, 9), (4096, 2)) == "a picture of 16000x9 has more pixels than --max-size 4096x2 allows"


@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]])
def test_the_size_in_a_head_of_jpeg(flags: list[int]) -> None:
    data = cv2.imencode(".jpg", np.zeros((30, 70, 3), np.uint8), flags)[1].tobytes()
    assert coded_size("image/jpeg", data) == (70, 30)
    thumbnail = b"\xff\xe1" + (2 + len(data)).to_bytes(2, "big") + data
    large = jpeg(1600)
    assert coded_size("image/jpeg", large[:2] + b"\xff" + thumbnail + large[2:]) == (1600, 1600)
    for end in range(40):
        assert coded_size("image/jpeg", data[:end]) is None


def test_the_size_in_other_heads() -> None:
    assert coded_size("image/png", png(1234)) == (1234, 1234)
    assert coded_size("image/png", png()[:23]) is None
    memory = io.BytesIO()
    with av.open(memory, "w", "ivf") as output:
        stream = output.add_stream("libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        output.mux(stream.encode(av.VideoFrame(320, 180, "yuv420p")))
        output.mux(stream.encode(None))
    assert coded_size("video/x-vp8", memory.getvalue()[32 + 12 :]) == (320, 180)
    assert coded_size("video/x-vp8", b"\x01" + bytes(20)) is None
    assert coded_size("video/x-h264", bytes(100)) is None


def test_the_option() -> None:
    (plain,) = read_settings(["a.mp4"]).streams
    assert plain.source.max_size == SourceOptions().max_size == (4096, 2304)
    (small,) = read_settings(["a.mp4", "--max-size", "640x480"]).streams
    assert small.source.max_size == (640, 480)
    with pytest.raises(UsageError, match=r"max-size must be 1x1 or more, got 0x9"):
        SourceOptions(max_size=(0, 9))


@pytest.mark.parametrize("size", [(100, 100), (98, 50), (2, 2400), (1920, 2)])
def test_a_picture_as_large_as_allowed_is_read(tmp_path, size) -> None:
    path = make_video(tmp_path / "clip.mkv", size=size, frames=3)
    source = open_source(str(path), SourceOptions(max_size=size))
    assert len(list(source)) == 3
    source.close()
    with pytest.raises(SourceError, match=f"a picture of {size[0]}x{size[1]} has more pixels than --max-size"):
        open_source(str(path), SourceOptions(max_size=(size[0], size[1] - 1)))


def test_bounds_of_blocks_end_in_any_order() -> None:
    take = lambda: av.VideoFrame(4096, 4096, "gray16le")  # noqa: E731  # 32 MiB in one block
    with av_limits.small_blocks((64, 64), 64 << 20):
        take()
        with av_limits.small_blocks((64, 64), 16 << 20), ThreadPoolExecutor(1) as other:
            future = other.submit(take)  # the bound is of the whole process
            with pytest.raises(MemoryError):
                future.result()
        take()
    av.VideoFrame(8192, 8192, "gray16le")  # 128 MiB: no bound is left
