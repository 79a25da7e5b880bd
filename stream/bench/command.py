"""The command `saliency-tubes bench`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ...engine.cores import cores
from ...engine.errors import TubesError, UsageError
from ...engine.manifest import Manifest
from ...engine.runtimes.device import Device, cuda_index, find_device
from ...engine.runtimes.models import find_model, read_manifest
from ...engine.runtimes.open import choices, place_of
from ...engine.types import Explanation
from ..app.arguments import add_flag, known_options
from ..app.placing import choose
from ..doctor.here import processor
from ..doctor.machine import cores_in_words
from .film import SIZES, Film, make_film
from .power import Meter
from .report import as_text
from .results import Results, Timing
from .stages import Asked, first_explanation, time_network, time_run, time_stages
from .streams import first_count, hold

LENGTH, QUICK_LENGTH = 450, 150
"""Number of frames of the films."""
AS_OF_RUN = ("runtime", "device", "memory")
"""options of `run` that `bench` takes too"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.add_argument("model", nargs="?", default="i3d", help="model file or TensorRT plan (default: i3d)")
    for name in AS_OF_RUN:
        add_flag(parser, known_options()[name])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about how fast, in half a minute")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--to", type=Path, metavar="FILE", help="write the JSON into a file as well")


def run(args: argparse.Namespace) -> int:
    """Measures, and prints. Progress goes to stderr."""
    if args.to is not None and not args.to.resolve().parent.is_dir():
        raise UsageError(f"--to {args.to}: there is no folder {args.to.resolve().parent}")
    given = {name: vars(args)[name] for name in AS_OF_RUN if name in vars(args)}
    results = measure(Asked(args.model, **given, quick=args.quick))
    told = json.dumps(results.record(), ensure_ascii=False, indent=1)
    if args.to is not None:
        try:
            args.to.write_text(told + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"--to {args.to}: {error.strerror}") from None
    print(told if args.json else as_text(results), end="\n" if args.json else "")
    return 0


def measure(asked: Asked) -> Results:
    """Everything. Takes one to two minutes, or half of one. Raises UsageError, ModelError."""
    begun, meter = time.monotonic(), Meter()
    manifest = read_manifest(find_model(asked.model))
    title = choices(asked.model, runtime=asked.runtime, device=asked.device).title
    placed = choose(asked.memory, place_of(asked.model, runtime=asked.runtime, device=asked.device))
    _say(f"{title}; frames live on {placed.name}: {placed.why}")
    with tempfile.TemporaryDirectory(prefix="saliency-tubes-bench-") as folder:
        _say("two films are being made")
        length = QUICK_LENGTH if asked.quick else LENGTH
        films = [make_film(Path(folder), size, length) for size in SIZES]
        _say("the network is being timed")
        explanation, evidence = first_explanation(films[0], asked)
        network = time_network(films[0], manifest, asked, _say)
        _say("decoding, sampling, drawing and encoding are being timed")
        timings = [*time_stages(films, manifest, explanation, asked), *network, evidence]
        found = gpu_of(asked)
        if isinstance(found, Device):
            timings += _on_gpu(found.index, manifest, films, explanation, asked)
        _say("a whole run from file to file is being timed")
        timings.append(time_run(films[0], asked))
        usable = cores().usable
        runs = []
        for film in films:
            _say(f"live streams of {film.size} are being run")
            runs += hold(film, first_count(timings, film.size, usable), asked, meter, _say)
    return Results(
        version("saliency-tubes"),
        _device(asked),
        manifest.title,
        title,
        tuple(timings),
        tuple(runs),
        meter.source,
        time.monotonic() - begun,
    )


def _on_gpu(
    index: int, manifest: Manifest, films: Sequence[Film], explanation: Explanation, asked: Asked
) -> list[Timing]:
    """The times of the CUDA kernels and of a stream's place on a GPU; none where they cannot run."""
    from .kernels import time_kernels, time_place

    _say("the CUDA kernels are being timed")
    spec, found = manifest.input, list[Timing]()
    try:
        found += time_kernels(index, spec)
        for film in films:
            found += time_place(film, spec, explanation, index, asked.rounds)
    except TubesError as error:
        _say(f"not measured: {error}")
    return found


def gpu_of(asked: Asked) -> Device | str:
    """The GPU that is asked for, else the first; or in words why there is none."""
    return find_device(cuda_index(asked.device) if asked.device.lower().startswith("cuda") else 0)


def _device(asked: Asked) -> str:
    """ "AMD EPYC, 2 cores", and the GPU where there is one."""
    cpu, gpu = processor(), gpu_of(asked)
    told = f"{cpu.name}, {cores_in_words(cpu.cores)}"
    return f"{gpu.name}; {told}" if isinstance(gpu, Device) else told


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
