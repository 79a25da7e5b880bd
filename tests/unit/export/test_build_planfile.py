"""The JSON beside a plan: what it holds, what is said when it is damaged, and whether a plan can run here."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.engine.errors import ModelError
from saliency_tubes.engine.runtimes.planfile import (
    PlanInfo,
    Range,
    TensorInfo,
    check_runtime,
    json_path,
    read_plan,
    sha256,
)
from stubs import make_manifest

PLAN = b"a plan"


def make_info(**changes):
    clip = (1, 3, 8, 32, 32)
    values = {
        "builder": "tensorrt",
        "version": "10.3.0",
        "compute_capability": ("8.7",),
        "device": "Orin",
        "clip_length": 8,
        "inputs": (TensorInfo("clip", (-1, *clip[1:]), "float32"),),
        "outputs": (TensorInfo("logits", (-1, 2), "float32"), TensorInfo("activation", (-1, 1, 2, 4, 4), "float32")),
        "profile": {"clip": Range(clip, clip, (4, *clip[1:]))},
        "options": {"batch": [1, 1, 4], "version_compatible": False, "hardware_compatibility": "none"},
        "onnx_sha256": "0" * 64,
        "plan_sha256": "",
        "plan_bytes": len(PLAN),
        "metadata": {**make_manifest().to_properties(), "saliency_tubes.precision": "fp16"},
    }
    return PlanInfo(**{**values, **changes})


def write(folder, text=None, plan=PLAN, **changes):
    path = folder / "a.plan"
    path.write_bytes(plan)
    info = make_info(plan_sha256=sha256(path), **changes)
    json_path(path).write_text(info.to_json() if text is None else text, encoding="utf-8")
    return path


def same(one, other):
    return one.to_json() == other.to_json()


class TestReading:
    def test_there_and_back(self, tmp_path):
        info = read_plan(write(tmp_path))
        assert same(info, make_info(plan_sha256=info.plan_sha256))
        assert info.manifest.to_properties() == make_manifest().to_properties()
        assert info.metadata["saliency_tubes.precision"] == "fp16"
        assert info.profile["clip"].max == (4, 3, 8, 32, 32)
        assert info.outputs[1] == TensorInfo("activation", (-1, 1, 2, 4, 4), "float32")

    def test_one_line_a_fact(self):
        lines = make_info().to_json().splitlines()
        assert lines[1] == ' "format": 1,'
        assert len(lines) == 2 + len(json.loads(make_info().to_json()))

    def test_no_plan(self, tmp_path):
        with pytest.raises(ModelError, match=r"cannot read plan .*a\.plan: No such file"):
            read_plan(tmp_path / "a.plan")

    def test_no_json(self, tmp_path):
        (tmp_path / "a.plan").write_bytes(PLAN)
        with pytest.raises(
            ModelError, match=r"there is no a\.plan\.json beside it; 'saliency-tubes build' writes both"
        ):
            read_plan(tmp_path / "a.plan")

    @pytest.mark.parametrize("plan", [b"b plan", b"a plan!", b""])
    def test_other_bytes(self, plan, tmp_path):
        path = write(tmp_path)
        path.write_bytes(plan)
        with pytest.raises(ModelError, match=r"is not the plan that a\.plan\.json speaks of: build it again"):
            read_plan(path)

    def test_the_bytes_need_not_be_read(self, tmp_path):
        path = write(tmp_path)
        path.write_bytes(b"b plan")
        assert read_plan(path, verify=False).plan_bytes == len(PLAN)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "it is not JSON"),
            ("[" * 100_000, "it is not JSON"),
            ("[]", "it has format 'list'; this version reads format 1"),
            ('{"format": 2}', "it has format 2; this version reads format 1"),
            ('{"format": 1}', "it lacks 'builder'"),
        ],
    )
    def test_not_such_a_json(self, text, reason, tmp_path):
        with pytest.raises(ModelError, match=reason):
            read_plan(write(tmp_path, text))

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"builder": "openvino"}, "builder must be one of tensorrt, tensorrt-rtx, got 'openvino'"),
            ({"compute_capability": ["sm_87"]}, "a compute capability is a number such as 8.6, got 'sm_87'"),
            ({"frames": 9}, "stub takes clips of 8 frames, got 9"),
            ({"frames": True}, "must be 1 or more, got True"),
            ({"inputs": []}, "profile is of clip, but the inputs are none"),
            ({"outputs": []}, "outputs lack activation, logits"),
            ({"version": 10}, "version must be a string, got 10"),
            ({"device": "\ud800"}, "surrogates not allowed"),
            ({"profile": {"clip": {"min": [2], "opt": [1], "max": [2]}}}, "must be min <= opt <= max"),
            ({"profile": {"clip": {"min": [1], "opt": [1], "max": [1, 1]}}}, "must be min <= opt <= max"),
            ({"metadata": {}}, "it has no saliency-tubes manifest"),
        ],
    )
    def test_what_contradicts_itself(self, changes, reason, tmp_path):
        text = json.dumps({**json.loads(make_info().to_json()), **changes})
        with pytest.raises(ModelError, match=reason) as error:
            read_plan(write(tmp_path, text))
        assert "\n" not in str(error.value)
        assert "a.plan.json" in str(error.value)


TEXT = make_info().to_json()
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


class TestDamage:
    """Whatever happens to the file: it is read, or refused by ModelError, in one line."""

    def check(self, text):
        try:
            said = [*PlanInfo.from_json(text).rows()]
        except ModelError as error:
            said = [("error", str(error))]
        assert all("\n" not in part for row in said for part in row)

    @given(st.integers(0, len(TEXT)), st.integers(0, 30), st.text(max_size=3))
    def test_bytes_lost_or_added(self, start, length, added):
        self.check(TEXT[:start] + added + TEXT[start + length :])

    @given(st.sampled_from(sorted(json.loads(TEXT))), ANYTHING)
    def test_another_value(self, key, value):
        self.check(json.dumps({**json.loads(TEXT), "format": 1, key: value}))

    @given(st.sampled_from(sorted(json.loads(TEXT))))
    def test_a_key_lost(self, key):
        data = json.loads(TEXT)
        del data[key]
        self.check(json.dumps(data))
        with pytest.raises(ModelError):
            PlanInfo.from_json(json.dumps(data))


class TestHere:
    def check(self, info, builder="tensorrt", version="10.3.0", capability="8.7"):
        check_runtime(info, builder, version, capability)

    def test_where_it_was_built(self):
        self.check(make_info())

    def test_another_builder(self):
        with pytest.raises(
            ModelError, match=r"built by TensorRT 10\.3\.0 and here is TensorRT-RTX 1\.7: build it again"
        ):
            self.check(make_info(), builder="tensorrt-rtx", version="1.7")

    @pytest.mark.parametrize("version", ["10.3.1", "10.2.0", "11.4.0", "10.3.0.26"])
    def test_another_version(self, version):
        with pytest.raises(ModelError, match=r"TensorRT 10\.3\.0, needs that very version, and here is TensorRT 1"):
            self.check(make_info(), version=version)

    @pytest.mark.parametrize(
        ("version", "runs"), [("10.3.1", True), ("11.4.0.106", True), ("10.2.9", False), ("9.9", False)]
    )
    def test_a_version_compatible_plan_runs_with_later_ones(self, version, runs):
        info = make_info(options={"version_compatible": True})
        if runs:
            self.check(info, version=version)
        else:
            with pytest.raises(ModelError, match="needs that very version or a later one"):
                self.check(info, version=version)

    def test_another_gpu(self):
        with pytest.raises(
            ModelError, match=r"built for GPUs of compute capability 8\.7 \(built on Orin\), and .* is 8\.6"
        ):
            self.check(make_info(), capability="8.6")

    @pytest.mark.parametrize(("capability", "runs"), [("7.5", False), ("8.0", True), ("8.6", True), ("12.0", True)])
    def test_one_for_ampere_and_later(self, capability, runs):
        compatible = make_info(options={"hardware_compatibility": "ampere+"})
        portable = replace(make_info(), builder="tensorrt-rtx", compute_capability=(), device="")
        for info in (compatible, portable):
            if runs:
                self.check(info, builder=info.builder, capability=capability)
            else:
                with pytest.raises(ModelError, match=r"8\.0 or newer.* this GPU's is 7\.5"):
                    self.check(info, builder=info.builder, capability=capability)

    def test_one_for_several(self):
        info = make_info(builder="tensorrt-rtx", compute_capability=("8.9", "12.0"), device="")
        self.check(info, builder="tensorrt-rtx", capability="12.0")
        with pytest.raises(ModelError, match=r"8\.9 or 12\.0, and this GPU's is 12\.1"):
            self.check(info, builder="tensorrt-rtx", capability="12.1")


def test_rows():
    rows = make_info().rows()
    assert rows[0] == ("plan", "0.0 MB, TensorRT 10.3.0, T = 8")
    assert ("for", "GPUs of compute capability 8.7 (built on Orin)") in rows
    assert ("in", "clip [batch, 3, 8, 32, 32] float32, batch 1 to 4, fastest at 1") in rows
    assert ("out", "activation [batch, 1, 2, 4, 4] float32") in rows
