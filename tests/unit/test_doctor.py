"""What the doctor says of machines that are described, and of this one."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from saliency_tubes.engine.draw import overlay
from saliency_tubes.engine.runtimes.planfile import PlanInfo, Range, TensorInfo
from saliency_tubes.stream.app.cli import EXPORT_COMMANDS, MACHINE_COMMANDS, main
from saliency_tubes.stream.app.placing import Placing
from saliency_tubes.stream.doctor import here
from saliency_tubes.stream.doctor.examine import PROBES, examine
from saliency_tubes.stream.doctor.finding import BROKEN, Finding, works
from saliency_tubes.stream.doctor.report import as_json, as_text
from saliency_tubes.stream.doctor.system import Model, System
from stubs import make_manifest
from systems import CONTAINER, CPU_ONLY, DATA_CENTRE, DESKTOP, NO_GSTREAMER, ORIN, ORIN_NANO, SYSTEMS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


def found(system: System) -> dict[str, Finding]:
    return {finding.name: finding for section in examine(system) for finding in section.findings}


SAID: dict[str, dict[str, tuple[str, str, str]]] = {
    "CPU only": {
        "GPU": ("absent", "no NVIDIA driver", ""),
        "overlay": ("ok", "C++, AVX2", ""),
        "inference": ("ok", "OpenVINO 2026.4.1 on CPU, f32", ""),
    },
    "no compiler": {
        "compiled part": ("slower", "without a C++ compiler", "apt-get install -y g++ python3-dev && pip install"),
        "sample": ("slower", "OpenCV", ""),
        "overlay": ("slower", "NumPy and OpenCV", ""),
    },
    "no GStreamer": {
        "GStreamer": ("absent", "not used: needs GStreamer", "sudo apt-get install -y python3-gi python3-gst-1.0"),
        "decode": ("ok", "CSI cameras by GStreamer, which is not there", ""),
        "encode": ("ok", "libx264 by PyAV", ""),
    },
    "desktop": {
        "driver": ("ok", "NVIDIA 580.95.05, CUDA 13.0", ""),
        "kernels": ("ok", "cuda-bindings 13.5.0, nvidia-cuda-nvrtc 13.0.88", ""),
        "encoder": ("ok", "NVENC, by h264_nvenc", ""),
        "decoder": ("ok", "into the GPU's memory, by GStreamer", ""),
        "nvcodec": ("ok", "nvh264dec", ""),
        "inference": ("slower", "live bf16: 79 ms a window of 16", "saliency-tubes run INPUT OUTPUT --device cuda"),
    },
    "old driver": {
        "driver": ("ok", "NVIDIA 535.183.01, CUDA 12.2", ""),
        "kernels": ("slower", "serves CUDA 12.2, which is too old for cuda-bindings 13.5.0", "saliency-tubes[cuda12]"),
        "overlay": ("ok", "C++, AVX-512 VBMI", ""),
    },
    "data centre": {
        "processor": ("slower", "16 of 112 cores, of whose time a control group allows 12", "CPUQuota=1600%"),
        "SIMD": ("ok", "AMX bf16", ""),
        "encoder": ("ok", "no NVENC", ""),
        "decoder": ("slower", "each picture is copied to the GPU: PyNvVideoCodec is not", "pip install PyNvVideoCodec"),
        "TensorRT": ("slower", "none", "pip install 'saliency-tubes[cuda,tensorrt]'"),
        "onnxruntime": ("ok", "on CUDA: --device cuda", ""),
        "nvcodec": ("ok", "nvh264dec", ""),
    },
    "container": {
        "driver": ("slower", "the host has NVIDIA's driver 580.95.05", "docker run --gpus all"),
        "/dev/shm": ("absent", "64 MiB", "--shm-size"),
        "cache": ("slower", "cannot be written", "XDG_CACHE_HOME"),
        "processor": ("slower", "allows 1.5", "docker update --cpus 8"),
    },
    "Orin": {
        "JetPack": ("ok", "JetPack 6 (Jetson Linux 36.4.3)", ""),
        "power mode": ("ok", "MAXN", ""),
        "TensorRT": ("ok", "TensorRT 10.3.0", ""),
        "encoder": ("ok", "NVENC, by nvv4l2h264enc", ""),
        "overlay": ("ok", "C++, NEON", ""),
    },
    "Orin Nano": {
        "encoder": ("ok", "no NVENC", ""),
        "power mode": ("slower", "15W, which limits clocks", "sudo nvpmodel -m 2 && sudo jetson_clocks"),
        "cameras": ("absent", "not in the group video", "sudo usermod -aG video $USER"),
    },
    "Thor": {
        "JetPack": ("ok", "JetPack 7", ""),
        "power mode": ("slower", "120W", "sudo nvpmodel -m 0"),
        "TensorRT": ("slower", "none", "sudo apt-get install -y python3-libnvinfer"),
        "inference": ("slower", "OpenVINO", "sudo apt-get install -y python3-libnvinfer"),
    },
}
"""system -> finding -> its status, part of its text, part of its command; an empty part means that there is none"""


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_is_said_of_a_machine(name: str) -> None:
    findings = found(SYSTEMS[name])
    for what, (status, text, command) in SAID[name].items():
        finding = findings[what]
        assert (finding.status, text in finding.text) == (status, True), finding
        assert command in finding.command and bool(command) == bool(finding.command), finding  # noqa: PT018
    assert works(examine(SYSTEMS[name]))


def test_frames_that_live_on_a_gpu() -> None:
    placing = Placing("cuda:0", "the model runs there")
    findings = found(replace(ORIN, asked=replace(ORIN.asked, placing=placing)))
    assert findings["frames"].text == "in the memory of cuda:0: the model runs there"
    assert [findings[name].text.split(",")[0] for name in ("sample", "evidence", "overlay")] == ["CUDA"] * 3
    assert found(ORIN)["frames"].text == "in the host's memory: the model runs on the CPU"


def test_a_machine_without_nvidia_hears_one_line_of_it() -> None:
    (gpu,) = (section for section in examine(CPU_ONLY) if section.title == "GPU")
    assert [finding.name for finding in gpu.findings] == ["GPU"]


def test_a_container_without_the_runtime_on_a_jetson() -> None:
    inside = replace(CONTAINER, files={"/.dockerenv": "", **ORIN.files})
    assert found(inside)["driver"].command == "docker run --runtime nvidia ..."


def test_a_container_that_may_not_use_its_camera() -> None:
    inside = replace(CONTAINER, files={**CONTAINER.files, "/dev/video2": ""}, denied={"/dev/video2": "video"})
    finding = found(inside)["cameras"]
    assert (finding.status, finding.command) == ("absent", "docker run --device /dev/video2 --group-add video ...")


def test_a_card_without_its_driver() -> None:
    bare = replace(CPU_ONLY, files={"/sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de 0x030000"})
    finding = found(bare)["driver"]
    assert finding.status == "slower"
    assert "there is an NVIDIA card, and no NVIDIA driver" in finding.text


# what breaks the main job


@pytest.mark.parametrize(
    ("system", "name", "text"),
    [
        (replace(CPU_ONLY, packages={"numpy": "2.4.6"}), "packages", "not installed: av, opencv-python-headless"),
        (replace(CPU_ONLY, asked=replace(CPU_ONLY.asked, runner="openvino is not installed")), "inference", "openvino"),
        (replace(CPU_ONLY, asked=replace(CPU_ONLY.asked, model="no model 'x'")), "inference", "no model 'x'"),
        (replace(CPU_ONLY, asked=replace(CPU_ONLY.asked, encoders={"PyAV": "no H.264"})), "encode", "PyAV: no H.264"),
    ],
)
def test_what_is_broken_is_said_and_counts(system: System, name: str, text: str) -> None:
    finding = found(system)[name]
    assert finding.status == BROKEN
    assert text in finding.text
    assert not works(examine(system))
    assert "Broken: " in as_text(examine(system), "", 100, False)


def plan_of(version: str, capability: str) -> PlanInfo:
    """A plan that TensorRT has built."""
    clip, manifest = (1, 3, 8, 32, 32), make_manifest()
    return PlanInfo(
        builder="tensorrt",
        version=version,
        compute_capability=(capability,),
        device="",
        clip_length=8,
        inputs=(TensorInfo("clip", clip, "float32"),),
        outputs=(TensorInfo("logits", (1, 2), "float32"), TensorInfo("activation", (1, 1, 2, 4, 4), "float32")),
        profile={"clip": Range(clip, clip, clip)},
        options={},
        onnx_sha256="",
        plan_sha256="",
        plan_bytes=1,
        metadata=manifest.to_properties(),
    )


@pytest.mark.parametrize(
    ("system", "version", "capability", "status", "text", "command"),
    [
        (ORIN, "10.3.0", "8.7", "ok", "x.plan: TensorRT 10.3.0, T = 8", ""),
        (ORIN, "10.9.0", "8.7", "broken", "built by TensorRT 10.9.0, needs that very version", "saliency-tubes build"),
        (
            ORIN,
            "10.3.0",
            "8.6",
            "broken",
            "of compute capability 8.6, and this GPU's is 8.7",
            "saliency-tubes",
        ),
        (DESKTOP, "10.3.0", "8.9", "broken", "here is TensorRT-RTX 1.7.1.116: build it again", "saliency-tubes build"),
        (
            DATA_CENTRE,
            "10.3.0",
            "9.0",
            "broken",
            "no TensorRT that works",
            "pip install 'saliency-tubes[cuda,tensorrt]'",
        ),
        (CPU_ONLY, "10.3.0", "8.9", "broken", "here is no NVIDIA driver", ""),
    ],
)
def test_a_plan(system: System, version: str, capability: str, status: str, text: str, command: str) -> None:
    model = Model("x.plan", make_manifest(), plan_of(version, capability))
    finding = found(replace(system, asked=replace(system.asked, model=model)))["plan"]
    assert (finding.status, text in finding.text) == (status, True), finding
    assert finding.command.startswith(command) and bool(command) == bool(finding.command)  # noqa: PT018


# what it looks like


@pytest.mark.parametrize("width", [24, 50, 69, 70, 80, 100, 200])
@pytest.mark.parametrize("name", SYSTEMS)
def test_lines_fit_and_commands_are_whole(name: str, width: int) -> None:
    sections = examine(SYSTEMS[name])
    text = as_text(sections, "title", width, False)
    commands = [finding.command for section in sections for finding in section.findings if finding.command]
    shown = [line.strip()[2:] for line in text.splitlines() if line.strip().startswith("$ ")]
    assert shown == commands
    for line in text.splitlines():
        assert len(line) <= width or line.strip().startswith("$ ") or " " not in line.strip(), line


def test_columns_are_aligned_and_colours_are_for_terminals_alone() -> None:
    sections = examine(ORIN_NANO)
    text = as_text(sections, "title", 120, False)
    columns = {
        line.index(finding.text.split()[0], 10 + len(finding.name))
        for section in sections
        for finding in section.findings
        for line in text.splitlines()
        if re.match(rf"  {finding.status} +{re.escape(finding.name)}  ", line)
    }
    assert len(columns) == 1
    assert "\033" not in text
    assert re.sub(r"\033\[[\d;]*m", "", as_text(sections, "title", 120, True)) == text


def test_json_has_all_findings() -> None:
    told = json.loads(as_json(examine(NO_GSTREAMER), "1.2.3"))
    assert (told["version"], told["works"]) == ("1.2.3", True)
    assert {one["section"] for one in told["findings"]} <= set(PROBES)
    (missing,) = (one for one in told["findings"] if one["name"] == "GStreamer")
    assert missing["command"].startswith("sudo apt-get install -y ")
    assert missing["status"] == "absent"


def test_commands_that_are_told_exist() -> None:
    """Those of this program and its extras; what apt and docker know cannot be asked here."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    commands = [finding.command for system in SYSTEMS.values() for finding in found(system).values()]
    own = {word for command in commands for word in re.findall(r"(?<![\w'-])saliency-tubes (\w+)", command)}
    assert own <= {*EXPORT_COMMANDS, *MACHINE_COMMANDS, "run", "info", "demo"}
    named = {extra for command in commands for extra in re.findall(r"saliency-tubes\[([\w-]+)\]", command)}
    assert named
    assert named <= extras.keys()


def test_extras_for_a_gpu_go_with_either_cuda() -> None:
    """A driver older than CUDA 13 takes cuda12, and then no other extra may ask for more."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    old = {"cuda-bindings": "12.9.0"}
    for extra in extras.keys() - {"cuda"}:
        needed = [Requirement(text) for text in extras[extra]]
        assert not any(one.name == "saliency-tubes" and "cuda" in one.extras for one in needed), extra
        assert all(old[one.name] in one.specifier for one in needed if one.name in old), extra


# this machine


def test_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "It works" in text
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    by_name = {one["name"]: one for one in told["findings"]}
    assert by_name["inference"]["text"].startswith("OpenVINO")
    assert "libx264" in by_name["encode"]["text"]
    assert "reads H.264, HEVC" in by_name["PyAV"]["text"]


def test_a_model_that_is_not_there_breaks_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--model", "nowhere.onnx"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "no model 'nowhere.onnx'" in line]
    assert [line.split()[:2] for line in lines] == [["broken", "inference"]]


def test_without_the_compiled_part_the_code_itself_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlay, "_compiled", None)
    system = here.this_system("i3d")
    assert found(system)["overlay"].text == "NumPy and OpenCV"


def test_a_gpu_is_asked_for_what_it_is(gpu_double: Callable[..., object]) -> None:
    """The real questions, on a GPU that is not there."""
    gpu_double(kind="integrated", driver=12060)
    findings = found(here.this_system("i3d"))
    assert findings["GPU"].text == "Orin double, compute capability 8.7"
    assert findings["driver"].text.endswith("CUDA 12.6")
    assert "CUDA 12.6, which is too old for cuda-bindings 13" in findings["kernels"].text
    assert findings["TensorRT"].status == "slower", "TensorRT-RTX has nothing for 8.7"


def test_no_memory_is_taken_of_a_gpu_that_is_asked(gpu_double: Callable[..., Any]) -> None:
    double = gpu_double()
    here.this_system("i3d")
    assert double.counts["allocations"] == 0
