"""Outputs that encode pictures on the GPU that is not there (tests/gpu_double): a program for a process of its own.

python nvencsinks.py OUTPUT COUNT file|live [WxH [LAYOUT]] prints what the output says of itself; where it takes frames
from, how many it wrote and lost, how many were copied to the host, its notes; and how many are still held. The pictures
are noise, of which `pictures` gives the same again.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.picture import Color, Layout, Picture
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.media.downloads import Downloads
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink

TIME_BASE = Fraction(1, 1000)
BASE = VideoInfo(64, 48, TIME_BASE, Fraction(25), layout=Layout.NV12, matrix=1, where="cuda:0")


def pictures(count: int, size: tuple[int, int] = (64, 48), layout: Layout = Layout.NV12) -> list[Picture]:
    made, random = [], np.random.default_rng(7)
    for _ in range(count):
        planes = tuple(random.integers(16, 236, shape, dtype=np.uint8) for shape in layout.shapes(size))
        made.append(Picture(layout, planes, Color("bt709")))
    return made


def pts_of(index: int) -> int:
    return 17 + 41 * index + index % 3


def main(output: str, count: int, live: bool, size: tuple[int, int], layout: Layout) -> None:
    place = CudaPlace(Gpu.of(0))
    info = replace(BASE, width=size[0], height=size[1], layout=layout)
    sink = open_sink(output, SinkOptions(encoder="nvenc", live=live, overwrite=True))
    sink.open(info)
    downloads, shown = Downloads(place), None
    for index, picture in enumerate(pictures(count, size, layout)):
        image = place.bring(picture) if index else picture  # one came before the output was open
        shown = Shown(Frame(index, pts_of(index), TIME_BASE, image))
        sink.write(shown if image.where in sink.takes else downloads.shown(shown))
        del image
    sink.close()
    print(sink.description)
    print(sorted(sink.takes), sink.frames_written, sink.dropped, place.host_copies, *sink.notes)
    del shown, sink, downloads
    print(place.leases)
    place.close()
    place.gpu.clear()


if __name__ == "__main__":
    width, height = map(int, sys.argv[4].split("x")) if len(sys.argv) > 4 else (64, 48)
    layout = Layout(sys.argv[5]) if len(sys.argv) > 5 else Layout.NV12
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "live", (width, height), layout)
