"""Clips that a file is calibrated on and checked with: those that a run would feed the network."""

import cv2
import numpy as np
import pytest
from saliency_tubes.engine.errors import SourceError, UsageError
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.export.clips import find_videos, read_clips
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sources.av_file import AvSource
from stubs import StubRunner
from videos import SWS_601, SWS_709, make_video, patch

SPEC = InputSpec((64, 96), (0.5, 0.4, 0.3), (0.2, 0.2, 0.2), resize="stretch")


def video(path, frames=30, rate=25.0):
    """Grey frames, each as bright as its number."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (48, 32))
    for index in range(frames):
        writer.write(np.full((32, 48, 3), 8 * index, np.uint8))
    writer.release()
    return path


def numbers(clip, spec):
    """The number of the frame that each sample of a clip is."""
    grey = clip[0, 0].mean(axis=(1, 2)) * spec.std[0] + spec.mean[0]
    return [round(float(value) * 255 / 8) for value in grey]


def test_clips_are_spread_over_a_video(tmp_path):
    first, second = read_clips([video(tmp_path / "a.avi")], SPEC, 8, per_clip=2)
    assert first.shape == (1, 3, 8, 64, 96)
    assert first.dtype == np.float32
    # 22 frames to spare, windows at a quarter and three quarters of them
    assert numbers(first, SPEC) == list(range(6, 14))
    assert numbers(second, SPEC) == list(range(16, 24))


def test_samples_are_as_far_apart_as_the_network_was_trained_on(tmp_path):
    (clip,) = read_clips([video(tmp_path / "a.avi", rate=50.0)], SPEC, 8)
    assert np.diff(numbers(clip, SPEC)).tolist() == [2] * 7


def test_a_short_video_has_its_last_frame_repeated(tmp_path):
    (clip,) = read_clips([video(tmp_path / "a.avi", frames=3)], SPEC, 8, per_clip=2)
    assert numbers(clip, SPEC) == [0, 1, 2, 2, 2, 2, 2, 2]


def test_a_folder_stands_for_its_videos(tmp_path):
    with pytest.raises(UsageError, match=r"no video in .*: looked for \.avi"):
        find_videos([tmp_path])
    for name in ("b.avi", "a.avi", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_videos([tmp_path])] == ["a.avi", "b.avi"]


def test_what_is_no_video_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"none\.mp4: no such file"):
        read_clips([tmp_path / "none.mp4"], SPEC, 8)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(SourceError, match=r"text\.mp4: not a video"):
        read_clips([tmp_path / "text.mp4"], SPEC, 8)
    with pytest.raises(UsageError, match="clip length and clips must be 1 or more"):
        read_clips([], SPEC, 8, per_clip=0)


@pytest.mark.parametrize("rate", [25, 60])
@pytest.mark.parametrize("frames", [40, 5])
def test_a_run_feeds_its_network_the_same_clips(tmp_path, frames, rate):
    path = make_video(tmp_path / "a.mp4", size=(128, 72), frames=frames, rate=rate, matrix=SWS_709)
    seen = []

    class Runner(StubRunner):
        def infer(self, data, class_ids=None):
            seen.append(data.copy())
            return super().infer(data, class_ids)

    runner = Runner()
    (clip,) = read_clips([path], runner.manifest.input, 8)
    stride = round(rate / 25)
    source = AvSource(path)
    try:
        with Pipeline(source, runner, [], Options(stride=stride, hop=1)) as pipeline:
            for _ in pipeline:
                pass
    finally:
        source.close()
    start = round(max(0, frames - 7 * stride - 1) / 2)
    np.testing.assert_array_equal(clip, seen[start])


@pytest.mark.parametrize("matrix", [SWS_601, SWS_709])
def test_colours_are_those_that_the_file_says(tmp_path, matrix):
    """A saturated green is 20 levels off where BT.709 is taken for BT.601."""
    colour = (30, 200, 60)
    path = make_video(tmp_path / "a.mp4", matrix=matrix, draw=patch(*colour), options={"crf": "1"})
    (clip,) = read_clips([path], SPEC, 8)
    mean, std = (np.array(values)[:, None, None, None] for values in (SPEC.mean, SPEC.std))
    found = (clip[0] * std + mean) * 255
    assert np.abs(found - np.array(colour)[:, None, None, None]).max() < 4


def test_a_file_that_is_shorter_than_it_says_is_no_clip(tmp_path, monkeypatch):
    path = video(tmp_path / "a.avi", frames=12)
    make = AvSource.__init__

    def boast(self, *args):
        make(self, *args)
        self.info = self.info.__class__(**{**vars(self.info), "expected_frames": 500})

    monkeypatch.setattr(AvSource, "__init__", boast)
    with pytest.raises(SourceError, match=r"a\.avi: it ends before frame 246, where the first clip of 8 frames begins"):
        read_clips([path], SPEC, 8)
