"""What a model file says of itself: how it wants its input, and where its evidence is.

The only contract between export and engine. It travels in the ONNX metadata (`metadata_props`) as two entries:
`saliency_tubes.manifest`, JSON for people and programs, and, where the head is linear, `saliency_tubes.class_weights`,
the head's matrix in base64. Neither `onnx` nor a runtime is needed to read it.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .errors import ModelError
from .missed import Missed
from .picture import F32
from .require import LARGEST, is_count, require

FORMAT = 1
MANIFEST_KEY = "saliency_tubes.manifest"
WEIGHTS_KEY = "saliency_tubes.class_weights"
RESIZE_RULES = ("center", "stretch", "letterbox")


@dataclass(frozen=True)
class InputSpec:
    """How a frame becomes one of the T pictures of the clip [1, 3, T, H, W], float32 RGB."""

    size: tuple[int, int]
    """H, W"""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    """each channel of the input is (value / 255 - mean) / std"""
    resize: str = "center"
    """center: the short side is resized to `short_side` and the middle is cut out; stretch: the whole frame, aspect
    ratio not kept; letterbox: the whole frame between black bars"""
    short_side: int = 0
    """pixels, for `center`; at least the longer of H and W"""
    stride: int = 1
    """frames from one sample to the next, in video of `rate` frames a second"""
    rate: float = 25.0
    """frames a second of the video it was trained on"""
    name: str = "clip"
    stretch_to: tuple[int, ...] = ()
    """H, W, for `stretch`: the size the frame is stretched to, before the middle is cut; empty: the input's own"""

    def __post_init__(self) -> None:
        require(
            len(self.size) == 2 and all(map(is_count, self.size)),
            f"input.size must be two positive whole numbers, got {self.size}",
        )
        for name, values in (("mean", self.mean), ("std", self.std)):
            require(
                len(values) == 3 and all(map(math.isfinite, values)), f"input.{name} must be 3 numbers, got {values}"
            )
        require(min(self.std) > 0, f"input.std must be positive, got {self.std}")
        require(
            self.resize in RESIZE_RULES, f"input.resize must be one of {', '.join(RESIZE_RULES)}, got {self.resize!r}"
        )
        if self.resize == "center":
            require(
                is_count(self.short_side) and self.short_side >= max(self.size),
                f"input.short_side must be {max(self.size)} or more, got {self.short_side}",
            )
        require(
            not self.stretch_to
            or (
                len(self.stretch_to) == 2
                and all(is_count(a) and a >= b for a, b in zip(self.stretch_to, self.size, strict=True))
            ),
            f"input.stretch_to must be two whole numbers, {list(self.size)} or more, got {list(self.stretch_to)}",
        )
        require(
            is_count(self.stride) and 1 / LARGEST <= self.rate <= LARGEST,
            f"input.stride must be a whole number and rate a number, both positive and {LARGEST} at most, got "
            f"{self.stride}, {self.rate}",
        )
        require(isinstance(self.name, str), f"input.name must be a string, got {self.name!r}")


@dataclass(frozen=True)
class WindowSpec:
    """One clip length the model serves."""

    slice_weights: tuple[float, ...]
    """the weight of each time slice of the activation in the head's pool; they sum to 1"""
    trusted: tuple[int, int]
    """slices [first, end) whose values are not distorted by zero padding in time"""
    cell_weights: tuple[tuple[float, ...], ...] = ()
    """[h, w], the weight of each cell of a slice in the head's pool, summing to 1; empty: all weights are equal"""

    def __post_init__(self) -> None:
        total = sum(self.slice_weights)
        require(bool(self.slice_weights) and abs(total - 1) < 1e-4, f"slice_weights must sum to 1, got {total}")
        first, end = self.trusted
        require(
            isinstance(first, int) and isinstance(end, int) and 0 <= first < end <= len(self.slice_weights),
            f"trusted must be within 0 to {len(self.slice_weights)}, got {self.trusted}",
        )
        rows = {len(row) for row in self.cell_weights}
        total = sum(map(sum, self.cell_weights)) if self.cell_weights else 1.0
        require(len(rows) <= 1 and abs(total - 1) < 1e-4, f"cell_weights must be [h, w] and sum to 1, got {total}")

    @property
    def slices_in_words(self) -> str:
        """How many slices there are and which can be trusted, counted from 0: "8 time slices, 1 to 6 to be trusted"."""
        slices, (first, end) = len(self.slice_weights), self.trusted
        if slices == 1:
            return "1 time slice"
        which = "all" if end - first == slices else f"{first}" if end - first == 1 else f"{first} to {end - 1}"
        return f"{slices} time slices, {which} to be trusted"

    def pool(self, height: int, width: int) -> F32:
        """[t, h, w], summing to 1: the weight of each cell in the head's pool."""
        cells = np.array(self.cell_weights or [[1 / (height * width)] * width] * height)
        require(cells.shape == (height, width), f"cell_weights {cells.shape} do not fit {height} x {width} cells")
        return np.asarray(np.multiply.outer(np.array(self.slice_weights), cells), np.float32)


@dataclass(frozen=True, eq=False)
class LinearHead:
    """A head that is linear after a pool: logit = class weights times pooled activation, plus bias."""

    class_weights: F32
    """[K, C]"""
    bias: F32
    """[K]"""

    def __post_init__(self) -> None:
        weights, bias = self.class_weights, self.bias
        require(weights.ndim == 2, f"class_weights must be [K, C], got {weights.shape}")
        require(bias.shape == weights.shape[:1], f"bias {bias.shape} does not fit class weights {weights.shape}")
        require(bool(np.isfinite(weights).all() and np.isfinite(bias).all()), "class_weights and bias must be finite")


@dataclass(frozen=True, eq=False)
class Manifest:
    """Everything engine needs to know of a model."""

    name: str
    title: str
    license: str
    input: InputSpec
    windows: Mapping[int, WindowSpec]
    """by T, the number of frames in a clip"""
    default_clip_length: int
    labels: tuple[str, ...]
    """[K]"""
    tap: str
    """the layer whose output is the activation"""
    channels: int
    """C, of the activation"""
    head: LinearHead | None
    """None: the graph has an output with the weights for each clip, the gradient of the class given to `class_input`"""
    outputs: Mapping[str, str] = field(default_factory=lambda: {"logits": "logits", "activation": "activation"})
    """names of the outputs in the graph: logits, activation, and weights where there is no linear head"""
    class_input: str = "class"
    """name of the input [batch] int64 of a graph with gradients: a class index, or -1 for the top class"""
    missed: tuple[Missed, ...] = ()
    """errors above their bound that the check at export found, and that were no reason to refuse the file"""

    def __post_init__(self) -> None:
        require(bool(self.labels), "labels must not be empty")
        require(is_count(self.channels), f"channels must be 1 or more, and {LARGEST} at most, got {self.channels!r}")
        if self.head is not None:
            shape, expected = self.head.class_weights.shape, (len(self.labels), self.channels)
            require(
                shape == expected, f"class weights {shape} do not fit {expected[0]} labels and {expected[1]} channels"
            )
        names = {"logits", "activation"} if self.head is not None else {"logits", "activation", "weights"}
        require(
            set(self.outputs) == names and all(isinstance(name, str) for name in self.outputs.values()),
            f"outputs must name {', '.join(sorted(names))}, got {dict(self.outputs)}",
        )
        require(
            isinstance(self.class_input, str) and self.class_input != self.input.name,
            f"class_input must be a string, and not the clip's name, got {self.class_input!r}",
        )
        require(all(map(is_count, self.windows)), f"windows must be of 1 frame or more, got {sorted(self.windows)}")
        require(
            is_count(self.default_clip_length) and self.default_clip_length in self.windows,
            f"default_frames {self.default_clip_length} is not one of windows {sorted(self.windows)}",
        )

    def window(self, clip_length: int) -> WindowSpec:
        """The entry for clips of `clip_length` frames. Raises ModelError, naming those there are."""
        if clip_length not in self.windows:
            raise ModelError(f"{self.name} takes clips of {_listed(sorted(self.windows))} frames, got {clip_length}")
        return self.windows[clip_length]

    def missed_precisions(self, runtime: str) -> frozenset[str]:
        """The precisions of a runtime in which the error was too large: use one only if the user asks for it."""
        return frozenset(one.precision for one in self.missed if one.runtime == runtime)

    def to_properties(self) -> dict[str, str]:
        """The metadata entries. Weights are stored as float16 where that loses nothing, else as float32."""
        text: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "title": self.title,
            "license": self.license,
            "input": asdict(self.input),
            "windows": {str(clip_length): asdict(spec) for clip_length, spec in sorted(self.windows.items())},
            "default_frames": self.default_clip_length,
            "tap": self.tap,
            "channels": self.channels,
            "outputs": dict(self.outputs),
        }
        properties = {}
        if self.head is None:
            text["head"] = {"kind": "gradient", "class_input": self.class_input}
        else:
            weights = self.head.class_weights
            with np.errstate(over="ignore"):
                exact = bool((weights.astype(np.float16) == weights).all())
            stored = weights.astype("<f2" if exact else "<f4")
            text["head"] = {
                "kind": "linear",
                "class_weights": {"dtype": stored.dtype.str, "shape": list(stored.shape)},
                "bias": [float(value) for value in self.head.bias],
            }
            properties[WEIGHTS_KEY] = base64.b64encode(stored.tobytes()).decode("ascii")
        if self.missed:
            text["missed"] = [missed.to_json() for missed in self.missed]
        text["labels"] = list(self.labels)
        return {MANIFEST_KEY: json.dumps(text, ensure_ascii=False), **properties}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> Manifest:
        """The inverse of `to_properties`. Raises ModelError for anything missing, ill-typed or contradictory."""
        if MANIFEST_KEY not in properties:
            raise ModelError(
                "it has no saliency-tubes manifest: see 'saliency-tubes export' and 'saliency-tubes manifest add'"
            )
        try:
            text = json.loads(properties[MANIFEST_KEY])
            json.dumps(text, ensure_ascii=False).encode()  # text with half a surrogate pair cannot be printed
        except (ValueError, RecursionError) as error:
            raise ModelError(f"its manifest is not JSON: {error}") from None
        if not isinstance(text, dict) or text.get("format") != FORMAT:
            format = text.get("format") if isinstance(text, dict) else type(text).__name__
            raise ModelError(f"its manifest has format {format!r}; this version reads format {FORMAT}")
        try:
            return cls._from_json(text, properties.get(WEIGHTS_KEY, ""))
        except ModelError as error:
            raise ModelError(f"its manifest is wrong: {error}") from None
        except KeyError as error:
            raise ModelError(f"its manifest lacks {error}") from None
        except (TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise ModelError(f"its manifest is wrong: {' '.join(str(error).split())}") from None

    @classmethod
    def _from_json(cls, text: dict[str, Any], weights: str) -> Manifest:
        inputs: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in text["input"].items()
        }
        kind = text["head"]["kind"]
        require(kind in ("linear", "gradient"), f"head.kind must be linear or gradient, got {kind!r}")
        head = None
        if kind == "linear":
            class_weights = _decode_weights(weights, **text["head"]["class_weights"])
            head = LinearHead(class_weights, np.asarray(text["head"]["bias"], np.float32))
        return cls(
            name=str(text["name"]),
            title=str(text["title"]),
            license=str(text["license"]),
            input=InputSpec(**inputs),
            windows={int(clip_length): _window(spec) for clip_length, spec in text["windows"].items()},
            default_clip_length=text["default_frames"],
            labels=_strings("labels", text["labels"]),
            tap=str(text["tap"]),
            channels=text["channels"],
            head=head,
            outputs=dict(text["outputs"]),
            class_input=text["head"].get("class_input", "class"),
            missed=tuple(Missed.from_json(missed) for missed in text.get("missed", [])),
        )


def _window(spec: dict[str, Any]) -> WindowSpec:
    cells = tuple(tuple(row) for row in spec["cell_weights"])
    return WindowSpec(tuple(spec["slice_weights"]), (spec["trusted"][0], spec["trusted"][1]), cells)


def _decode_weights(data: str, dtype: str, shape: list[int]) -> F32:
    require(dtype in ("<f2", "<f4"), f"class_weights.dtype must be <f2 or <f4, got {dtype!r}")
    try:
        raw = base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise ModelError(f"{WEIGHTS_KEY} is not base64: {error}") from None
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    require(len(raw) == expected, f"class_weights of {shape} take {expected} bytes, got {len(raw)}")
    return np.frombuffer(raw, dtype).reshape(shape).astype(np.float32)


def _strings(name: str, values: object) -> tuple[str, ...]:
    require(
        isinstance(values, list) and all(isinstance(value, str) for value in values),
        f"{name} must be a list of strings",
    )
    return tuple(values)  # type: ignore[arg-type]


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values[:-1])) + (" or " if len(values) > 1 else "") + str(values[-1])
