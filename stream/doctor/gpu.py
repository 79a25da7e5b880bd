"""Probes of the NVIDIA GPU: driver, device, bindings, TensorRT, onnxruntime, encoder, Jetson. Pure.

On a machine that shows no sign of an NVIDIA GPU one line says so, and the others are silent.
"""

from __future__ import annotations

import re

from ...engine.errors import ModelError
from ...engine.runtimes.device import Device
from ...engine.runtimes.planfile import BUILDERS, check_runtime
from ..media.encoders import FAMILIES, Chosen
from .finding import ABSENT, BROKEN, OK, SLOWER, Finding
from .system import System

JETPACKS = {35: "JetPack 5", 36: "JetPack 6", 38: "JetPack 7"}
"""Major version of Jetson Linux -> JetPack."""
CUDA12, CUDA13 = "pip install 'saliency-tubes[cuda12]'", "pip install 'saliency-tubes[cuda]'"
RTX_LACKS = ("8.7", "9.0", "10.0", "11.0")
"""Compute capabilities that TensorRT-RTX 1.7 does not know: Orin, Hopper and data-centre Blackwell, Thor."""


def driver(machine: System) -> Finding:
    found = machine.asked.device
    if isinstance(found, Device):
        cuda = f", CUDA {machine.cuda[0]}.{machine.cuda[1]}" if machine.cuda else ""
        return Finding(OK, "driver", f"NVIDIA {machine.driver or '(version unknown)'}{cuda}")
    if machine.in_container and (machine.driver or machine.is_jetson):
        text = f"the host has NVIDIA's driver {machine.driver}, and this container was not given it: {found}"
        way = "docker run --runtime nvidia ..." if machine.is_jetson else "docker run --gpus all ..."
        return Finding(SLOWER, "driver", text.replace("  ", " ").replace("driver ,", "driver,"), way)
    if machine.driver or machine.has("/dev/nvidia"):
        text = f"NVIDIA {machine.driver or 'devices are there'}, which does not work: {found}"
        return Finding(SLOWER, "driver", text, "nvidia-smi    # says more; often a reboot after an update is missing")
    if _has_card(machine):
        text = f"there is an NVIDIA card, and {found}"
        return Finding(SLOWER, "driver", text, "sudo ubuntu-drivers install    # Debian: apt-get install nvidia-driver")
    hint = "docker run --gpus all ...    # if the host has an NVIDIA GPU" if machine.in_container else ""
    return Finding(ABSENT, "GPU", f"{found}: everything runs on the CPU", hint)


def _has_card(machine: System) -> bool:
    """Whether the PCI bus names a display controller (class 03) by NVIDIA (10de)."""
    return any("10de" in text.lower() for path, text in machine.files.items() if path.startswith("/sys/bus/pci/"))


def device(machine: System) -> Finding | None:
    found = machine.asked.device
    if isinstance(found, str):
        return None
    return Finding(OK, "GPU", f"{found.name}, compute capability {found.compute_capability}")


def bindings(machine: System) -> Finding | None:
    """cuda-bindings and NVRTC, which compiles the kernels."""
    if isinstance(machine.asked.device, str):
        return None
    listed = ", ".join(f"{name} {version}" for name, version in _toolkit(machine).items())
    refused = why_no_kernels(machine)
    if not refused:
        return Finding(OK, "kernels", f"CUDA kernels are compiled at the first start, by {listed or 'NVRTC'}")
    cuda = _cuda(machine)
    newer = [name for name, version in _toolkit(machine).items() if _major(version) > cuda[0]]
    fitting = CUDA12 if cuda[0] < 13 else CUDA13
    remove = f"pip uninstall -y {' '.join(newer)} && " if newer else ""
    return Finding(SLOWER, "kernels", refused.partition(": pip install")[0], f"{remove}{fitting}")


def why_no_kernels(machine: System) -> str:
    """Why the CUDA kernels cannot run; empty if they can. A driver refuses what a newer CUDA has compiled."""
    cuda = _cuda(machine)
    newer = [f"{name} {version}" for name, version in _toolkit(machine).items() if _major(version) > cuda[0]]
    if newer:
        return f"this driver serves CUDA {cuda[0]}.{cuda[1]}, which is too old for {' and '.join(newer)}"
    return machine.asked.kernels


def _toolkit(machine: System) -> dict[str, str]:
    """The packages that make and launch kernels -> version. Of two versions of NVRTC the newer one is used."""
    nvrtc = next((name for name in ("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12") if name in machine.packages), "")
    return {name: machine.packages[name] for name in ("cuda-bindings", nvrtc) if name in machine.packages}


def _cuda(machine: System) -> tuple[int, int]:
    return machine.cuda or (12, 0)


def _major(version: str) -> int:
    digits = re.match(r"\d+", version)
    return int(digits[0]) if digits else 0


def tensorrt(machine: System) -> Finding | None:
    """Which TensorRT there is, and whether it can run the plan that was named."""
    found, kits = machine.asked.device, machine.asked.kits
    if isinstance(found, str) and not kits:
        return None
    if not kits:
        return Finding(SLOWER, "TensorRT", "none: the fastest runtime on a GPU", install_tensorrt(machine))
    titles = ", ".join(kit.refused or f"{BUILDERS[kit.name]} {kit.version}" for kit in kits)
    usable = [kit for kit in kits if not kit.refused]
    if not usable:
        return Finding(SLOWER, "TensorRT", titles, install_tensorrt(machine))
    if isinstance(found, str):
        return Finding(OK, "TensorRT", f"{titles}: builds plans, and cannot run them here")
    if all(kit.name == "tensorrt-rtx" for kit in usable) and found.compute_capability in RTX_LACKS:
        text = f"{titles}, which has nothing for compute capability {found.compute_capability}"
        return Finding(SLOWER, "TensorRT", text, install_tensorrt(machine))
    return Finding(OK, "TensorRT", titles)


def plan(machine: System) -> Finding | None:
    """Whether a plan runs here, as the runner would say."""
    model = machine.asked.model
    if isinstance(model, str) or model.plan is None:
        return None
    info, found = model.plan, machine.asked.device
    again = f"saliency-tubes build MODEL.onnx -o {model.path}"
    if isinstance(found, str):
        return Finding(BROKEN, "plan", f"{model.path} runs on an NVIDIA GPU, and here is {found}", "")
    usable = sorted((kit for kit in machine.asked.kits if not kit.refused), key=lambda kit: kit.name != info.builder)
    if not usable:
        text = f"{model.path} was built by {info.made_by}, and no TensorRT that works is installed here"
        return Finding(BROKEN, "plan", text, install_tensorrt(machine))
    try:
        check_runtime(info, usable[0].name, usable[0].version, found.compute_capability)
    except ModelError as error:
        return Finding(BROKEN, "plan", f"{model.path}: {error}", again)
    return Finding(OK, "plan", f"{model.path}: {info.made_by}, T = {info.clip_length}, for {info.made_for}")


def install_tensorrt(machine: System) -> str:
    """The command that installs the TensorRT that fits the GPU."""
    found, kernels = machine.asked.device, "cuda12" if _cuda(machine) < (13, 0) else "cuda"
    if machine.is_jetson or machine.machine == "aarch64":
        return f"{machine.apt} python3-libnvinfer    # and a venv with --system-site-packages"
    if isinstance(found, Device) and found.compute_capability not in RTX_LACKS:
        return f"pip install 'saliency-tubes[{kernels},tensorrt-rtx]'"
    return f"pip install 'saliency-tubes[{kernels},tensorrt]'"


def onnxruntime(machine: System) -> Finding | None:
    """onnxruntime on the GPU: the way without TensorRT."""
    found, offered = machine.asked.device, machine.asked.onnxruntime
    if isinstance(found, str):
        return None
    if not isinstance(offered, str):
        return Finding(OK, "onnxruntime", f"{offered.title}: --device cuda")
    if any(not kit.refused for kit in machine.asked.kits):
        return Finding(ABSENT, "onnxruntime", f"not on the GPU, which TensorRT serves: {offered}")
    return Finding(SLOWER, "onnxruntime", f"not on the GPU: {offered}", install_onnxruntime(machine))


def install_onnxruntime(machine: System) -> str:
    """onnxruntime and onnxruntime-gpu share their files: with both installed, whichever came last is there."""
    first = "pip uninstall -y onnxruntime && " if "onnxruntime" in machine.packages else ""
    return f"{first}pip install onnxruntime-gpu"


def nvdec(machine: System) -> Finding | None:
    """Whether pictures are decoded into the GPU's memory."""
    if isinstance(machine.asked.device, str):
        return None
    if machine.asked.gstreamer_decodes:
        return Finding(OK, "decoder", "pictures are decoded into the GPU's memory, by GStreamer")
    if not machine.asked.nvdec_missing:
        return Finding(OK, "decoder", "pictures are decoded into the GPU's memory, by PyNvVideoCodec")
    text = f"each picture is copied to the GPU: {machine.asked.nvdec_missing.partition(' (pip install')[0]}"
    command = f"{machine.apt} nvidia-l4t-gstreamer" if machine.is_jetson else "pip install PyNvVideoCodec"
    return Finding(SLOWER, "decoder", text, command)


def nvenc(machine: System) -> Finding | None:
    """Whether the GPU encodes, as the choice of an encoder found by encoding."""
    if isinstance(machine.asked.device, str):
        return None
    chosen = [one for one in machine.asked.encoders.values() if isinstance(one, Chosen)]
    by = next((one.name for one in chosen if one.name in FAMILIES["nvenc"]), "")
    if by:
        return Finding(OK, "encoder", f"NVENC, by {by}")
    if has_no_nvenc(machine):
        return Finding(OK, "encoder", "this GPU has no NVENC: x264 on the CPU encodes")
    tried = {name: why for one in chosen for name, why in one.passed_over if name in FAMILIES["nvenc"]}
    reasons = "; ".join(f"{name}: {why}" for name, why in tried.items())
    text = f"no NVENC ({reasons or 'no encoder of it is installed'}): x264 on the CPU encodes"
    if machine.in_container:
        return Finding(SLOWER, "encoder", text, "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all ...")
    return Finding(SLOWER, "encoder", text, "nvidia-smi encodersessions    # a GeForce has a limit of sessions")


WITHOUT_NVENC = ("Orin Nano", "A100", "A30", "H100", "H200", "GH200", "B100", "B200", "GB200", "V100")
"""Names of GPUs and boards without an encoder; part of what the driver or the board calls itself."""


def has_no_nvenc(machine: System) -> bool:
    """Whether the GPU is of a kind that has no encoder."""
    found = machine.asked.device
    names = re.findall(r"[\w-]+", f"{machine.board} {found.name if isinstance(found, Device) else ''}")
    return any(f" {kind} " in f" {' '.join(names)} " for kind in WITHOUT_NVENC)


def jetson(machine: System) -> Finding | None:
    if not machine.is_jetson:
        return None
    text = machine.files["/etc/nv_tegra_release"]
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    if found is None:
        return Finding(OK, "JetPack", f"unknown: {text.strip()[:60]}")
    major = int(found[1])
    said = f"{JETPACKS.get(major, 'JetPack')} (Jetson Linux {found[1]}.{found[2]})"
    if major < 36:
        return Finding(SLOWER, "JetPack", f"{said}, whose TensorRT 8 is too old: 6.1 or newer is needed")
    return Finding(OK, "JetPack", said)


def power(machine: System) -> Finding | None:
    """The Jetson's power mode, and the one that does not hold it back."""
    said = re.search(r"NV Power Mode: (\S+)", machine.commands.get("nvpmodel -q", ""))
    if not machine.is_jetson or said is None:
        return None
    modes = re.findall(r"POWER_MODEL ID=(\d+) NAME=(\S+)", machine.files.get("/etc/nvpmodel.conf", ""))
    fastest = max((mode for mode in modes if mode[1].startswith("MAXN")), key=lambda mode: mode[1], default=None)
    if fastest is None or said[1] == fastest[1]:
        return Finding(OK, "power mode", said[1])
    text = f"{said[1]}, which limits clocks; {fastest[1]} does not"
    return Finding(SLOWER, "power mode", text, f"sudo nvpmodel -m {fastest[0]} && sudo jetson_clocks")
