"""A picture made alike on a GPU: in another size, layout or colour, with the bytes of `fit.fit`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..fit import Group, groups_of
from .driver import Arguments, Gpu
from .jobs import PLANES, Format, Surface
from .memory import View
from .shots import SOURCE, filter_of

FIT_GROUP = np.dtype(
    [("planes", SOURCE, 3), ("out", "u8", 3), ("pitch", "i8")]
    + [(name, "i4") for name in ("step", "width", "height", "channels", "plane_count", "unused")]
    + [("matrix", "f4", (3, 4))]
)
FIT = np.dtype([("groups", FIT_GROUP, 2)])
"""The structs FitGroup and Fit of kernels/fit.cu."""
_REVERSED = (Format.BGR, Format.BGRA)


class CudaFit:
    """Queues the making of pictures. Any thread may use it."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def prepare(self) -> None:
        """Compiles what is needed, if nobody has before. Within `Gpu.entered`."""
        for name in ("fit", "fit_wide"):
            self._gpu.function("fit", name)

    def queue(self, source: Surface, target: Surface, stream: int) -> None:
        """Fills the target's planes with the source's picture, at the target's size, in its layout and its colour.

        target: NV12, I420 or RGB. A size for which there are no weights yet uploads them and waits for that. Within
        `Gpu.entered`.
        """
        job: npt.NDArray[Any] = np.zeros((), FIT)
        groups = groups_of(source.layout, source.color, (target.width, target.height), target.layout, target.color)
        held: list[View] = []
        for record, group, channels in zip(job["groups"], groups, _channels(target), strict=False):
            record["planes"][: len(source.places)] = self._sources(source, group, stream, held)
            record["out"][: len(channels)] = [address for address, _, _ in channels]
            _, record["pitch"], record["step"] = channels[0]
            record["width"], record["height"] = group.size
            record["channels"], record["plane_count"] = len(channels), len(source.places)
            made = group.matrix[:, [2, 1, 0, 3]] if source.format in _REVERSED else group.matrix
            record["matrix"][: len(made)] = made
        function = self._gpu.function("fit", "fit_wide" if source.format is Format.P010 else "fit")
        grid = (-(-target.width // 32), -(-target.height // 8), len(groups))
        self._gpu.launch(function, grid, (32, 8, 1), Arguments(job), stream)

    def _sources(self, source: Surface, group: Group, stream: int, held: list[View]) -> npt.NDArray[Any]:
        """The records of the source's planes. held: gets what they point to."""
        planes: npt.NDArray[Any] = np.zeros(len(source.places), SOURCE)
        for plane, place, form in zip(planes, source.places, PLANES[source.format], strict=True):
            rows, columns = source.size_of(form)
            shrinks = group.size[0] <= columns and group.size[1] <= rows
            counts = any(group.used[form.channel : form.channel + form.channels])
            for axis, samples, made in (("across", columns, group.size[0]), ("down", rows, group.size[1])):
                key = (samples, made, 0, made, shrinks)
                first = self._gpu.kept(("first samples", key), partial(_filter_part, key, "first"), stream)
                weights = self._gpu.kept(("weights", key), partial(_filter_part, key, "weights"), stream)
                held += [first, weights]
                plane[axis] = (first.pointer, weights.pointer, weights.shape[1] if counts else 0, 0)
            plane["data"], plane["pitch"], plane["step"] = place.pointer, place.pitch, form.channels
        return planes


def _filter_part(key: tuple[Any, ...], part: str) -> npt.NDArray[Any]:
    """One of the arrays of a `resample.Filter`; their names on the GPU are those of samples.py, which shares them."""
    found: npt.NDArray[Any] = getattr(filter_of(*key), part)
    return found


def _channels(target: Surface) -> list[list[tuple[int, int, int]]]:
    """For each group of planes that is made, for each of its channels: address, pitch and step."""
    lie = [
        (place.pointer + channel, place.pitch, form.channels)
        for place, form in zip(target.places, PLANES[target.format], strict=True)
        for channel in range(form.channels)
    ]
    return [lie] if target.format is Format.RGB else [lie[:1], lie[1:]]
