"""How a stream is explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from ...engine.draw.style import Style
from ...engine.saliency import Target


@dataclass(frozen=True)
class Options:
    """How a stream is explained."""

    target: Target = Target()
    style: Style = Style()
    sync: str = "aligned"
    """aligned: every frame waits for the windows that saw it. live: it leaves at once with the newest explanation"""
    stride: int = 1
    hop: int = 16
    """frames from one window to the next; live takes the newest window whenever the model is free"""
    max_age: float = 2.0
    """seconds, live mode: evidence older than this fades away"""
    limit: int | None = None
    """stop after this number of frames; None: no limit"""
    timings: bool = False
    """put the milliseconds spent in each stage into the events"""
    overlay: str = "auto"
    """the overlay's path, see `engine.draw.overlay.paths`"""
    overlay_threads: int = 1
    """number of threads that draw one frame together"""
    hold: int = 3
    """live mode: number of windows in a row after which another leading class is explained; 1: each window's own"""
    delay: float = 0.0
    """seconds, aligned live streams: every frame leaves this long after it came. 0: frames wait as long as it takes"""
    replan: Callable[[Fraction], int] | None = None
    """live mode: gives the stride for a new rate of the camera, in frames a second; None: the stride stays"""
    name: str = ""
    """name of the stream, if there are several; events of live inputs have it"""

    def __post_init__(self) -> None:
        if self.delay < 0 or self.hold < 1:
            raise ValueError(f"delay must be 0 or more and hold 1 or more, got {self.delay:g}, {self.hold}")
