"""The CUDA kernels compiled for every GPU that is promised: no spills; and NVRTC's results on disk."""

import ctypes
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from saliency_tubes.engine.cuda import program as cuda_program
from saliency_tubes.engine.cuda.program import HEADERS, KERNELS, OPTIONS, build, load_nvrtc, target_of
from saliency_tubes.engine.errors import ModelError, UsageError

ARCHITECTURES = (120, *(pytest.param(one, marks=pytest.mark.slow) for one in (75, 80, 86, 87, 89, 90, 100, 110)))
"""the newest every time, and the others in the slow run"""
PROGRAMS = ("overlay", "evidence", "preprocess", "fit", "gather", "marks")
KERNEL_NAMES = {
    "overlay_linear",
    "overlay_cubic",
    "evidence_float",
    "evidence_half",
    "preprocess",
    "fit",
    "fit_wide",
    "gather",
    "marks",
}


def libraries():
    """NVRTC's libraries out of pip's packages, by version."""
    found = {}
    spec = find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else ():
        for path in [*Path(folder).glob("cuda_nvrtc/lib/libnvrtc.so.*"), *Path(folder).glob("cu*/lib/libnvrtc.so.*")]:
            if re.fullmatch(r"libnvrtc\.so\.\d+", path.name):
                for builtins in path.parent.glob("libnvrtc-builtins.so.*"):
                    ctypes.CDLL(str(builtins))  # NVRTC asks for it by name alone
                library, major, minor = ctypes.CDLL(str(path)), ctypes.c_int(), ctypes.c_int()
                library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
                found[major.value, minor.value] = library
    return found


def compiled(nvrtc, program, option, get):
    """What NVRTC makes of a program, through C: the text or the code, and what ptxas says of it."""
    headers = {name: (KERNELS / name).read_bytes() for name in HEADERS} | {"stdint.h": cuda_program.STDINT.encode()}
    contents = (ctypes.c_char_p * len(headers))(*headers.values())
    names = (ctypes.c_char_p * len(headers))(*[name.encode() for name in headers])
    handle, size = ctypes.c_void_p(), ctypes.c_size_t()
    source = (KERNELS / f"{program}.cu").read_bytes()
    assert not nvrtc.nvrtcCreateProgram(ctypes.byref(handle), source, b"k.cu", len(headers), contents, names)
    options = (ctypes.c_char_p * 4)(*[text.encode() for text in (*OPTIONS, option, "--ptxas-options=--verbose")])
    code = nvrtc.nvrtcCompileProgram(handle, 4, options)
    nvrtc.nvrtcGetProgramLogSize(handle, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(handle, log)
    assert not code, log.value.decode()
    getattr(nvrtc, f"nvrtcGet{get}Size")(handle, ctypes.byref(size))
    made = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{get}")(handle, made)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(handle))
    return made.raw, log.value.decode()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nvcc_spills_nothing(architecture, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("needs nvcc")
    found = {}
    for program in PROGRAMS:
        command = [nvcc, "-std=c++17", f"-arch=sm_{architecture}", "-cubin", "--resource-usage"]
        command += ["-o", str(tmp_path / "k.cubin"), str(KERNELS / f"{program}.cu")]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if "not defined for option" in run.stderr or "Unsupported gpu architecture" in run.stderr:
            pytest.skip(f"this nvcc does not know sm_{architecture}")
        assert run.returncode == 0, run.stderr
        for part in run.stderr.split("Compiling entry function '")[1:]:
            name = part.split("'")[0]
            spills = [int(size) for size in re.findall(r"(\d+) bytes spill", part)]
            stack = int(re.search(r"(\d+) bytes stack frame", part)[1])
            assert spills == [0, 0], f"{name} spills"
            assert stack == 0, f"{name} keeps arrays in local memory"
            found[name] = int(re.search(r"Used (\d+) registers", part)[1])
    print(f"sm_{architecture}: registers", found)
    assert set(found) == KERNEL_NAMES


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [75, 87])
def test_nvrtc_spills_nothing(architecture):
    """Every NVRTC here."""
    found = libraries()
    if not found:
        pytest.skip("needs NVRTC: pip install nvidia-cuda-nvrtc, or nvidia-cuda-nvrtc-cu12")
    for (major, minor), nvrtc in found.items():
        count = ctypes.c_int()
        nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        known = (ctypes.c_int * count.value)()
        nvrtc.nvrtcGetSupportedArchs(known)
        if architecture not in list(known):
            continue
        for program in PROGRAMS:
            cubin, log = compiled(nvrtc, program, f"--gpu-architecture=sm_{architecture}", "CUBIN")
            assert cubin.startswith(b"\x7fELF")
            print(f"NVRTC {major}.{minor}, sm_{architecture}, {program}:", re.findall(r"Used (\d+) registers", log))
            used = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
            assert used
            assert set(used) == {("0", "0", "0")}, log


def test_ptx_that_jetpack_6_takes():
    """CUDA 12.6's PTX is of version 8.5; drivers refuse what is newer than themselves."""
    nvrtc = libraries().get((12, 6))
    if nvrtc is None:
        pytest.skip("needs NVRTC 12.6: pip install 'nvidia-cuda-nvrtc-cu12==12.6.*'")
    for program in PROGRAMS:
        text = compiled(nvrtc, program, "--gpu-architecture=compute_87", "PTX")[0].decode()
        assert ".version 8.5" in text
        assert ".target sm_87" in text


def test_targets():
    known = [75, 80, 87, 90]
    assert target_of(87, known).option == "--gpu-architecture=sm_87"
    assert target_of(120, known).option == "--gpu-architecture=compute_90"
    with pytest.raises(ModelError, match=r"7\.5 and newer, not 7\.2"):
        target_of(72, known)


class Nvrtc:
    """cuda.bindings.nvrtc's double: the code is the source, and every compilation is counted."""

    version, fail, count = (12, 6), b"", 0

    def nvrtcVersion(self):
        return (0, *self.version)

    def nvrtcGetErrorString(self, result):
        return 0, b"NVRTC_ERROR"

    def nvrtcGetSupportedArchs(self):
        return 0, [75, 87]

    def nvrtcCreateProgram(self, src, name, numHeaders, headers, includeNames):
        assert isinstance(src, bytes)
        assert isinstance(name, bytes)
        assert numHeaders == len(headers) == len(includeNames) == len(HEADERS) + 1
        assert all(isinstance(text, bytes) for text in (*headers, *includeNames))
        return 0, src

    def nvrtcCompileProgram(self, prog, numOptions, options):
        assert numOptions == len(options)
        assert all(isinstance(option, bytes) for option in options)
        self.count += 1
        return (6 if self.fail else 0,)

    def nvrtcGetProgramLogSize(self, prog):
        return 0, len(self.fail)

    def nvrtcGetProgramLog(self, prog, log):
        log[:] = self.fail
        return (0,)

    def nvrtcGetCUBINSize(self, prog):
        return 0, len(prog)

    def nvrtcGetCUBIN(self, prog, cubin):
        cubin[:] = prog
        return (0,)

    nvrtcGetPTXSize, nvrtcGetPTX = nvrtcGetCUBINSize, nvrtcGetCUBIN

    def nvrtcDestroyProgram(self, prog):
        return (0,)


@pytest.fixture
def nvrtc(monkeypatch):
    double = Nvrtc()
    monkeypatch.setattr(cuda_program, "load_nvrtc", lambda: double)
    return double


def test_programs_are_compiled_once(nvrtc, tmp_path, monkeypatch):
    first = build("overlay", 87, tmp_path)
    assert first == (KERNELS / "overlay.cu").read_bytes()
    assert build("overlay", 87, tmp_path) == first
    assert nvrtc.count == 1
    assert len(list(tmp_path.iterdir())) == 1
    build("overlay", 75, tmp_path)
    nvrtc.version = (12, 8)
    build("overlay", 87, tmp_path)
    monkeypatch.setattr(cuda_program, "OPTIONS", ("--fmad=false",))
    build("overlay", 87, tmp_path)
    assert nvrtc.count == 4


def test_a_cache_entry_that_cannot_be_trusted_is_made_again(nvrtc, tmp_path):
    expected = build("evidence", 87, tmp_path)
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    for bad in (b"", good[:-1], good + b"x", good[: len(good) // 2] + b"?" + good[len(good) // 2 + 1 :], b"ELF"):
        path.write_bytes(bad)
        count = nvrtc.count
        assert build("evidence", 87, tmp_path) == expected
        assert nvrtc.count == count + 1
        assert path.read_bytes() == good
    other = build("preprocess", 87, tmp_path)
    (foreign,) = set(tmp_path.iterdir()) - {path}
    path.write_bytes(foreign.read_bytes())
    assert build("evidence", 87, tmp_path) == expected != other
    if os.name == "posix":
        path.chmod(0o666)
        count = nvrtc.count
        build("evidence", 87, tmp_path)
        assert nvrtc.count == count + 1
        assert path.stat().st_mode & 0o022 == 0


def test_a_cache_that_cannot_be_written(nvrtc, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for _ in range(2):
        assert build("evidence", 87, tmp_path / "file" / "kernels")
    assert nvrtc.count == 2


def test_nvrtc_says_why(nvrtc, tmp_path):
    nvrtc.fail = b"overlay.cu(1): error: no"
    with pytest.raises(ModelError, match=r"NVRTC cannot compile overlay.cu: overlay.cu\(1\): error: no"):
        build("overlay", 87, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_real_nvrtc_by_way_of_cuda_bindings(tmp_path):
    try:
        nvrtc = load_nvrtc()
    except UsageError as error:
        pytest.skip(str(error))
    for program in PROGRAMS:
        assert build(program, 87, tmp_path).startswith(b"\x7fELF")
    assert ".target sm_" in build("evidence", 999, tmp_path).decode()
    for name in [name for name in vars(Nvrtc) if name.startswith("nvrtc")]:
        assert hasattr(nvrtc, name), name
