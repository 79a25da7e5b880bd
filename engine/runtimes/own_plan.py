"""Plans that a run builds for itself from an ONNX file, and keeps in the user's cache.

A plan is kept only if its outputs are those of the ONNX file, and used only if nothing that it depends on has changed.
Those that were not used for longest are removed (plan_cache.py).
It multiplies float32 as float32: what is called f32 is f32. `saliency-tubes build` makes plans that may use TF32.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..cachefile import cache_folder, is_private, key_of, read_cached, write_cached
from ..cuda.driver import Gpu
from ..errors import ModelError
from ..manifest import Manifest
from ..noise import smooth_noise
from . import plan_cache
from .base import TensorRunner
from .bounds import BOUNDS, TF32, read_precision
from .build_options import BuildOptions, BuildWatch, Silent
from .build_plan import Built, build_plan, onnx_sha256
from .compare import compare
from .device import Device, driver_version
from .planfile import PlanInfo, json_path, read_plan
from .tensorrt import Kit, TensorRtRunner
from .tensorrt_builder import FixedBatch

Attend = Callable[[Callable[[BuildWatch], Built]], Built]
"""Calls a function that builds, with a `BuildWatch` that shows how far the build is, and returns what it returns."""
_FORMAT = "saliency-tubes plan 1"
_REFUSED = b"saliency-tubes refused plan 1\n"


def unattended(work: Callable[[BuildWatch], Built]) -> Built:
    """An `Attend` that shows nothing."""
    return work(Silent())


@dataclass(frozen=True)
class OwnPlan:
    """All that a plan of a run's own depends on."""

    onnx: Path
    manifest: Manifest
    clip_length: int
    batch: int
    """the most clips at a time that are asked for; the plan takes as many, rounded up to a power of two"""
    kit: Kit
    device: Device

    @property
    def options(self) -> BuildOptions:
        """What is asked of the builder. TensorRT-RTX is told the GPU, so that it refuses one that it does not know."""
        most = 1 << (self.batch - 1).bit_length()
        capability = (self.device.compute_capability,) if self.kit.is_rtx else ()
        return BuildOptions((1, most, most), self.clip_length, compute_capability=capability, tf32=False)

    @property
    def key(self) -> str:
        """Names the plan: the file with its weights, the options, TensorRT's version, the GPU, driver and system."""
        options = json.dumps(self.options.to_json(self.clip_length), sort_keys=True)
        return key_of(_FORMAT, onnx_sha256(self.onnx), options, *self._machine)

    @property
    def file_name(self) -> str:
        return f"{self.onnx.stem[:40]}-{self.key[:32]}.plan"

    @property
    def timings(self) -> str:
        """The name of the file with what TensorRT measured on this machine, for all models."""
        return f"{self.kit.name}-{key_of(*self._machine)[:32]}.timing"

    @property
    def _machine(self) -> tuple[str, ...]:
        about = (self.device.name, self.device.compute_capability, str(driver_version()))
        return self.kit.name, self.kit.version, *about, platform.system(), platform.machine()

    def open(self, reference: Callable[[], TensorRunner] | None, attend: Attend = unattended) -> TensorRtRunner:
        """The runner of the plan that was kept, or else of one that is built now, and kept if that is possible.

        reference: opens the ONNX file in another runtime, whose outputs a new plan must have; None: there is no other
        runtime, and only the plan's own numbers are looked at. Raises ModelError, with the reason, if a plan cannot be
        built or run or is wrong; Cancelled if the build was cancelled.
        """
        folder = cache_folder("plans")
        kept = self._kept(folder / self.file_name)
        if kept is not None:
            runner = self._runner(folder / self.file_name, kept, "kept from an earlier start")
            self._tidy(folder, runner)
            return runner
        refused, head = folder / f"{self.file_name}.refused", _REFUSED
        if reason := read_cached(refused, head):
            raise ModelError(f"{reason.decode()} (at an earlier start; to try again, delete {refused})")
        try:
            return self._built(folder, reference, attend)
        except ModelError as error:  # which would take as long again at every start
            write_cached(refused, head, str(error).encode())
            raise

    def _built(self, folder: Path, reference: Callable[[], TensorRunner] | None, attend: Attend) -> TensorRtRunner:
        with _building_in(folder) as (place, lasting):
            plan = place / self.file_name
            built = self._build(plan, folder / self.timings if lasting else None, attend)
            runner = self._runner(plan, built.info, "built now")
            self._check(runner, reference)
            if lasting and _keep(plan, folder):
                self._tidy(folder, runner)
            else:
                runner.description += f", and not kept: {folder} cannot be written to"
            return runner

    def _tidy(self, folder: Path, runner: TensorRtRunner) -> None:
        """Removes plans that nobody uses, and says so."""
        plan = folder / self.file_name
        plan_cache.mark_used(plan)
        runner.description += plan_cache.in_words(plan_cache.prune(folder, plan))

    @staticmethod
    def _kept(plan: Path) -> PlanInfo | None:
        """What is known about a plan in the cache; None if there is none, or not exactly the one that was written."""
        if not (is_private(plan) and is_private(json_path(plan))):
            return None
        with suppress(ModelError):
            return read_plan(plan)
        return None

    def _build(self, plan: Path, timings: Path | None, attend: Attend) -> Built:
        def built(options: BuildOptions) -> Built:
            return attend(partial(self._build_on_gpu, plan, options, timings))

        try:
            return built(self.options)
        except FixedBatch as fixed:
            if fixed.size != 1:
                raise
            return built(replace(self.options, batch=(1, 1, 1)))

    def _build_on_gpu(self, plan: Path, options: BuildOptions, timings: Path | None, watch: BuildWatch) -> Built:
        builder, index = self.kit.name, self.device.index
        with Gpu.of(index).entered():  # TensorRT builds for the GPU that is current in the thread that calls it
            return build_plan(self.onnx, plan, options, builder=builder, index=index, timing_cache=timings, watch=watch)

    def _runner(self, plan: Path, info: PlanInfo, how: str) -> TensorRtRunner:
        runner = TensorRtRunner(plan, info, f"cuda:{self.device.index}", self.batch)
        runner.description = f"{self.kit.title} on {self.device.name}, f32, a plan of its own, {how}"
        return runner

    def _check(self, runner: TensorRtRunner, reference: Callable[[], TensorRunner] | None) -> None:
        """Raises ModelError if a clip of noise gives numbers that are not the ONNX file's."""
        clip = smooth_noise(self.manifest.input, self.clip_length)
        expected = None if reference is None else reference().infer(clip)[0]
        (found,) = runner.infer(clip, [None if expected is None else int(expected.logits.argmax())])
        bounds = BOUNDS[read_precision(self.onnx)].loosened(TF32)
        misses = compare(found, found if expected is None else expected, self.manifest, self.clip_length).misses(bounds)
        if misses:
            raise ModelError(f"the plan that {self.kit.title} built is not used, its numbers are wrong: {misses[0]}")


@contextmanager
def _building_in(folder: Path) -> Iterator[tuple[Path, bool]]:
    """A new folder within `folder`, and whether it could be made; else one among the system's temporary files. It is
    removed at the end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(dir=folder, prefix=plan_cache.BUILDING)
        lasting = True
    except OSError:
        made, lasting = tempfile.TemporaryDirectory(), False
    with made as name:
        yield Path(name), lasting


def _keep(plan: Path, folder: Path) -> bool:
    """Moves a plan and its JSON into the folder, writable by nobody else. Returns whether that was possible."""
    try:
        for part in (plan, json_path(plan)):
            part.chmod(0o600)
            os.replace(part, folder / part.name)
    except OSError:
        return False
    return True
