"""What an output may ask of the stream that it belongs to, and change in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ...engine.draw.style import Style


class StreamView(Protocol):
    """A stream as its outputs see it. From any thread."""

    @property
    def model(self) -> str:
        """Title of the network."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """Names of the network's classes, by index."""
        ...

    @property
    def linear(self) -> bool:
        """Whether the network's head is linear: only then explanations have evidence for other classes."""
        ...

    @property
    def window(self) -> tuple[int, int]:
        """Number of frames that a window samples, and the distance between two of them in frames."""
        ...

    @property
    def sync(self) -> str:
        """live or aligned."""
        ...

    @property
    def style(self) -> Style:
        """How evidence is drawn at the moment."""
        ...

    @property
    def controls(self) -> Mapping[str, object]:
        """What `change` takes, as it is at the moment."""
        ...

    def change(self, explain: str | None = None, hold: int | None = None, max_age: float | None = None) -> None:
        """Changes the stream for everybody; None leaves a value as it is.

        explain: what `engine.saliency.parse_target` reads. hold: number of windows. max_age: seconds. Raises UsageError
        for a value that is none, and then changes nothing.
        """
        ...

    def snapshot(self) -> Any:
        """How the stream is now: a `telemetry.stats.Snapshot`, whose module imports those of outputs."""
        ...
