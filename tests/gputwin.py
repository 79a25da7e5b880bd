"""The same frames, drawn on by a real GPU and by one that is not there: python gputwin.py FILE keeps them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from saliency_tubes.engine.cuda.work import CudaOverlay, Format, Gpu, Part, RawPlane, Surface
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.types import Crop
from surfaces import HostFrame, host_frame


def sent(gpu, frame: HostFrame):
    """The frame's memory on the GPU, and its surface there."""
    with gpu.entered():
        views = [gpu.upload(memory, 0) for memory in frame.memory]
    raw = []
    for place, memory, there in zip(frame.surface.places, frame.memory, views, strict=True):
        raw.append(RawPlane(there.pointer + place.pointer - memory.ctypes.data, place.pitch))
    surface = frame.surface
    return views, Surface(surface.format, raw, surface.width, surface.height, surface.color)


def fetched(gpu, frame: HostFrame, views) -> None:
    """Copies the frame's memory back."""
    with gpu.entered():
        for memory, there in zip(frame.memory, views, strict=True):
            gpu.read(there.pointer, memory, 0)


def drawn(gpu) -> list[np.ndarray]:
    """The memory of frames of all formats, after evidence was drawn on them, some of which is no number; the counts of
    those cells at last."""
    rng, overlay = np.random.default_rng(2), CudaOverlay(Style())
    tube = rng.normal(size=(4, 7, 7)).astype(np.float32)
    tube[1, 2, 3] = np.nan
    found, counts = [], []
    for number in range(12):
        frames = [host_frame(format, 180 + number, 320, number, pad=number) for format in Format]
        parts = [[Part(tube, number / 3, -0.5, 2.0, 0.7), Part(tube, 1.0, 0.0, 1.0, 0.3)]] * len(frames)
        held = [sent(gpu, frame) for frame in frames]
        overlay.draw([surface for _, surface in held], parts, [Crop()] * len(frames))
        counts.append(overlay.not_finite())  # waits
        for frame, (views, _) in zip(frames, held, strict=True):
            fetched(gpu, frame, views)
            found += frame.memory
    return [*found, np.array(counts)]


if __name__ == "__main__":
    from gpu_double.nvrtc import StubNvrtc

    sys.modules["cuda.bindings.nvrtc"] = StubNvrtc()
    np.savez(Path(sys.argv[1]), *drawn(Gpu.of(0)))
