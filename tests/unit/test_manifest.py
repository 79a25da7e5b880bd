"""What a model file says of itself: a round trip, every kind of damage, and the ONNX file around it."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from saliency_tubes.engine.errors import ModelError
from saliency_tubes.engine.manifest import (
    MANIFEST_KEY,
    WEIGHTS_KEY,
    InputSpec,
    LinearHead,
    Manifest,
    Missed,
    WindowSpec,
)
from saliency_tubes.engine.runtimes.onnxfile import read_metadata

CELLS = ((0.125, 0.25, 0.0625), (0.0625, 0.375, 0.125))
BIAS = np.array([0.1, -0.2, 3e-9], np.float32)


def make_manifest(weights: np.ndarray | None = None) -> Manifest:
    """With a linear head."""
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2) / 4 if weights is None else weights
    return manifest_of(LinearHead(matrix, BIAS), {"logits": "y", "activation": "tap"})


def make_gradient() -> Manifest:
    """With weights by gradient."""
    return manifest_of(None, {"logits": "y", "activation": "tap", "weights": "dy"}, class_input="which")


def manifest_of(head: LinearHead | None, outputs: dict[str, str], **more: str) -> Manifest:
    return Manifest(
        name="tiny",
        title="Tiny “3D” net",
        license="MIT",
        input=InputSpec((8, 6), (0.5, 0.25, 0.125), (0.5, 0.25, 0.2), "center", 9, 2, 12.5, "video"),
        windows={4: WindowSpec((0.5, 0.5), (0, 2), CELLS), 8: WindowSpec((0.125, 0.375, 0.375, 0.125), (1, 3))},
        default_clip_length=8,
        labels=("a", "b: ü", "日本"),
        tap="tail",
        channels=2 if head is None else head.class_weights.shape[1],
        head=head,
        outputs=outputs,
        **more,
    )


MISSED = {
    "runtime": "openvino",
    "precision": "bf16",
    "frames": 8,
    "what": "activation",
    "measured": 0.035,
    "allowed": 0.03,
}
GOOD = make_manifest().to_properties()
GRADIENT = make_gradient().to_properties()


def changed(*path: object, to: object, good: dict[str, str] = GOOD) -> dict[str, str]:
    """The good properties with one value of the manifest replaced; `to` = KeyError removes it."""
    text = json.loads(good[MANIFEST_KEY])
    at = text
    for key in path[:-1]:
        at = at[key]
    if to is KeyError:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return {**good, MANIFEST_KEY: json.dumps(text)}


def refused(properties: dict[str, str]) -> str:
    with pytest.raises(ModelError) as caught:
        Manifest.from_properties(properties)
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestRoundTrip:
    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_everything_comes_back(self, dtype):
        weights = np.random.default_rng(0).normal(size=(3, 5)).astype(dtype).astype(np.float32)
        one = make_manifest(weights)
        properties = one.to_properties()
        other = Manifest.from_properties(properties)
        for name in ("name", "title", "license", "input", "default_clip_length", "labels", "tap", "channels"):
            assert getattr(one, name) == getattr(other, name), name
        assert dict(other.windows) == dict(one.windows)
        assert dict(other.outputs) == dict(one.outputs)
        assert other.head is not None
        assert np.array_equal(other.head.class_weights, weights)
        assert np.array_equal(other.head.bias, BIAS)
        assert other.head.class_weights.dtype == other.head.bias.dtype == np.float32
        assert other.to_properties() == properties
        stored = json.loads(properties[MANIFEST_KEY])["head"]["class_weights"]["dtype"]
        assert stored == ("<f2" if dtype is np.float16 else "<f4")

    def test_a_head_that_is_not_linear(self):
        other = Manifest.from_properties(GRADIENT)
        assert (other.head, other.channels, other.class_input) == (None, 2, "which")
        assert dict(other.outputs) == {"logits": "y", "activation": "tap", "weights": "dy"}
        assert dict(other.windows) == dict(make_gradient().windows)
        assert other.to_properties() == GRADIENT
        assert set(GRADIENT) == {MANIFEST_KEY}  # there is no matrix to carry

    def test_what_was_too_far_off(self):
        """A manifest from before there was such an entry is one without it, and is written as it was."""
        assert "missed" not in json.loads(GOOD[MANIFEST_KEY])
        assert make_manifest().missed_precisions("openvino") == frozenset()
        both = (Missed("openvino", "bf16", 4, "tube", 0.9, 0.995), Missed("other", "f16", 8, "run"))
        other = Manifest.from_properties(replace(make_manifest(), missed=both).to_properties())
        assert other.missed == both
        kept = json.loads(other.to_properties()[MANIFEST_KEY])["missed"][0]
        assert list(kept) == ["runtime", "precision", "frames", "what", "measured", "allowed"]
        assert (other.missed_precisions("openvino"), other.missed_precisions("other")) == ({"bf16"}, {"f16"})
        assert [one.words for one in both] == [
            "openvino in bf16 at 4 frames: tube correlation 0.9000 (at least 0.995 is accepted)",
            "other in f16 at 8 frames: does not run",
        ]

    def test_weights_are_plain_little_endian_rows(self):
        """So that any program can read them by the two entries alone."""
        raw = base64.b64decode(GOOD[WEIGHTS_KEY])
        assert np.frombuffer(raw, "<f2").tolist() == [0, 0.25, 0.5, 0.75, 1, 1.25]

    @pytest.mark.filterwarnings("ignore:overflow encountered")
    def test_weights_too_large_for_half(self):
        weights = np.full((3, 2), 1e6, np.float32)
        got = Manifest.from_properties(make_manifest(weights).to_properties())
        assert got.head is not None
        assert np.array_equal(got.head.class_weights, weights)

    @pytest.mark.filterwarnings("error")
    def test_storing_large_weights_does_not_warn(self):
        make_manifest(np.full((3, 2), 1e6, np.float32)).to_properties()

    def test_windows(self):
        manifest = make_manifest()
        assert manifest.window(4).trusted == (0, 2)
        with pytest.raises(ModelError, match="tiny takes clips of 4 or 8 frames, got 5"):
            manifest.window(5)


@pytest.mark.parametrize(
    ("slices", "trusted", "words"),
    [
        (1, (0, 1), "1 time slice"),
        (4, (0, 4), "4 time slices, all to be trusted"),
        (8, (1, 7), "8 time slices, 1 to 6 to be trusted"),
        (3, (1, 2), "3 time slices, 1 to be trusted"),
        (3, (0, 1), "3 time slices, 0 to be trusted"),
    ],
)
def test_the_slices_in_words(slices, trusted, words):
    assert WindowSpec((1 / slices,) * slices, trusted).slices_in_words == words


class TestPool:
    def test_each_cell_counts_by_its_slice_and_its_place(self):
        got = WindowSpec((0.25, 0.75), (0, 2), CELLS).pool(2, 3)
        assert got.dtype == np.float32
        # all of them in binary, so exactly
        assert got.tolist() == [[[part * cell for cell in row] for row in CELLS] for part in (0.25, 0.75)]

    def test_without_cell_weights_all_places_count_the_same(self):
        got = WindowSpec((0.25, 0.75), (0, 2)).pool(2, 4)
        assert got.tolist() == [[[part / 8] * 4] * 2 for part in (0.25, 0.75)]

    @given(
        st.lists(st.floats(0.01, 1), min_size=1, max_size=9),
        st.integers(1, 7).flatmap(
            lambda width: st.lists(st.lists(st.floats(0.01, 1), min_size=width, max_size=width), min_size=1, max_size=7)
        ),
    )
    def test_it_sums_to_one_and_to_each_part(self, slices, cells):
        parts, places = np.array(slices) / sum(slices), np.array(cells) / np.sum(cells)
        spec = WindowSpec(tuple(parts.tolist()), (0, len(parts)), tuple(map(tuple, places.tolist())))
        got = spec.pool(*places.shape).astype(np.float64)
        assert got.shape == (len(parts), *places.shape)
        assert got.sum() == pytest.approx(1, abs=1e-5)
        assert got.sum(axis=(1, 2)) == pytest.approx(parts, abs=1e-5)
        assert np.allclose(got.sum(axis=0), places, atol=1e-5)

    @pytest.mark.parametrize("shape", [(3, 2), (2, 2), (1, 3), (1, 1), (4, 6)])
    def test_cells_that_do_not_fit(self, shape):
        spec = WindowSpec((1.0,), (0, 1), CELLS)
        with pytest.raises(ModelError, match=rf"^cell_weights \(2, 3\) do not fit {shape[0]} x {shape[1]} cells$"):
            spec.pool(*shape)


class TestDamage:
    """Each damage has its own clear line."""

    @pytest.mark.parametrize(
        ("path", "to", "words"),
        [
            (["format"], 2, ["format 2", "format 1"]),
            (["format"], KeyError, ["format None"]),
            (["name"], KeyError, ["lacks 'name'"]),
            (["input"], KeyError, ["lacks 'input'"]),
            (["input", "size"], [0, 8], ["input.size", "(0, 8)"]),
            (["input", "size"], [8], ["input.size"]),
            (["input", "mean"], [0, 0], ["input.mean", "3 numbers"]),
            (["input", "mean"], [0, 0, float("nan")], ["input.mean", "nan"]),
            (["input", "std"], [1, 1, 0], ["input.std", "positive"]),
            (["input", "std"], [1, 1, float("inf")], ["input.std", "inf"]),
            (["input", "resize"], "zoom", ["center, stretch, letterbox", "'zoom'"]),
            (["input", "short_side"], 7, ["short_side", "8 or more", "7"]),
            (["input", "stride"], 0, ["stride", "0"]),
            (["input", "rate"], float("nan"), ["rate", "nan"]),
            (["input", "rate"], 1e-300, ["rate", "1e-300"]),
            (["input", "stride"], 10**9, ["stride", "1000000000"]),
            (["input", "short_side"], float("inf"), ["short_side", "inf"]),
            (["title"], "half a pair: \ud800", ["not JSON"]),
            (["tap"], "\udc00", ["not JSON"]),
            (["input", "colour"], 1, ["colour"]),
            (["windows"], {}, ["default_frames 8"]),
            (["windows", "8", "slice_weights"], [0.5, 0.5, 0.5], ["slice_weights", "1.5"]),
            (["windows", "8", "slice_weights"], [], ["slice_weights"]),
            (["windows", "8", "slice_weights"], [float("nan")], ["slice_weights"]),
            (["windows", "8", "trusted"], [0, 5], ["trusted", "(0, 5)"]),
            (["windows", "8", "trusted"], [2, 2], ["trusted", "(2, 2)"]),
            (["windows", "8", "trusted"], KeyError, ["lacks 'trusted'"]),
            (["default_frames"], 5, ["default_frames 5", "[4, 8]"]),
            (["labels"], ["a", "b"], ["2 labels", "(3, 2)"]),
            (["windows", "4", "cell_weights"], [[0.5, 0.5], [0.5, 0.5]], ["cell_weights", "2.0"]),
            (["windows", "4", "cell_weights"], [[0.5, 0.25], [0.25]], ["cell_weights", "[h, w]"]),
            (["windows", "4", "cell_weights"], [[]], ["cell_weights"]),
            (["windows", "4", "cell_weights"], [[float("nan"), 1]], ["cell_weights", "nan"]),
            (["windows", "4", "cell_weights"], [0.5, 0.5], ["manifest is wrong"]),
            (["windows", "4", "cell_weights"], [["1"]], ["manifest is wrong"]),
            (["windows", "4", "cell_weights"], None, ["manifest is wrong"]),
            (["windows", "4", "cell_weights"], KeyError, ["lacks 'cell_weights'"]),
            (["channels"], KeyError, ["lacks 'channels'"]),
            (["channels"], 0, ["channels must be 1 or more", "0"]),
            (["channels"], 2.0, ["channels must be 1 or more", "2.0"]),
            (["channels"], True, ["channels must be 1 or more", "True"]),
            (["channels"], 3, ["(3, 2)", "3 channels"]),
            (["missed"], 3, ["manifest is wrong"]),
            (["missed"], [3], ["manifest is wrong"]),
            (["missed"], [{"runtime": "openvino", "frames": 8}], ["missing", "'precision'"]),
            (["missed"], [{"runtime": "openvino"}], ["lacks 'frames'"]),
            (["missed"], [{**MISSED, "color": 1}], ["color"]),
            (["missed"], [{**MISSED, "runtime": 1}], ["missed.runtime must be a line", "1"]),
            (["missed"], [{**MISSED, "what": "a\nb"}], ["missed.what must be a line"]),
            (["missed"], [{**MISSED, "precision": "f32"}], ["missed.precision must not be f32"]),
            (["missed"], [{**MISSED, "frames": 0}], ["missed.frames must be 1 or more", "0"]),
            (["missed"], [{**MISSED, "measured": "much"}], ["missed.measured must be a number or null", "'much'"]),
            (["missed"], [{**MISSED, "allowed": float("nan")}], ["missed.allowed must be a number or null", "nan"]),
            (["missed"], [{**MISSED, "allowed": None}], ["missed.allowed must be a number, got None"]),
            (["head"], KeyError, ["lacks 'head'"]),
            (["head"], None, ["manifest is wrong"]),
            (["head", "kind"], KeyError, ["lacks 'kind'"]),
            (["head", "kind"], "Linear", ["linear or gradient", "'Linear'"]),
            (["head", "kind"], ["linear"], ["linear or gradient", "['linear']"]),
            (["head", "kind"], "gradient", ["activation, logits, weights"]),  # but its outputs are a linear head's
            (["head", "class_weights"], KeyError, ["lacks 'class_weights'"]),
            (["head", "bias"], KeyError, ["lacks 'bias'"]),
            (["head", "bias"], [1, 2], ["bias (2,)"]),
            (["head", "bias"], [1, 2, float("inf")], ["finite"]),
            (["head", "bias"], [1, 2, "x"], ["x"]),
            (["outputs"], {"logits": "y"}, ["outputs"]),
            (["outputs"], {"logits": "y", "activation": "t", "more": "z"}, ["outputs"]),
            (
                ["outputs"],
                {"logits": "y", "activation": "t", "weights": "z"},
                ["outputs must name activation, logits,"],
            ),
            (["head", "class_weights", "dtype"], "<f8", ["<f2 or <f4", "'<f8'"]),
            (["head", "class_weights", "shape"], [3, 3], ["18 bytes", "12"]),
            (["head", "class_weights", "shape"], [-3, -2], ["manifest is wrong"]),
            (["head", "class_weights", "shape"], [6], ["class_weights", "(6,)"]),
            (["head", "class_weights"], None, ["manifest is wrong"]),
        ],
    )
    def test_one_value(self, path, to, words):
        message = refused(changed(*path, to=to))
        assert all(word in message for word in words), message

    @pytest.mark.parametrize(
        ("path", "to", "words"),
        [
            (["outputs", "weights"], KeyError, ["outputs must name activation, logits, weights"]),
            (["outputs", "weights"], 3, ["outputs"]),
            (["outputs", "more"], "z", ["outputs must name activation, logits, weights", "more"]),
            (["head", "kind"], "grad-cam", ["linear or gradient", "'grad-cam'"]),
            (["head", "kind"], None, ["linear or gradient", "None"]),
            (["head", "kind"], "linear", ["lacks 'class_weights'"]),
            (["head", "class_input"], 3, ["class_input must be a string", "3"]),
            (["head", "class_input"], None, ["class_input must be a string", "None"]),
            (["head", "class_input"], ["class"], ["class_input must be a string", "['class']"]),
            (["channels"], KeyError, ["lacks 'channels'"]),
            (["channels"], -2, ["channels must be 1 or more", "-2"]),
            (["channels"], "2", ["channels must be 1 or more", "'2'"]),
        ],
    )
    def test_one_value_of_a_gradient_manifest(self, path, to, words):
        message = refused(changed(*path, to=to, good=GRADIENT))
        assert all(word in message for word in words), message

    def test_the_class_input_has_a_name_by_default(self):
        got = Manifest.from_properties(changed("head", "class_input", to=KeyError, good=GRADIENT))
        assert got.class_input == "class"

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '"x"', "{}", '{"format": 1}', '{"format": NaN}'])
    def test_not_a_manifest(self, text):
        assert "manifest" in refused({**GOOD, MANIFEST_KEY: text})

    def test_none_at_all(self):
        assert "saliency-tubes export" in refused({})

    @pytest.mark.parametrize("cut", [0, 1, 2, 3, 4, 8, -4, -1])
    def test_cut_weights(self, cut):
        refused({**GOOD, WEIGHTS_KEY: GOOD[WEIGHTS_KEY][:cut]})

    @pytest.mark.parametrize("text", ["????", "ü===", "AAAA\nAAAAAAAAAAAA", " " + GOOD[WEIGHTS_KEY]])
    def test_weights_that_are_not_base64(self, text):
        refused({**GOOD, WEIGHTS_KEY: text})

    def test_weights_that_are_not_numbers(self):
        for value in (np.nan, np.inf):
            data = base64.b64encode(np.full(6, value, "<f2").tobytes()).decode()
            assert "finite" in refused({**GOOD, WEIGHTS_KEY: data})

    @pytest.mark.parametrize(
        "properties",
        [
            {**GOOD, MANIFEST_KEY: "[" * 200_000},
            changed("input", "mean", to=[10**400, 0, 0]),
            changed("head", "bias", to=[10**400, 0, 0]),
        ],
        ids=["nesting", "mean", "bias"],
    )
    def test_far_too_much(self, properties):
        refused(properties)

    @pytest.mark.parametrize(
        ("path", "to"),
        [
            (["input", "size"], [7.5, 7.5]),
            (["input", "stride"], 1.5),
            (["input", "rate"], float("inf")),
            (["input", "name"], 7),
            (["default_frames"], 8.0),
            (["windows", "8", "trusted"], [0, 1.5]),
            (["windows", "0"], {"slice_weights": [1], "trusted": [0, 1], "cell_weights": []}),
            (["windows", "-4"], {"slice_weights": [1], "trusted": [0, 1], "cell_weights": []}),
            (["outputs"], {"logits": 5, "activation": [1]}),
            (["labels"], "abc"),
            (["labels"], ["a", "b", 3]),
            (["labels"], ["a", "b", "\ud800"]),  # cannot be written as UTF-8
            (["windows", "8", "trusted"], []),
        ],
    )
    def test_wrong_types(self, path, to):
        refused(changed(*path, to=to))

    def test_an_unknown_key_cannot_break_the_line(self):
        refused(changed("input", "x\ny", to=1))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "shape", "8"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, str]:
    """One to three places anywhere in the manifest removed, or replaced by anything."""
    good = draw(st.sampled_from([GOOD, GRADIENT]))
    text = json.loads(good[MANIFEST_KEY])
    for _ in range(draw(st.integers(1, 3))):
        at, key = text, None
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if not isinstance(at[key], dict | list) or draw(st.booleans()):
                break
            at = at[key]
        if key is None or not len(at):
            continue
        if draw(st.booleans()):
            del at[key]
        else:
            at[key] = draw(values)
    return {**good, MANIFEST_KEY: json.dumps(text)}


@settings(max_examples=300, deadline=None)
@given(damaged())
@pytest.mark.filterwarnings("ignore")
def test_any_damage_gives_a_model_error_or_a_manifest(properties):
    try:
        manifest = Manifest.from_properties(properties)
    except ModelError:
        return
    if manifest.head is None:
        assert set(manifest.outputs) == {"logits", "activation", "weights"}
    else:
        assert set(manifest.outputs) == {"logits", "activation"}
        assert manifest.head.class_weights.shape == (len(manifest.labels), manifest.channels)
        assert manifest.head.bias.shape == (len(manifest.labels),)


@settings(max_examples=100)
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_gives_a_model_error(text, weights):
    with pytest.raises(ModelError):
        Manifest.from_properties({MANIFEST_KEY: text, WEIGHTS_KEY: weights})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


class TestOnnxFile:
    def write(self, path: Path, properties: dict[str, str]) -> Path:
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        ])  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, doc_string="d" * 300
        )
        helper.set_model_props(model, properties)
        onnx.save(model, path)
        return path

    @pytest.mark.parametrize(
        "properties",
        [{}, GOOD, {"a": ""}, {"": "empty key"}, {"ü": "日本", "line": "a\nb", "long": "x" * 70_000}],
        ids=["none", "manifest", "empty", "no key", "text"],
    )
    def test_it_equals_onnxruntime(self, folder, properties):
        path = self.write(folder / "model.onnx", properties)
        got = read_metadata(path)
        assert got == properties
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert got == session.get_modelmeta().custom_metadata_map

    def test_the_end_of_the_road_for_a_manifest(self, folder):
        got = Manifest.from_properties(read_metadata(self.write(folder / "m.onnx", GOOD)))
        assert got.labels == make_manifest().labels

    def test_what_cannot_be_read(self, folder):
        (folder / "empty").write_bytes(b"")
        for path, words in (
            (folder, "directory"),
            (folder / "empty", "not an ONNX file"),
            (folder / "none.onnx", "No such file"),
            (folder / "none" / "none.onnx", "No such file"),
        ):
            with pytest.raises(ModelError) as caught:
                read_metadata(path)
            message = str(caught.value)
            assert str(path) in message
            assert words in message
            assert "\n" not in message

    @pytest.mark.parametrize(
        "data",
        [
            b"\x89PNG\r\n\x1a\n" + bytes(64),
            b"PK\x03\x04" + bytes(64),
            b"{}\n",
            b"\xff" * 64,
            b"\x80" * 64,
            b"model.onnx",
        ],
    )
    def test_other_files(self, folder, data):
        (folder / "other").write_bytes(data)
        with pytest.raises(ModelError, match="not an ONNX file"):
            read_metadata(folder / "other")

    def test_every_truncation(self, folder):
        whole = self.write(folder / "whole.onnx", {"key": "value", "k2": "v2"}).read_bytes()
        for end in range(len(whole)):
            (folder / "cut").write_bytes(whole[:end])
            try:
                got = read_metadata(folder / "cut")
            except ModelError:
                continue
            assert got.items() <= {"key": "value", "k2": "v2"}.items()

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_mutations(self, folder, data):
        whole = bytearray(self.write(folder / "seed.onnx", {"key": "value"}).read_bytes())
        for _ in range(data.draw(st.integers(1, 6))):
            position = data.draw(st.integers(0, len(whole) - 1))
            kind = data.draw(st.sampled_from(["set", "delete", "insert"]))
            if kind == "set":
                whole[position] = data.draw(st.integers(0, 255))
            elif kind == "delete" and len(whole) > 1:
                del whole[position : position + data.draw(st.integers(1, 5))]
                whole = whole or bytearray(1)
            else:
                whole[position:position] = data.draw(st.binary(min_size=1, max_size=5))
        self.only_model_errors(folder, bytes(whole))

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.binary(max_size=60))
    def test_random_bytes(self, folder, data):
        self.only_model_errors(folder, data)

    def only_model_errors(self, folder: Path, data: bytes) -> None:
        (folder / "mutant").write_bytes(data)
        try:
            got = read_metadata(folder / "mutant")
        except ModelError:
            return
        assert all(isinstance(key, str) and isinstance(value, str) for key, value in got.items())
