"""Chooses the memory that a stream's frames live in, once, at its start: the host's, or a GPU's beside the model."""

from __future__ import annotations

from dataclasses import dataclass

from ...engine.errors import UsageError
from ...engine.picture import HOST
from ...engine.place import Place
from ...engine.runtimes.device import DOCTOR

AUTO, CUDA = "auto", "cuda"


@dataclass(frozen=True)
class Placing:
    """Where frames live, and why there."""

    name: str
    """HOST or "cuda:N", as `Place.name`"""
    why: str
    """for people"""


def read_memory(text: str) -> str:
    """auto, host, cuda or cuda:N. Raises ValueError."""
    name, colon, number = text.lower().partition(":")
    if (name in (AUTO, HOST) and not colon) or (name == CUDA and (not colon or _is_index(number))):
        return text.lower()
    raise ValueError(f"auto, host, cuda or cuda:N, the GPU number N, got {text!r}")


def placing(asked: str, model: str, why_not: str | None = None) -> Placing:
    """Where frames live. Pure.

    asked: as `read_memory` gives it. model: the place where the model wants its samples. why_not: why the kernels
    cannot run on the GPU that is meant (`gpu_meant`); None: they can.

    The rule of auto: frames live where the model reads its samples. Each frame then crosses to the GPU once at most,
    and back once at most, where otherwise every window, some ten times as large, would be made on the host and copied.
    Raises UsageError where what is asked for cannot be.
    """
    on_gpu = model != HOST
    if asked == HOST:
        return Placing(HOST, "as asked" + (f"; what the model sees is copied to {model}" if on_gpu else ""))
    if asked == AUTO and not on_gpu:
        return Placing(HOST, "the model reads its samples there")
    if asked == AUTO and why_not:
        return Placing(HOST, f"the model reads its samples on {model}, but nothing can be drawn there: {why_not}")
    meant = gpu_meant(asked, model)
    if why_not:
        raise UsageError(f"frames cannot live on {meant}: {why_not}; use --memory host; {DOCTOR}")
    if on_gpu and meant != model:
        raise UsageError(f"frames cannot live on {meant} while the model runs on {model}: use --memory {model}")
    if asked == AUTO:
        return Placing(meant, "the model reads its samples there")
    return Placing(meant, "as asked" + ("" if on_gpu else "; what the model sees is copied to the host"))


def gpu_meant(asked: str, model: str) -> str:
    """The GPU that frames would live on, as "cuda:1"; HOST where none is meant. Arguments as for `placing`."""
    if asked == HOST or (asked == AUTO and model == HOST):
        return HOST
    if asked in (AUTO, CUDA):
        return model if model != HOST else f"{CUDA}:0"
    return asked


def index_of(name: str) -> int:
    """The number of the GPU "cuda:N"."""
    return int(name.partition(":")[2])


def choose(asked: str, model: str) -> Placing:
    """As `placing`, and asks this machine whether the GPU that is meant can be used."""
    meant, why_not = gpu_meant(asked, model), None
    if meant != HOST:
        from ...engine.cuda.driver import why_not as ask

        why_not = ask(index_of(meant))
    return placing(asked, model, why_not)


def open_place(name: str) -> Place | None:
    """The place of one stream; None for the host's, which the pipeline makes. Streams on one GPU share what
    it keeps of programs and tables. The caller closes it. Raises ModelError where the GPU fails."""
    if name == HOST:
        return None
    from ...engine.cuda.driver import Gpu
    from ...engine.cuda.place import CudaPlace

    place: Place = CudaPlace(Gpu.of(index_of(name)))
    return place


def _is_index(text: str) -> bool:
    return text.isdecimal() and len(text) < 4
