"""Compiles the CUDA kernels with NVRTC for this machine's GPU, once, and keeps the programs on disk.

A program's file name is made from its sources, target, options and NVRTC's version. A program that is not in the cache,
or not intact there (`cachefile`), is compiled again. If the cache cannot be written, each process compiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..cachefile import cache_folder, key_of, read_cached, write_cached
from ..errors import ModelError, UsageError

KERNELS = Path(__file__).parents[1] / "kernels"
HEADERS = ("arithmetic.h", "device.h", "resample.h")
OPTIONS = ("--std=c++17", "--define-macro=TUBES_NVRTC")
INSTALL = "pip install 'saliency-tubes[cuda]' (where the driver is of CUDA 12, as in JetPack 6: [cuda12])"
STDINT = "".join(
    f"typedef {'unsigned ' * unsigned}{name} {'u' * unsigned}int{bits}_t;\n"
    for bits, name in ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))
    for unsigned in (False, True)
).replace("typedef char", "typedef signed char")
"""Definitions for NVRTC, which has no standard headers of its own."""
_MAGIC = b"saliency-tubes kernel 1\n"


def load_nvrtc() -> Any:
    """The module cuda.bindings.nvrtc. Raises UsageError, in one line, if it or NVRTC itself is not installed."""
    try:
        nvrtc = import_module("cuda.bindings.nvrtc")
    except Exception as error:  # not installed, or for another CUDA than this driver's
        wrong = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        raise UsageError(f"NVIDIA's cuda-bindings {wrong}: {INSTALL}") from None
    try:
        _given(nvrtc, nvrtc.nvrtcVersion())
    except Exception as error:
        text = " ".join(str(error).split())
        raise UsageError(f"NVRTC, CUDA's compiler, cannot be loaded ({text}): {INSTALL}") from None
    return nvrtc


@dataclass(frozen=True)
class CompileTarget:
    """What a program is compiled to: machine code for one architecture, or PTX that the driver compiles further."""

    architecture: int
    """87 for compute capability 8.7"""
    is_ptx: bool

    @property
    def option(self) -> str:
        return f"--gpu-architecture={'compute' if self.is_ptx else 'sm'}_{self.architecture}"


def target_of(architecture: int, known: list[int]) -> CompileTarget:
    """Machine code if NVRTC knows the architecture; else PTX for the newest architecture it knows that the GPU runs."""
    if architecture in known:
        return CompileTarget(architecture, False)
    older = [number for number in known if number < architecture]
    if not older:
        raise ModelError(
            f"this NVRTC compiles for compute capability {min(known) / 10:g} and newer, not {architecture / 10:g}"
        )
    return CompileTarget(max(older), True)


def build(name: str, architecture: int, folder: Path | None = None) -> bytes:
    """The program kernels/NAME.cu for a GPU, as cuModuleLoadData takes it, from the cache or newly compiled.

    architecture: 87 for compute capability 8.7. folder: of the cache; `cache_folder("kernels")` by default. Raises
    UsageError if NVRTC is not installed, ModelError with its message if it fails.
    """
    nvrtc = load_nvrtc()
    version = _given(nvrtc, nvrtc.nvrtcVersion())
    target = target_of(architecture, [int(number) for number in _given(nvrtc, nvrtc.nvrtcGetSupportedArchs())[0]])
    source = (KERNELS / f"{name}.cu").read_bytes()
    headers = {header: (KERNELS / header).read_bytes() for header in HEADERS} | {"stdint.h": STDINT.encode()}
    options = [*OPTIONS, target.option]
    key = key_of(source, *(part for pair in headers.items() for part in pair), *options, repr(tuple(version)))
    path = (folder or cache_folder("kernels")) / f"{name}-{target.architecture}-{key[:32]}.bin"
    head = _MAGIC + key.encode() + b"\n"
    program = read_cached(path, head)
    if program is None:
        program = _compile(nvrtc, f"{name}.cu", source, headers, options, target.is_ptx)
        write_cached(path, head, program)
    return program


def _compile(
    nvrtc: Any, name: str, source: bytes, headers: dict[str, bytes], options: list[str], is_ptx: bool
) -> bytes:
    contents, names = list(headers.values()), [header.encode() for header in headers]
    (program,) = _given(nvrtc, nvrtc.nvrtcCreateProgram(source, name.encode(), len(names), contents, names))
    try:
        (code,) = nvrtc.nvrtcCompileProgram(program, len(options), [option.encode() for option in options])
        if code:
            (size,) = _given(nvrtc, nvrtc.nvrtcGetProgramLogSize(program))
            log = bytearray(size)
            _given(nvrtc, nvrtc.nvrtcGetProgramLog(program, log))
            raise ModelError(
                f"NVRTC cannot compile {name}: {' '.join(bytes(log).decode(errors='replace').split())[:400]}"
            )
        sized, get = (
            (nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX) if is_ptx else (nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
        )
        (size,) = _given(nvrtc, sized(program))
        made = bytearray(size)
        _given(nvrtc, get(program, made))
        return bytes(made)
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _given(nvrtc: Any, result: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a function returned beside its status code."""
    code, *values = result
    if code:
        _, text = nvrtc.nvrtcGetErrorString(code)
        raise ModelError(f"NVRTC says: {text.decode() if text else f'error {int(code)}'}")
    return tuple(values)
