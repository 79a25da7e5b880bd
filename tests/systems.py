"""Machines that the doctor is asked about, as data."""

from __future__ import annotations

from dataclasses import replace

from saliency_tubes.engine.cores import Cores
from saliency_tubes.engine.runtimes.base import Choices
from saliency_tubes.engine.runtimes.device import Device
from saliency_tubes.engine.runtimes.models import find_model, read_manifest
from saliency_tubes.stream.app.placing import Placing
from saliency_tubes.stream.app.speed import Speeds
from saliency_tubes.stream.doctor.system import Answers, FoundKit, Model, Processor, System
from saliency_tubes.stream.doctor.video import ELEMENTS, JETSON, NVCODEC
from saliency_tubes.stream.media.encoders import ABSENT, Chosen

GIB = 1 << 30
REQUIRED = ("av", "numpy", "opencv-python-headless", "openvino", "pillow")
PACKAGES = dict(zip(REQUIRED, ("18.1.0", "2.4.6", "5.0.0", "2026.4.1", "13.0.0"), strict=True))
CUDA_13 = {"cuda-bindings": "13.5.0", "nvidia-cuda-nvrtc": "13.0.88"}
CUDA_12 = {"cuda-bindings": "12.9.4", "nvidia-cuda-nvrtc-cu12": "12.6.85"}
PLAIN = frozenset(ELEMENTS) - {*NVCODEC, *JETSON}
X264 = {"PyAV": Chosen("libx264"), "GStreamer": Chosen("x264enc")}

ASKED = Answers(
    device="no NVIDIA driver (libcuda.so.1 was not found)",
    kernels="no NVIDIA driver (libcuda.so.1 was not found)",
    model=Model("i3d", read_manifest(find_model("i3d"))),
    runner=Choices("OpenVINO 2026.4.1 on CPU", ("f32", "bf16")),
    on_cuda="nothing here runs ONNX files by CUDA",
    onnxruntime="onnxruntime is not installed",
    placing=Placing("host", "the model runs on the CPU"),
    overlay=("avx2", "generic", "numpy"),
    decode={"files": "PyAV", "network cameras": "PyAV", "USB cameras": "PyAV", "CSI cameras": "GStreamer"},
    decoders=("H.264", "HEVC", "AV1", "VP9", "MJPEG"),
    encoders=X264,
    gstreamer="1.24.2",
    elements=PLAIN,
)
CPU_ONLY = System(
    version="0.1.0",
    name="Ubuntu 24.04.3 LTS",
    kernel="6.8.0-85-generic",
    machine="x86_64",
    python="3.12.3, /opt/tubes/bin/python",
    processor=Processor("Intel(R) Core(TM) i5-8250U CPU @ 1.60GHz", Cores(8, 8), frozenset({"avx2", "fma"})),
    packages=PACKAGES,
    required=REQUIRED,
    programs=frozenset({"g++", "apt-get"}),
    files={"/dev/video0": "", "/dev/video1": ""},
    shared_memory=8 * GIB,
    cache="/var/cache/saliency-tubes",
    asked=replace(ASKED, runner=Choices("OpenVINO 2026.4.1 on CPU", ("f32",))),
)
NO_COMPILER = replace(
    CPU_ONLY,
    programs=frozenset({"apt-get"}),
    asked=replace(CPU_ONLY.asked, overlay=("numpy",), overlay_missing="No module named '_overlay'"),
)
NO_GSTREAMER = replace(
    CPU_ONLY,
    asked=replace(
        CPU_ONLY.asked,
        gstreamer="",
        gstreamer_missing="needs GStreamer and its Python binding: apt-get install python3-gi python3-gst-1.0",
        elements=frozenset(),
        encoders={"PyAV": Chosen("libx264")},
    ),
)

NVIDIA = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build\n"
RTX_4060 = Device("NVIDIA GeForce RTX 4060", "8.9")
DESKTOP = replace(
    CPU_ONLY,
    processor=Processor("AMD Ryzen 7 7700", Cores(16, 16), frozenset({"avx2", "avx512f", "avx512_bf16"})),
    packages={**PACKAGES, **CUDA_13, "tensorrt-rtx": "1.7.1.116"},
    files={**CPU_ONLY.files, "/proc/driver/nvidia/version": NVIDIA.format("580.95.05"), "/dev/nvidia0": ""},
    cuda=(13, 0),
    asked=replace(
        ASKED,
        device=RTX_4060,
        kernels="",
        kits=(FoundKit("tensorrt-rtx", "1.7.1.116"),),
        on_cuda=Choices("TensorRT-RTX 1.7.1.116 on NVIDIA GeForce RTX 4060", ("f32",)),
        speeds=Speeds(16, {"f32": 0.141, "bf16": 0.079}, kept=True),
        overlay=("avx512", "avx2", "generic", "numpy"),
        encoders={"PyAV": Chosen("h264_nvenc"), "GStreamer": Chosen("nvh264enc")},
        elements=PLAIN | {*NVCODEC},
        gstreamer_decodes=True,
    ),
)
OLD_DRIVER = replace(
    DESKTOP,
    files={**DESKTOP.files, "/proc/driver/nvidia/version": NVIDIA.format("535.183.01")},
    cuda=(12, 2),
)
DATA_CENTRE = replace(
    DESKTOP,
    name="Ubuntu 22.04.5 LTS",
    processor=Processor("Intel(R) Xeon(R) Platinum 8480C", Cores(112, 16, 12.0), frozenset({"avx512f", "amx_bf16"})),
    packages={**PACKAGES, **CUDA_13, "onnxruntime-gpu": "1.32.0"},
    asked=replace(
        DESKTOP.asked,
        device=Device("NVIDIA H200", "9.0"),
        kits=(),
        on_cuda=Choices("onnxruntime 1.32.0 on CUDA", ("f32",)),
        onnxruntime=Choices("onnxruntime 1.32.0 on CUDA", ("f32",)),
        encoders={
            "PyAV": Chosen("libx264", (("h264_nvenc", "No capable devices found"),)),
            "GStreamer": Chosen("x264enc", (("nvh264enc", ABSENT),)),
        },
        elements=PLAIN | {"cudaupload", "cudadownload", "nvh264dec", "nvh265dec"},
        gstreamer_decodes=False,
        nvdec_missing="PyNvVideoCodec is not installed (pip install PyNvVideoCodec)",
    ),
)
CONTAINER = replace(
    CPU_ONLY,
    name="Debian GNU/Linux 12 (bookworm)",
    files={"/.dockerenv": "", "/proc/driver/nvidia/version": NVIDIA.format("580.95.05")},
    processor=replace(CPU_ONLY.processor, cores=Cores(8, 8, 1.5)),
    shared_memory=64 << 20,
    asked=replace(CPU_ONLY.asked, cache_kept=False),
)

CONF = """\
< POWER_MODEL ID=0 NAME=15W >
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
"""
JETSON_FILES = {
    "/etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64",
    "/proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "/etc/nvpmodel.conf": CONF.replace("_SUPER", ""),
    "/dev/video0": "",
}
ORIN = replace(
    CPU_ONLY,
    name="Ubuntu 22.04.5 LTS",
    kernel="5.15.148-tegra",
    machine="aarch64",
    python="3.10.12, /opt/tubes/bin/python",
    processor=Processor("ARMv8 Processor rev 1 (v8l)", Cores(12, 12), frozenset({"asimd", "fp"})),
    packages={**PACKAGES, **CUDA_12},
    files=JETSON_FILES,
    commands={"nvpmodel -q": "NV Power Mode: MAXN\n2\n"},
    cuda=(12, 6),
    asked=replace(
        ASKED,
        device=Device("Orin", "8.7"),
        kernels="",
        kits=(FoundKit("tensorrt", "10.3.0"),),
        on_cuda=Choices("TensorRT 10.3.0 on Orin", ("f32",)),
        runner=Choices("OpenVINO 2026.4.1 on CPU", ("f32",)),
        overlay=("neon", "generic", "numpy"),
        gstreamer="1.20.3",
        encoders={"PyAV": Chosen("libx264"), "GStreamer": Chosen("nvv4l2h264enc")},
        elements=PLAIN | {*JETSON},
        gstreamer_decodes=True,
    ),
)
ORIN_NANO = replace(
    ORIN,
    processor=replace(ORIN.processor, cores=Cores(6, 6)),
    files={
        **JETSON_FILES,
        "/proc/device-tree/model": "NVIDIA Jetson Orin Nano Super\0",
        "/etc/nvpmodel.conf": CONF,
    },
    commands={"nvpmodel -q": "NV Power Mode: 15W\n0\n"},
    denied={"/dev/video0": "video"},
    asked=replace(
        ORIN.asked,
        encoders={"PyAV": Chosen("libx264"), "GStreamer": Chosen("x264enc", (("nvv4l2h264enc", "it gives nothing"),))},
    ),
)
THOR = replace(
    ORIN,
    name="Ubuntu 24.04.3 LTS",
    kernel="6.8.12-tegra",
    python="3.12.3, /opt/tubes/bin/python",
    processor=Processor("ARM Neoverse V3AE", Cores(14, 14), frozenset({"asimd", "sve", "bf16", "i8mm"})),
    packages={**PACKAGES, **CUDA_13},
    files={
        **JETSON_FILES,
        "/etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64",
        "/proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0",
        "/etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=120W >\n",
    },
    commands={"nvpmodel -q": "NV Power Mode: 120W\n1\n"},
    cuda=(13, 0),
    asked=replace(ORIN.asked, device=Device("NVIDIA Thor", "11.0"), kits=(), on_cuda=ASKED.on_cuda, gstreamer="1.24.2"),
)

SYSTEMS = {
    "CPU only": CPU_ONLY,
    "no compiler": NO_COMPILER,
    "no GStreamer": NO_GSTREAMER,
    "desktop": DESKTOP,
    "old driver": OLD_DRIVER,
    "data centre": DATA_CENTRE,
    "container": CONTAINER,
    "Orin": ORIN,
    "Orin Nano": ORIN_NANO,
    "Thor": THOR,
}
