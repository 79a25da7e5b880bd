"""The JSON file beside a TensorRT plan: what the plan is, which GPUs it was built for, and the whole manifest.

Only the TensorRT that made a plan can read it, on the GPU it was made for; the JSON can be read anywhere.
`saliency-tubes build` writes both. Reading the JSON needs neither tensorrt nor the ONNX file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..manifest import Manifest

FORMAT = 1
BUILDERS = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
"""Name of the pip package -> the product's name."""
RTX_OLDEST = (8, 0)
"""Minimum compute capability for a plan of TensorRT-RTX that names none."""
NOT_COMPATIBLE, AMPERE_PLUS, SAME_CAPABILITY = "none", "ampere+", "same"
"""The values of a plan's hardware compatibility: on which GPUs it runs beside the one it was built on."""
_CHUNK = 1 << 20

Shape = tuple[int, ...]


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a plan."""

    name: str
    shape: Shape
    """-1 where the profile leaves it open"""
    dtype: str
    """float32, float16, int64, ..."""


@dataclass(frozen=True)
class Range:
    """The shapes that a plan accepts at one input: from `min` to `max`; it is fastest at `opt`."""

    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True, eq=False)
class PlanInfo:
    """Everything that is known about a plan without reading the plan itself."""

    builder: str
    """tensorrt or tensorrt-rtx"""
    version: str
    """the builder's version"""
    compute_capability: tuple[str, ...]
    """such as ("8.6",): of the GPU it was built on, or of those it was built for; empty: chosen by TensorRT-RTX"""
    device: str
    """name of the GPU it was built on; empty if it was built without a GPU"""
    clip_length: int
    """the clip length T; a plan serves only one"""
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    profile: Mapping[str, Range]
    """by input"""
    options: Mapping[str, Any]
    """the options it was built with, as numbers and words"""
    onnx_sha256: str
    plan_sha256: str
    plan_bytes: int
    metadata: Mapping[str, str]
    """this project's entries in the metadata of the ONNX file, with the manifest"""
    manifest: Manifest = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "manifest", Manifest.from_properties(self.metadata))
        _require(self.builder in BUILDERS, f"builder must be one of {', '.join(BUILDERS)}, got {self.builder!r}")
        for value in self.compute_capability:
            parse_capability(value)
        _require(
            {tensor.name for tensor in self.inputs} == set(self.profile),
            f"profile is of {', '.join(sorted(self.profile)) or 'nothing'}, but the inputs are "
            f"{', '.join(tensor.name for tensor in self.inputs) or 'none'}",
        )
        missing = set(self.manifest.outputs.values()) - {tensor.name for tensor in self.outputs}
        _require(not missing, f"outputs lack {', '.join(sorted(missing))}")
        self.manifest.window(self.clip_length)

    @property
    def served(self) -> Manifest:
        """The manifest with the plan's one clip length as the only one, and as the default."""
        windows = {self.clip_length: self.manifest.window(self.clip_length)}
        return replace(self.manifest, windows=windows, default_clip_length=self.clip_length)

    @property
    def made_by(self) -> str:
        """TensorRT 10.3.0"""
        return f"{BUILDERS[self.builder]} {self.version}"

    @property
    def made_for(self) -> str:
        """The GPUs it runs on, in words."""
        if not self.compute_capability:
            return "GPUs of compute capability {}.{} or newer".format(*RTX_OLDEST)
        text = f"GPUs of compute capability {' or '.join(self.compute_capability)}"
        if self.options.get("hardware_compatibility") == AMPERE_PLUS:
            text = "GPUs of compute capability 8.0 or newer"
        return f"{text} (built on {self.device})" if self.device else text

    def rows(self) -> list[tuple[str, str]]:
        """What `saliency-tubes info` says beyond the manifest: (name, text)."""
        rows = [
            ("plan", f"{self.plan_bytes / 1e6:.1f} MB, {self.made_by}, T = {self.clip_length}"),
            ("for", self.made_for),
        ]
        rows += [("in", _describe(tensor, self.profile[tensor.name])) for tensor in self.inputs]
        rows += [("out", _describe(tensor)) for tensor in self.outputs]
        return rows

    def to_json(self) -> str:
        """The text of the file beside the plan; ends with a newline."""
        text = {
            "format": FORMAT,
            "builder": self.builder,
            "version": self.version,
            "compute_capability": list(self.compute_capability),
            "device": self.device,
            "frames": self.clip_length,
            "inputs": [vars(tensor) for tensor in self.inputs],
            "outputs": [vars(tensor) for tensor in self.outputs],
            "profile": {name: vars(shapes) for name, shapes in self.profile.items()},
            "options": dict(self.options),
            "onnx_sha256": self.onnx_sha256,
            "plan_sha256": self.plan_sha256,
            "plan_bytes": self.plan_bytes,
            "metadata": dict(self.metadata),
        }
        lines = (f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in text.items())
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> PlanInfo:
        """The inverse of `to_json`. Raises ModelError for anything missing, ill-typed or contradictory."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"it is not JSON: {error}") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            format = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise ModelError(f"it has format {format!r}; this version reads format {FORMAT}")
        try:
            return cls(
                builder=_text(data, "builder"),
                version=_text(data, "version"),
                compute_capability=tuple(data["compute_capability"]),
                device=_text(data, "device"),
                clip_length=_count(data["frames"]),
                inputs=tuple(map(_tensor, data["inputs"])),
                outputs=tuple(map(_tensor, data["outputs"])),
                profile={name: _range(shapes) for name, shapes in data["profile"].items()},
                options=dict(data["options"]),
                onnx_sha256=_text(data, "onnx_sha256"),
                plan_sha256=_text(data, "plan_sha256"),
                plan_bytes=_count(data["plan_bytes"]),
                metadata={name: _text(data["metadata"], name) for name in data["metadata"]},
            )
        except KeyError as error:
            raise ModelError(f"it lacks {error}") from None
        except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise ModelError(f"it is wrong: {' '.join(str(error).split())}") from None


def json_path(plan: Path) -> Path:
    """out.plan.json for out.plan"""
    return plan.with_name(plan.name + ".json")


def read_plan(plan: Path, verify: bool = True) -> PlanInfo:
    """What is known about a plan. verify: also read the plan, and check that it has the digest in the JSON.

    Raises ModelError, in one line, if the plan or its JSON is missing or cannot be read, or if they do not belong
    together.
    """
    beside = json_path(plan)
    try:
        size = plan.stat().st_size
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read plan {plan}: {_reason(error)}") from None
    try:
        text = beside.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ModelError(
            f"cannot use plan {plan}: there is no {beside.name} beside it; 'saliency-tubes build' writes both"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {beside}: {_reason(error)}") from None
    try:
        info = PlanInfo.from_json(text)
    except ModelError as error:
        raise ModelError(f"cannot use {beside}: {error}") from None
    if size != info.plan_bytes or (verify and sha256(plan) != info.plan_sha256):
        raise ModelError(f"{plan} is not the plan that {beside.name} speaks of: build it again")
    return info


def read_bytes(plan: Path, info: PlanInfo) -> bytes:
    """The plan itself. Raises ModelError if it cannot be read or does not have the digest in `info`."""
    try:
        data = plan.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read it: {_reason(error)}") from None
    if hashlib.sha256(data).hexdigest() != info.plan_sha256:
        raise ModelError(f"it is not the plan that {json_path(plan).name} speaks of: build it again")
    return data


def sha256(*paths: Path) -> str:
    """SHA-256 of the files' bytes, one after the other, in hex. Raises ModelError if one cannot be read."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise ModelError(f"cannot read {path}: {_reason(error)}") from None
    return digest.hexdigest()


def check_runtime(info: PlanInfo, builder: str, version: str, compute_capability: str) -> None:
    """Raises ModelError, in one line, if a plan cannot run here: `compute_capability` is that of this GPU, as "8.7".

    A plan needs exactly the version that built it, or, if it was built version-compatible, that version or a later one.
    It needs the compute capability that it was built for, unless it was built hardware-compatible. TensorRT and
    TensorRT-RTX cannot read each other's plans.
    """
    here = f"{BUILDERS.get(builder, builder)} {version}"
    if builder != info.builder:
        raise ModelError(f"the plan was built by {info.made_by} and here is {here}: build it again with this one")
    compatible = bool(info.options.get("version_compatible"))
    if version != info.version and not (compatible and _numbers(version) > _numbers(info.version)):
        later = " or a later one" if compatible else ""
        raise ModelError(f"the plan was built by {info.made_by}, needs that very version{later}, and here is {here}")
    if not _runs_on(info, parse_capability(compute_capability)):
        raise ModelError(f"the plan was built for {info.made_for}, and this GPU's is {compute_capability}")


def parse_capability(text: object) -> tuple[int, int]:
    """(8, 6) from "8.6". Raises ModelError for any other text."""
    major, _, minor = text.partition(".") if isinstance(text, str) else ("", "", "")
    if not (major.isdecimal() and minor.isdecimal() and len(major) <= 2 and len(minor) == 1):
        raise ModelError(f"a compute capability is a number such as 8.6, got {text!r}")
    return int(major), int(minor)


def _runs_on(info: PlanInfo, gpu: tuple[int, int]) -> bool:
    if not info.compute_capability:
        return gpu >= RTX_OLDEST
    if info.options.get("hardware_compatibility") == AMPERE_PLUS:
        return gpu >= (8, 0)
    return gpu in map(parse_capability, info.compute_capability)


def _numbers(version: str) -> tuple[int, ...]:
    """(10, 3, 0) from "10.3.0" and from "10.3.0.post1"."""
    parts = version.split(".")
    return tuple(int(part) for part in parts if part.isdecimal())


def _describe(tensor: TensorInfo, shapes: Range | None = None) -> str:
    text = f"{tensor.name} [{', '.join('batch' if n == -1 else str(n) for n in tensor.shape)}] {tensor.dtype}"
    if shapes is None or shapes.min == shapes.max:
        return text
    return f"{text}, batch {shapes.min[0]} to {shapes.max[0]}, fastest at {shapes.opt[0]}"


def _tensor(data: Mapping[str, Any]) -> TensorInfo:
    return TensorInfo(_text(data, "name"), _shape(data["shape"], -1), _text(data, "dtype"))


def _range(data: Mapping[str, Any]) -> Range:
    shapes = Range(*(_shape(data[key], 1) for key in ("min", "opt", "max")))
    ranks = {len(shapes.min), len(shapes.opt), len(shapes.max)}
    ordered = all(low <= best <= high for low, best, high in zip(shapes.min, shapes.opt, shapes.max, strict=False))
    _require(len(ranks) == 1 and ordered, f"profile must be min <= opt <= max, got {dict(data)}")
    return shapes


def _shape(values: object, least: int) -> Shape:
    sizes = isinstance(values, list) and all(type(n) is int and n >= least and n != 0 for n in values)
    _require(bool(sizes), f"a shape is a list of sizes, got {values!r}")
    return tuple(values)  # type: ignore[arg-type]


def _text(data: Mapping[str, Any], key: str) -> str:
    _require(isinstance(data[key], str), f"{' '.join(key.split())} must be a string, got {data[key]!r}")
    data[key].encode()  # raises ValueError for text that cannot be encoded, and so not be printed
    return str(data[key])


def _count(value: object) -> int:
    _require(type(value) is int and value >= 1, f"frames and plan_bytes must be 1 or more, got {value!r}")
    return int(value)  # type: ignore[call-overload,no-any-return]


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ModelError(message)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
