"""Probes of the machine itself: system, Python, processor, compiled part, memory, cache, screen. Pure."""

from __future__ import annotations

from ...engine.cores import Cores
from ...engine.draw.overlay import TITLES
from .finding import ABSENT, BROKEN, OK, SLOWER, Finding
from .system import System

SIMD = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vbmi": "VBMI",
    "avx512vbmi": "VBMI",
    "avx512_bf16": "bf16",
    "amx_bf16": "AMX bf16",
    "amx_int8": "AMX int8",
    "asimd": "NEON",
    "sve": "SVE",
    "bf16": "bf16",
    "i8mm": "int8 matrices",
}
"""Linux's name of an instruction set -> ours, for those that matter here."""
SMALL_SHM = 128 << 20
"""Bytes of /dev/shm below which programs beside this one run out of it; Docker gives 64 MiB."""
GIB = 1 << 30


def system(machine: System) -> Finding:
    where = ", in a container" if machine.in_container else ""
    board = f"{machine.board}, " if machine.board else ""
    return Finding(OK, "system", f"{board}{machine.name}, Linux {machine.kernel}, {machine.machine}{where}")


def python(machine: System) -> Finding:
    return Finding(OK, "Python", machine.python)


def packages(machine: System) -> Finding:
    missing = [name for name in machine.required if name not in machine.packages]
    if missing:
        return Finding(BROKEN, "packages", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    listed = ", ".join(f"{name} {machine.packages[name]}" for name in machine.required)
    return Finding(OK, "packages", listed)


def processor(machine: System) -> Finding:
    cpu, cores = machine.processor, machine.processor.cores
    if cores.limited:
        text = f"{cpu.name}, {cores_in_words(cores)}"
        command = f"sudo systemctl set-property UNIT CPUQuota={100 * cores.allowed}%    # the service that this runs in"
        if machine.in_container:
            command = f"docker update --cpus {cores.allowed} CONTAINER    # on the host"
        return Finding(SLOWER, "processor", text, command)
    return Finding(OK, "processor", f"{cpu.name}, {cores_in_words(cores)}")


def cores_in_words(cores: Cores) -> str:
    """ "16 of 112 cores, of whose time a control group allows 12" """
    number = f"{cores.allowed} of {cores.machine}" if cores.allowed != cores.machine else str(cores.machine)
    words = f"{number} core{'s' * (cores.machine != 1)}"
    return f"{words}, of whose time a control group allows {cores.quota:.3g}" if cores.limited else words


def simd(machine: System) -> Finding:
    known = [title for name, title in SIMD.items() if name in machine.processor.features]
    text = ", ".join(dict.fromkeys(known)) or "none that is used here"
    return Finding(OK, "SIMD", text)


def compiled(machine: System) -> Finding:
    best, *_ = machine.asked.overlay
    if best != "numpy":
        return Finding(OK, "compiled part", TITLES[best])
    again = "pip install --force-reinstall --no-deps saliency-tubes"
    if "g++" not in machine.programs:
        command = f"{machine.apt} g++ python3-dev && {again}"
        return Finding(SLOWER, "compiled part", "none: it was installed without a C++ compiler", command)
    why = machine.asked.overlay_missing or "it was not compiled"
    return Finding(SLOWER, "compiled part", f"none: {why}", f"{again} --verbose")


def shared_memory(machine: System) -> Finding | None:
    size = machine.shared_memory
    if size is None:
        return None
    text = f"{size / GIB:.2g} GiB" if size >= GIB else f"{size >> 20} MiB"
    if machine.in_container and size < SMALL_SHM:
        why = f"{text}, which is little for display:// and for GPU libraries"
        return Finding(ABSENT, "/dev/shm", why, "docker run --shm-size 1g ...")
    return Finding(OK, "/dev/shm", text)


def cache(machine: System) -> Finding:
    if machine.asked.cache_kept:
        return Finding(OK, "cache", machine.cache)
    text = f"{machine.cache} cannot be written: every start measures and compiles anew"
    return Finding(SLOWER, "cache", text, "export XDG_CACHE_HOME=/a/folder/of/yours")


def display(machine: System) -> Finding:
    missing = machine.asked.display_missing.removeprefix("display://: ")
    if not missing:
        return Finding(OK, "screen", "display:// shows a window")
    text, _, command = missing.partition("; for one that has: ")
    # what follows in brackets are libraries of the system, which most have
    return Finding(ABSENT, "screen", f"no display://: {text} (web:// needs no screen)", command.partition(" (on ")[0])
