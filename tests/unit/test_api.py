"""What `saliency_tubes` offers by name: explaining in a loop of one's own, drawing, notebooks, and closing again."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import saliency_tubes
from graphs import graph_of, network
from saliency_tubes import (
    PRESETS,
    Color,
    Explainer,
    Explanation,
    Frame,
    Layout,
    Picture,
    Pipeline,
    PipelineOptions,
    Shown,
    SinkOptions,
    Style,
    TubeAnnotator,
    UsageError,
    explain,
    open_runner,
    open_sink,
    open_source,
)
from saliency_tubes.engine.draw.style import palette

SIZE = (160, 96)
"""width, height"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Windows of 8 frames, 4 time slices, of which the middle two are to be trusted."""
    path = tmp_path_factory.mktemp("model") / "branches.onnx"
    onnx.save(graph_of(network(linear=True)), path)
    return path


def arrays(count: int, size: tuple[int, int] = SIZE) -> Iterator[np.ndarray]:
    """Noise that differs from frame to frame, in one array that is used again and again, as a camera's buffer is."""
    rng = np.random.default_rng(1)
    buffer = np.empty((size[1], size[0], 3), np.uint8)
    for _ in range(count):
        buffer[...] = rng.integers(0, 256, buffer.shape, np.uint8)
        yield buffer


@pytest.fixture(scope="module")
def explanation(model: Path) -> Explanation:
    with Explainer(model, stride=1) as explainer:
        made = [explainer.push(array) for array in arrays(8)]
    assert made[:-1] == [None] * 7
    assert made[-1] is not None
    return made[-1]


class TestExplain:
    def test_arrays_give_what_a_source_of_the_same_pictures_gives(self, model: Path) -> None:
        shown = list(explain(arrays(20), fps=25, model=model, stride=1))
        assert [one.frame.index for one in shown] == list(range(20))
        assert [one.frame.time for one in shown] == pytest.approx([index / 25 for index in range(20)])
        with Explainer(model, fps=25, stride=1) as explainer:
            pushed = [explainer.push(array) for array in arrays(20)]
        made = [one for one in pushed if one is not None]
        seen = {part.window: part for one in shown for part, _ in one.parts}
        assert [(one.label, one.tube.span) for one in made] == [(seen[one.window].label, seen[one.window].tube.span)
                                                                for one in made]  # fmt: skip
        for one in made:
            assert np.array_equal(one.tube.evidence, seen[one.window].tube.evidence)
            assert one.scale == seen[one.window].scale

    def test_an_explanation_is_one_object_on_all_its_frames(self, model: Path) -> None:
        shown = list(explain(arrays(20), model=model, stride=1))
        assert all(type(one) is Shown for one in shown)
        assert all(type(part) is Explanation for one in shown for part, _ in one.parts)
        objects = {id(part) for one in shown for part, _ in one.parts}
        assert len(objects) == len({part.window for one in shown for part, _ in one.parts}) > 3

    def test_arrays_are_written_to_outputs(self, model: Path, tmp_path: Path) -> None:
        film, lines = tmp_path / "film.mp4", tmp_path / "film.jsonl"
        count = sum(1 for _ in explain(arrays(12), film, lines, fps=Fraction(30000, 1001), model=model, stride=1))
        assert count == 12
        assert len(lines.read_text().splitlines()) == 3
        with_info = open_source(str(film))
        assert (with_info.info.width, with_info.info.height, with_info.info.rate) == (*SIZE, Fraction(30000, 1001))
        with_info.close()

    def test_a_dropped_generator_ends_its_threads_and_finishes_the_output(self, model: Path, tmp_path: Path) -> None:
        before = threading.active_count()
        film = tmp_path / "film.mp4"
        run = explain(arrays(500), film, model=model, stride=1)
        next(run)
        assert threading.active_count() > before
        del run
        assert threading.active_count() == before
        source = open_source(str(film))
        assert len(list(source)) >= 1
        source.close()

    def test_one_that_is_never_asked_opens_nothing(self, model: Path, tmp_path: Path) -> None:
        explain("no such file.mp4", tmp_path / "film.mp4", model=model).close()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ([], "there is no frame: the iterable is empty"),
            ([np.zeros((96, 160), np.uint8)], r"frame 0 must be RGB \[H, W, 3\] uint8, got \[96, 160\] uint8"),
            ([np.zeros((9, 9, 3))], r"frame 0 must be RGB \[H, W, 3\] uint8, got \[9, 9, 3\] float64"),
            (
                [np.zeros((96, 160, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)],
                "frame 1 is 64x64: all must be as large as the first, 160x96",
            ),
        ],
    )
    def test_what_are_no_frames_is_said_in_one_line(self, model: Path, given: list[np.ndarray], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            list(explain(given, model=model))

    def test_what_fails_while_arrays_are_made_is_raised_in_the_loop(self, model: Path) -> None:
        def failing() -> Iterator[np.ndarray]:
            yield from arrays(10)
            raise RuntimeError("the camera is gone")

        with pytest.raises(RuntimeError, match="the camera is gone"):
            list(explain(failing(), model=model, stride=1))

    def test_one_array_of_all_frames_is_a_video_too(self, model: Path) -> None:
        video = np.stack([array.copy() for array in arrays(9)])
        shown = list(explain(video, model=model, stride=1))
        assert len(shown) == 9
        assert all(np.array_equal(frame, array) for frame, array in zip(video, arrays(9), strict=True))

    @pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
    def test_fps_is_a_positive_number(self, fps: float) -> None:
        with pytest.raises(UsageError, match="fps must be more than 0"):
            list(explain(arrays(1), fps=fps))

    def test_fps_is_not_for_a_video(self) -> None:
        with pytest.raises(UsageError, match="fps is for arrays, a video has its own: leave fps=25 out"):
            explain("clip.mp4", fps=25)


class TestExplainer:
    def test_a_window_is_explained_when_a_hop_is_full(self, model: Path) -> None:
        with Explainer(model, stride=1, hop=3) as explainer:
            seen = [explainer.push(array) for array in arrays(16)]
            assert explainer.latest is seen[13]
        assert [index for index, one in enumerate(seen) if one is not None] == [7, 10, 13]

    def test_the_kept_frame_is_a_copy(self, model: Path, explanation: Explanation) -> None:
        *_, last = arrays(8)
        assert explanation.rgb is not None
        assert np.array_equal(explanation.rgb, last)
        assert not np.shares_memory(explanation.rgb, last)

    def test_the_rest_is_explained_at_the_end(self, model: Path) -> None:
        with Explainer(model, stride=1, hop=4) as explainer:
            for array in arrays(10):
                explainer.push(array)
            last = explainer.finish()
            assert last is not None
            assert (last.tube.span.start, last.tube.span.last) == (2, 9)
            assert explainer.finish() is None

    def test_a_window_has_no_frames_of_before_a_cut_or_of_another_size(self, model: Path) -> None:
        with Explainer(model, stride=1, hop=1) as explainer:
            for array in arrays(6):
                explainer.push(array)
            explainer.cut()
            seen = [explainer.push(array) for array in arrays(8)]
            assert [one.tube.span.start for one in seen if one is not None] == [6]
            seen = [explainer.push(array) for array in arrays(8, (64, 48))]
            assert [(one.tube.span.start, one.size) for one in seen if one is not None] == [(14, (64, 48))]

    def test_frames_bring_their_own_time(self, model: Path) -> None:
        with Explainer(model, stride=1) as explainer:
            for index, array in enumerate(arrays(8)):
                picture = Picture(Layout.RGB, (array.copy(),))
                explainer.push(Frame(index, 3 * index, Fraction(1, 50), picture))
            assert explainer.latest is not None
            assert (explainer.latest.pts, explainer.latest.time_base) == ((0, 21), Fraction(1, 50))

    def test_times_are_in_seconds_and_increase(self, model: Path) -> None:
        with Explainer(model, stride=1) as explainer:
            for index, array in enumerate(arrays(8)):
                explainer.push(array, time=10 + index / 10)
            assert explainer.latest is not None
            first, last = (float(pts * explainer.latest.time_base) for pts in explainer.latest.pts)
            assert (first, last) == pytest.approx((10, 10.7))
            with pytest.raises(UsageError, match=r"frame 8 at 10.5 s cannot come after frame 7 at 10.7 s"):
                explainer.push(next(arrays(1)), time=10.5)

    def test_stride_follows_the_rate(self, model: Path) -> None:
        for fps, stride in ((25, 1), (50, 2), (10, 1)):
            with Explainer(model, fps=fps) as explainer:
                assert (explainer.stride, explainer.hop) == (stride, 2 * stride)

    def test_a_closed_one_says_so(self, model: Path) -> None:
        explainer = Explainer(model)
        explainer.close()
        explainer.close()
        with pytest.raises(UsageError, match="this explainer is closed"):
            explainer.push(next(arrays(1)))

    @pytest.mark.parametrize("name", ["frames", "stride", "hop", "hold"])
    def test_counts_are_1_or_more(self, model: Path, name: str) -> None:
        with pytest.raises(UsageError, match=f"{name} must be 1 or more, got 0"):
            Explainer(model, **{name: 0})

    def test_a_class_that_is_not_there_is_named(self, model: Path) -> None:
        with pytest.raises(UsageError, match="no class 'd' among the model's 3"):
            Explainer(model, explain="d")


class TestDrawing:
    @pytest.mark.parametrize("style", PRESETS)
    def test_the_heat_map_is_what_is_drawn(self, model: Path, style: str) -> None:
        with Explainer(model, stride=1, preset=style) as explainer:
            for array in arrays(8):
                explainer.push(array)
            explanation = explainer.latest
        assert explanation is not None
        at = 3.2
        heat, rgb = explanation.heatmap(at), explanation.rgb
        assert (heat.shape, heat.dtype) == ((96, 160), np.float32)
        assert 0 <= heat.min() < heat.max() <= 1
        assert rgb is not None
        table = palette(PRESETS[style], Layout.RGB, Color())
        level = np.floor(255 * heat + table.level_bias).astype(int)
        by_hand = np.clip(np.floor(table.keep[level, None] * rgb + table.add[level]), 0, 255)
        by_hand = np.where((level >= table.first)[..., None], by_hand, rgb)
        looked = explanation.heatmap(at) > 0
        drawn = explanation.overlay(frame=at)
        assert (np.abs(drawn.astype(int) - by_hand) <= 2)[looked].mean() > 0.98
        assert (drawn != rgb)[looked].any()

    def test_nothing_outside_of_where_the_network_looked(self, explanation: Explanation) -> None:
        heat, crop = explanation.heatmap(), explanation.tube.crop
        assert 0 < crop.left < crop.right < 1
        outside = heat.copy()
        outside[:, round(crop.left * 160) : round(crop.right * 160)] = 0
        assert not outside.any()

    def test_another_size(self, explanation: Explanation) -> None:
        small, large = explanation.heatmap(size=(80, 48)), explanation.heatmap()
        assert small.shape == (48, 80)
        shrunk = cv2.resize(large, (80, 48), interpolation=cv2.INTER_AREA)
        assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.9

    def test_by_default_the_newest_that_can_be_trusted(self, explanation: Explanation) -> None:
        assert explanation.newest == 4.5  # the centre of slice 2 of 0 to 3, two frames each
        assert np.array_equal(explanation.heatmap(), explanation.heatmap(4.5))
        assert not np.array_equal(explanation.heatmap(), explanation.heatmap(0))

    def test_drawing_leaves_the_frame_that_is_given(self, explanation: Explanation) -> None:
        rgb = next(arrays(1)).copy()
        before = rgb.copy()
        plain, captioned = explanation.overlay(rgb), explanation.overlay(rgb, caption=True)
        assert np.array_equal(rgb, before)
        assert (plain != captioned)[:40, :100].any()

    def test_without_a_frame_or_a_size_it_says_what_is_missing(self, model: Path) -> None:
        *_, shown = explain(arrays(8), model=model, stride=1)
        assert shown.explanation is not None
        with pytest.raises(UsageError, match=r"kept no frame: overlay\(rgb\) needs one"):
            shown.explanation.overlay()
        with pytest.raises(UsageError, match="size must be 1x1 or more, got 0x5"):
            shown.explanation.heatmap(size=(0, 5))

    def test_an_annotator_draws_on_bgr_in_place(self, explanation: Explanation) -> None:
        scene = next(arrays(1)).copy()
        expected = explanation.overlay(scene[..., ::-1])[..., ::-1]
        annotator = TubeAnnotator(caption=False)
        assert annotator.annotate(scene=scene, explanation=explanation) is scene
        assert np.array_equal(scene, expected)
        inferno = explanation.overlay(scene[..., ::-1], caption=True)
        TubeAnnotator(Style(colormap="inferno")).annotate(scene, explanation)
        assert (scene != inferno[..., ::-1]).any()

    def test_before_the_first_window_the_scene_stays(self) -> None:
        scene = next(arrays(1)).copy()
        before = scene.copy()
        assert TubeAnnotator().annotate(scene, None) is scene
        assert np.array_equal(scene, before)

    @pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
    def test_opacity_has_bounds(self, opacity: float) -> None:
        with pytest.raises(UsageError, match="opacity must be between 0 and 1"):
            TubeAnnotator(opacity=opacity)


class TestNotebooks:
    def decoded(self, png: bytes) -> np.ndarray:
        bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert bgr is not None
        return np.asarray(bgr[..., ::-1])

    def test_a_shown_frame_is_its_picture(self, model: Path) -> None:
        shown = next(explain(arrays(8), model=model, stride=1))
        assert np.array_equal(self.decoded(shown._repr_png_()), shown.rgb)

    def test_an_explanation_is_its_last_frame_and_its_classes(self, explanation: Explanation) -> None:
        assert np.array_equal(self.decoded(explanation._repr_png_()), explanation.overlay(caption=True))
        page = explanation._repr_html_()
        assert page.count("<tr>") == 1 + len(explanation.top)
        assert "data:image/png;base64," in page

    def test_one_without_a_frame_shows_its_slices(self, model: Path) -> None:
        *_, shown = explain(arrays(8), model=model, stride=1)
        assert shown.explanation is not None
        height, width, _ = self.decoded(shown.explanation._repr_png_()).shape
        assert height == 112
        assert width > 4 * 112  # four slices side by side


def test_a_pipeline_by_hand_gives_the_same(model: Path) -> None:
    source, runner = open_source("test://?size=160x96&frames=20"), open_runner(model)
    sinks = [open_sink("null://", SinkOptions())]
    with Pipeline(source, runner, sinks, PipelineOptions(stride=1, hop=2)) as pipeline:
        by_hand = [shown.rgb for shown in pipeline]
        assert isinstance(pipeline, Pipeline)
    source.close()
    run = explain("test://?size=160x96&frames=20", model=model, stride=1, hop=2)
    assert all(np.array_equal(one, other.rgb) for one, other in zip(by_hand, run, strict=True))


def test_what_is_offered_is_documented_and_there() -> None:
    assert sorted(saliency_tubes.__all__) == sorted(set(saliency_tubes.__all__))
    for name in saliency_tubes.__all__:
        offered = getattr(saliency_tubes, name)
        assert name == "PRESETS" or inspect.getdoc(offered), name
