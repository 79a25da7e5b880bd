"""The types that flow between the rooms: frozen, and checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

from .picture import F32, U8, Image, Picture, on_host


@dataclass(frozen=True)
class WallTime:
    """A time of day, by the camera's clock or by this machine's."""

    seconds: float
    """seconds since 1970, UTC"""
    clock: str
    """camera: when the frame was taken, by the camera's clock; local: when it arrived, by this machine's clock"""


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame, upright."""

    index: int
    """0 for the first frame of the stream, counted without gaps"""
    pts: int
    """presentation time in units of `time_base`"""
    time_base: Fraction
    """seconds"""
    image: Image
    """the picture, in whatever memory it lies"""
    pixel_aspect: Fraction = Fraction(1)
    """width / height of one pixel as it is to be shown"""
    gap: bool = False
    """whether frames are missing before this one, so that a window must not contain both"""
    rate: Fraction | None = None
    """frames a second from this frame on, if that has changed; comes with a gap"""
    wall: WallTime | None = None
    """when it was taken or arrived; None for frames of files"""
    damaged: bool = False
    """whether the decoder had to guess parts of it, or of a frame that it was predicted from: it is shown, not
    explained"""

    def __post_init__(self) -> None:
        if self.index < 0:
            raise ValueError(f"index must be 0 or more, got {self.index}")
        if self.time_base <= 0 or self.pixel_aspect <= 0:
            raise ValueError(f"time_base and pixel_aspect must be positive, got {self.time_base}, {self.pixel_aspect}")

    @property
    def time(self) -> float:
        """Seconds from the stream's zero."""
        return float(self.pts * self.time_base)

    @property
    def picture(self) -> Picture:
        """The image of a frame that lies in the host's memory. Raises ValueError for any other: ask `Place.host`."""
        return on_host(self.image)

    @property
    def rgb(self) -> U8:
        """The picture as RGB [H, W, 3] uint8, converted on request."""
        return self.picture.rgb()


@dataclass(frozen=True)
class Crop:
    """The part of the frame that the model looked at, in fractions of width and height; with letterbox beyond 0..1."""

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0

    def __post_init__(self) -> None:
        if not (self.left < self.right and self.top < self.bottom):
            raise ValueError(f"a crop needs left < right and top < bottom, got {self}")


@dataclass(frozen=True)
class Span:
    """Which frames a window sampled: `clip_length` of them, `stride` apart, from frame `start` on."""

    start: int
    clip_length: int
    stride: int = 1

    def __post_init__(self) -> None:
        if self.start < 0 or self.clip_length < 1 or self.stride < 1:
            raise ValueError(f"a span needs start >= 0, clip_length >= 1 and stride >= 1, got {self}")

    @property
    def last(self) -> int:
        """Index of the last sampled frame."""
        return self.start + (self.clip_length - 1) * self.stride

    @property
    def center(self) -> float:
        return (self.start + self.last) / 2

    def __contains__(self, frame: float) -> bool:
        """Whether the window saw this frame: each sample counts for the `stride` frames around it."""
        reach = self.clip_length * self.stride / 2
        return -reach <= frame - self.center < reach  # half-open: neighbouring windows neither share nor lose a frame

    def slice_center(self, index: int, slices: int) -> float:
        """The frame at the centre of slice `index` of `slices`: start + ((i + 0.5) T / t - 0.5) stride."""
        return self.start + ((index + 0.5) * self.clip_length / slices - 0.5) * self.stride

    def slice_at(self, frame: float, slices: int) -> float:
        """The position of a frame on the axis of slices, the inverse of `slice_center`; not limited to the span."""
        return ((frame - self.start) / self.stride + 0.5) * slices / self.clip_length - 0.5


class Sample(Protocol):
    """What a network sees of one frame: the part that it looks at, as RGB bytes, in whatever memory."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    @property
    def crop(self) -> Crop:
        """The part of the frame."""
        ...

    @property
    def pixels(self) -> U8:
        """RGB [H, W, 3] uint8 in the host's memory. A sample that lies elsewhere is copied from there."""
        ...


@dataclass(frozen=True, eq=False)
class HostSample:
    """A sample in the host's memory."""

    pixels: U8
    """RGB [H, W, 3] uint8"""
    crop: Crop = Crop()

    @property
    def size(self) -> tuple[int, int]:
        return int(self.pixels.shape[0]), int(self.pixels.shape[1])


@dataclass(frozen=True, eq=False)
class Clip:
    """The window's frames as the model sees them, not yet normalised, so that neighbouring windows share them."""

    samples: tuple[Sample, ...]
    """T samples, all of one size"""
    span: Span
    crop: Crop
    pts: tuple[int, int]
    """pts of the first and of the last sampled frame, in units of `time_base`"""
    time_base: Fraction
    repeated: int = 0
    """number of samples that repeat the last frame, if the video ended before the window was full"""
    wall: WallTime | None = None
    """of the last sampled frame; None for frames of files"""
    damaged: int = 0
    """number of damaged frames from the first to the last sampled one; each is replaced by the frame before"""

    def __post_init__(self) -> None:
        sizes = {sample.size for sample in self.samples}
        if len(sizes) != 1 or len(self.samples) != self.span.clip_length:
            raise ValueError(
                f"{self.span.clip_length} frames need as many samples of one size, got {len(self.samples)} of {sizes}"
            )
        if not 0 <= self.repeated < self.span.clip_length:
            raise ValueError(f"repeated must be 0 to {self.span.clip_length - 1}, got {self.repeated}")


class Outputs(Protocol):
    """What the network says of one clip. Explaining needs the logits and `evidence`, never the activation itself, so a
    device need not copy that to the host."""

    @property
    def logits(self) -> F32:
        """[K], on the host"""
        ...

    @property
    def weights(self) -> F32 | None:
        """[C] on the host: the gradient of the class asked for, summed over all cells; None where the head is linear"""
        ...

    @property
    def activation(self) -> F32:
        """[C, t, h, w], the output of the layer that is explained, on the host. One that lies elsewhere is copied."""
        ...

    def evidence(self, weights: F32) -> F32:
        """S[t, y, x] = sum over k of weights[k] A[k, t, y, x] (arXiv 1902.01078): [C] to [t, h, w], on the host."""
        ...


@dataclass(frozen=True, eq=False)
class HostOutputs:
    """Outputs in the host's memory."""

    logits: F32
    activation: F32
    weights: F32 | None = None

    def __post_init__(self) -> None:
        if self.logits.ndim != 1 or self.activation.ndim != 4:
            raise ValueError(f"outputs must be [K] and [C, t, h, w], got {self.logits.shape}, {self.activation.shape}")
        if self.weights is not None and self.weights.shape != self.activation.shape[:1]:
            raise ValueError(f"weights must be {self.activation.shape[:1]}, got {self.weights.shape}")

    def evidence(self, weights: F32) -> F32:
        """As `Outputs.evidence`."""
        channels = self.activation.shape[0]
        return (weights @ self.activation.reshape(channels, -1)).reshape(self.activation.shape[1:])


@dataclass(frozen=True, eq=False)
class Tube:
    """The evidence for one class in each cell. Signed, in logits; it is scaled only when it is drawn."""

    evidence: F32
    """[t, h, w]"""
    span: Span
    crop: Crop
    pool: F32
    """[t, h, w], summing to 1: each cell's weight in the head's pool, so that sum(pool * evidence) + bias = logit"""
    trusted: tuple[int, int]
    """slices [first, end) whose values are not distorted by zero padding in time"""

    def __post_init__(self) -> None:
        if self.evidence.ndim != 3 or not self.evidence.size:
            raise ValueError(f"evidence must be [t, h, w], got {self.evidence.shape}")
        slices = self.evidence.shape[0]
        if self.pool.shape != self.evidence.shape:
            raise ValueError(f"pool must be {self.evidence.shape} as the evidence, got {self.pool.shape}")
        if not 0 <= self.trusted[0] < self.trusted[1] <= slices:
            raise ValueError(f"trusted must be within 0 to {slices}, got {self.trusted}")

    @property
    def trusted_evidence(self) -> F32:
        """[trusted slices, h, w]: the evidence in the slices that can be trusted."""
        first, end = self.trusted
        return self.evidence[first:end]


@dataclass(frozen=True)
class Scale:
    """How evidence becomes 0..1 for drawing: (evidence - low) / (high - low)."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"a scale needs finite low < high, got {self.low}, {self.high}")


@dataclass(frozen=True)
class ClassScore:
    """One class and what the network says of it."""

    id: int
    name: str
    probability: float
    logit: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """What one window says: the class, the evidence, and which frames it is about."""

    window: int
    """0 for the first window of the stream"""
    explained: tuple[ClassScore, ...]
    """the class that is explained; two classes if the tube is of the first against the second"""
    top: tuple[ClassScore, ...]
    """the five most probable classes, best first"""
    tube: Tube
    scale: Scale
    pts: tuple[int, int]
    """pts of the first and of the last frame of the window, in units of `time_base`"""
    time_base: Fraction
    repeated: int = 0
    """number of samples that repeat the last frame, of a video shorter than the window"""
    wall: WallTime | None = None
    """of the last frame of the window; None for frames of files"""
    damaged: int = 0
    """number of damaged frames of the window; each was replaced by the frame before"""
    others: tuple[tuple[ClassScore, F32], ...] = ()
    """more classes, each with its evidence [t, h, w] in logits, as the tube's: where an output asked for them, and only
    for linear heads, the most probable ones, and both explained ones where the tube is of one against the other"""

    @property
    def label(self) -> str:
        return " vs ".join(score.name for score in self.explained)


Parts = tuple[tuple[Explanation, float], ...]
"""What a frame is drawn from: each explanation with its share of the picture; the shares sum to 1."""


def leading(parts: Parts) -> Explanation:
    """The explanation with the largest share."""
    return max(parts, key=lambda part: part[1])[0]


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame with its tube drawn, and the explanations it was drawn from."""

    frame: Frame
    parts: tuple[tuple[Explanation, float], ...] = ()
    """each explanation with its share of the picture; empty if there was none to draw"""
    age: float = 0.0
    """seconds from the evidence to the frame: 0 in aligned mode; in live mode the age of the explanation, also if that
    is too old to be drawn"""
    outage: bool = False
    """whether this is not a frame of the source, but the last one in grey while the camera is away"""
    at: float = 0.0
    """the frame number whose evidence was drawn: the frame's own, or an earlier one in live mode"""
    opacity: float = 1.0
    """what the evidence was multiplied by: less than 1 where it fades because of its age"""
    awaited: float = 0.0
    """live mode: seconds that evidence has been waited for, where that is longer than it may be old; else 0"""
    plain: Picture | None = None
    """the picture as it was before it was drawn on, on the host, if an output wanted it (`Sink.wants_plain`)"""

    @property
    def explanation(self) -> Explanation | None:
        """The explanation with the largest share."""
        return leading(self.parts) if self.parts else None

    @property
    def rgb(self) -> U8:
        """The drawn picture as RGB [H, W, 3] uint8, converted on request."""
        return self.frame.rgb
