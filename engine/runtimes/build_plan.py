"""A plan and the JSON beside it: built when something has changed, written whole or not at all."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, UsageError
from .build_options import BuildOptions, BuildWatch, Silent
from .models import is_plan, read_manifest
from .onnxfile import read_metadata
from .planfile import PlanInfo, json_path, read_plan, sha256
from .tensorrt import Kit
from .tensorrt_builder import Engine, build, find_kit, target

if TYPE_CHECKING:
    from .device import Device


NEW = "there was none"
OURS = "saliency_tubes."
"""how the entries of an ONNX file's metadata begin that go with the plan"""


@dataclass(frozen=True)
class Built:
    """What `build_plan` did."""

    info: PlanInfo
    why: str
    """what had changed since the last build; empty: nothing, and nothing was built"""


@dataclass(frozen=True)
class Request:
    """All that a plan depends on. The same again gives no better plan."""

    kit: Kit
    device: Device | None
    metadata: Mapping[str, str]
    options: BuildOptions
    clip_length: int
    onnx_sha256: str

    @property
    def compute_capability(self) -> tuple[str, ...]:
        return (self.device.compute_capability,) if self.device else self.options.compute_capability

    def why_build(self, plan: Path) -> str:
        """In a few words, why the plan there is not the one that is asked for; empty: it is."""
        if not plan.exists():
            return NEW
        try:
            info = read_plan(plan)
        except ModelError as error:
            return str(error)
        asked = self.options.to_json(self.clip_length)
        changed = [
            name.replace("_", " ")
            for name in asked
            if name != "compute_capability" and info.options.get(name) != asked[name]
        ]
        differences = {
            "the ONNX file has changed": info.onnx_sha256 != self.onnx_sha256,
            f"the plan is of {info.made_by}": (info.builder, info.version) != (self.kit.name, self.kit.version),
            f"the plan is for {info.made_for}": info.compute_capability != self.compute_capability
            or info.device != self._device_name,
            f"another {', '.join(changed)} is asked for": bool(changed),
        }
        return "; ".join(text for text, differs in differences.items() if differs)

    def describe(self, engine: Engine) -> PlanInfo:
        return PlanInfo(
            builder=self.kit.name,
            version=self.kit.version,
            compute_capability=self.compute_capability,
            device=self._device_name,
            clip_length=engine.clip_length,
            inputs=engine.inputs,
            outputs=engine.outputs,
            profile=engine.profile,
            options=self.options.to_json(self.clip_length),
            onnx_sha256=self.onnx_sha256,
            plan_sha256=hashlib.sha256(engine.data).hexdigest(),
            plan_bytes=engine.data.nbytes,
            metadata=self.metadata,
        )

    @property
    def _device_name(self) -> str:
        return self.device.name if self.device else ""


def build_plan(
    onnx: Path,
    plan: Path,
    options: BuildOptions | None = None,
    *,
    builder: str = "auto",
    index: int = 0,
    timing_cache: Path | None = None,
    force: bool = False,
    watch: BuildWatch | None = None,
) -> Built:
    """Builds `plan` from `onnx` and writes its JSON beside it; does nothing where that has been done, unless `force`.

    builder: tensorrt, tensorrt-rtx, or auto (the first that is installed). index: of the GPU that TensorRT builds for,
    which must be the calling thread's if it is not 0. Raises UsageError for what nothing here can
    serve, ModelError with TensorRT's own reason for a file that cannot be built, Cancelled if `watch` was cancelled;
    then what was there is still there.
    """
    options, watch = options or BuildOptions(), watch or Silent()
    if is_plan(onnx):
        raise UsageError(f"{onnx} is a plan already: build takes the ONNX file that it was built from")
    for wrong, reason in (
        (plan.suffix == ".onnx", "it is the name of an ONNX file"),
        (plan.is_dir(), "it is a folder"),
        (not plan.parent.is_dir(), f"there is no folder {plan.parent}"),
    ):
        if wrong:
            raise UsageError(f"cannot write {plan}: {reason}")
    kit = find_kit(builder)
    device = target(kit, options, index)
    manifest = read_manifest(onnx)
    clip_length = manifest.default_clip_length if options.clip_length is None else options.clip_length
    manifest.window(clip_length)
    metadata = {name: text for name, text in read_metadata(onnx).items() if name.startswith(OURS)}
    request = Request(kit, device, metadata, options, clip_length, onnx_sha256(onnx))
    why = request.why_build(plan) or ("it was asked for" if force else "")
    if not why:
        return Built(read_plan(plan, verify=False), "")
    try:
        # made before the build, which may take minutes: a folder that cannot be written to is told at once
        with tempfile.TemporaryDirectory(dir=plan.parent, prefix=f".{plan.name}.") as folder:
            engine = build(kit, onnx, manifest, options, watch, timing_cache)
            info = request.describe(engine)
            _write(engine.data, Path(folder) / plan.name, plan)
            _write(info.to_json().encode(), Path(folder) / json_path(plan).name, json_path(plan))
    except OSError as error:
        raise ModelError(f"cannot write {plan}: {error.strerror}") from None
    return Built(info, why)


def _write(data: Any, part: Path, path: Path) -> None:
    """Whole or not at all; between the plan and its JSON the old JSON tells that it is of another plan."""
    part.write_bytes(data)
    part.replace(path)


def onnx_sha256(onnx: Path) -> str:
    """With the weights that torch and others put beside a large file."""
    weights = onnx.with_name(onnx.name + ".data")
    return sha256(onnx, weights) if weights.is_file() else sha256(onnx)
