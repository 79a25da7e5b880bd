"""A Jetson's elements, as far as caps go: a camera and a decoder that give memory:NVMM, and nvvidconv, which reads it.

For a process of its own: `install` changes which decoder every pipeline takes. `install(surfaces)` is for pictures on a
GPU: nvvidconv then also copies to NVMM, into few surfaces that take turns. `build` makes NVIDIA's library for those.
"""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from saliency_tubes.stream.media.gst_load import load

NVMM = "video/x-raw(memory:NVMM),format=NV12,width=[1,8192],height=[1,8192],framerate=[0/1,2147483647/1]"
RAW = "video/x-raw,format={I420,NV12},width=[1,8192],height=[1,8192],framerate=[0/1,2147483647/1]"


SURFACES = """
#include <stdint.h>
#include <stdlib.h>
/* The structures of nvbufsurface.h, with the fields that are used under their names. */
typedef struct { uint32_t planes, width[4], height[4], pitch[4], offset[4], size[4], sample[4];
                 void *more[16]; } Planes;
typedef struct { void *addr[4]; void *image; void *more[4]; } Mapped;
typedef struct { uint32_t width, height, pitch; int32_t format, layout; uint64_t descriptor; uint32_t size; void *data;
                 Planes planes; Mapped mapped; void *extended; void *more[3]; } Parameters;
typedef struct { uint32_t gpu, batch, filled; _Bool contiguous; int32_t kind; Parameters *list;
                 void *more[4]; } Surface;
static int images;
Surface *make_surface(uint32_t width, uint32_t height, uint32_t pitch, int layout, uint64_t descriptor, void *data) {
    Surface *made = calloc(1, sizeof *made);
    Parameters *list = made->list = calloc(1, sizeof *list);
    made->batch = made->filled = 1; made->kind = 4;
    list->width = width; list->height = height; list->pitch = pitch; list->layout = layout;
    list->descriptor = descriptor; list->data = data; list->planes.planes = 2;
    list->planes.pitch[0] = list->planes.pitch[1] = pitch; list->planes.offset[1] = pitch * height;
    return made;
}
int NvBufSurfaceMapEglImage(Surface *surface, int index) {
    images++; surface->list[index].mapped.image = surface->list[index].data; return 0; }
int NvBufSurfaceUnMapEglImage(Surface *surface, int index) {
    images--; surface->list[index].mapped.image = NULL; return 0; }
int mapped_images(void) { return images; }
int surface_size(void) { return sizeof(Surface); }
"""
LIBRARY = "libnvbufsurface.so.1.0.0"


def build(folder: Path) -> Path:
    """Compiles libnvbufsurface, with surfaces that lie wherever they are said to. Returns the folder."""
    source = folder / "surfaces.c"
    source.write_text(SURFACES)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", folder / LIBRARY, source], check=True, timeout=60)
    return folder


def install(surfaces: Sequence[bytes] = ()) -> Any:
    """Registers the elements with GStreamer, and returns the module Gst. surfaces: an NvBufSurface each, which the
    pictures that nvvidconv copies to NVMM lie in, one after the other."""
    found = load("GstVideo", "GstBase")
    converter = _converter(found, surfaces)
    elements = (
        (_decoder(found.Gst), "nvv4l2decoder", 267),
        (converter, "nvvidconv", 0),
        (_camera(found), "nvarguscamerasrc", 0),
    )
    for kind, name, rank in elements:
        import_module("gi.repository.GObject").type_register(kind)
        found.Gst.Element.register(None, name, rank, kind)
    return found.Gst


def _pads(gst: Any, sink: str, src: str) -> tuple[Any, Any]:
    always = gst.PadPresence.ALWAYS
    return (
        gst.PadTemplate.new("sink", gst.PadDirection.SINK, always, gst.Caps.from_string(sink)),
        gst.PadTemplate.new("src", gst.PadDirection.SRC, always, gst.Caps.from_string(src)),
    )


def _decoder(gst: Any) -> Any:
    class Decoder(gst.Element):  # type: ignore[misc, name-defined]
        """Each picture is 64 bytes of a handle; the first tells its number."""

        __gstmetadata__ = ("nvv4l2decoder", "Codec/Decoder/Video/Hardware", "as far as its caps go", "tests")
        __gsttemplates__ = _pads(gst, "video/x-h264,alignment=au", NVMM)

        def __init__(self) -> None:
            super().__init__()
            self.count = 0
            self.input = gst.Pad.new_from_template(self.get_pad_template("sink"), "sink")
            self.output = gst.Pad.new_from_template(self.get_pad_template("src"), "src")
            self.input.set_chain_function_full(self.chain)
            self.input.set_event_function_full(self.event)
            for pad in (self.input, self.output):
                self.add_pad(pad)

        def event(self, pad: Any, parent: Any, event: Any) -> bool:
            if event.type == gst.EventType.CAPS:
                coded = event.parse_caps().get_structure(0)
                size = ",".join(f"{name}={coded.get_int(name)[1]}" for name in ("width", "height"))
                raw = f"video/x-raw(memory:NVMM),format=NV12,{size},framerate=25/1"
                event = gst.Event.new_caps(gst.Caps.from_string(raw))
            return bool(self.output.push_event(event))

        def chain(self, pad: Any, parent: Any, coded: Any) -> Any:
            picture = gst.Buffer.new_wrapped(bytes([self.count] * 64))
            picture.pts, picture.duration = coded.pts, coded.duration
            self.count += 1
            return self.output.push(picture)

    return Decoder


def _camera(found: Any) -> Any:
    gst = found.Gst
    property_flags = import_module("gi.repository.GObject").ParamFlags.READWRITE

    class Camera(found.GstBase.BaseSrc):  # type: ignore[misc, name-defined]
        """Each picture is 64 bytes of a handle; the first tells its number. After `frames-until-lost` it fails once, as
        when the camera's service dies; one that is made anew goes on."""

        __gstmetadata__ = ("nvarguscamerasrc", "Video/Capture", "as far as its caps go", "tests")
        __gsttemplates__ = (
            gst.PadTemplate.new("src", gst.PadDirection.SRC, gst.PadPresence.ALWAYS, gst.Caps.from_string(NVMM)),
        )
        __gproperties__: ClassVar = {"sensor-id": (int, "", "", 0, 7, 0, property_flags)}
        sensors: ClassVar[list[int]] = []
        """as they were asked for"""
        lost_after: ClassVar[int] = 1 << 30
        """number of pictures after which a camera fails"""

        def __init__(self) -> None:
            super().__init__()
            self.count = 0
            self.set_live(True)
            self.set_format(gst.Format.TIME)
            self.set_do_timestamp(True)

        def do_set_property(self, name: Any, value: Any) -> None:
            self.sensors.append(value)

        def do_create(self, offset: int, size: int, buffer: Any) -> Any:
            time.sleep(1 / 30)
            if self.count >= self.lost_after:
                return gst.FlowReturn.ERROR, None
            picture = gst.Buffer.new_wrapped(bytes([self.count] * 64))
            self.count += 1
            return gst.FlowReturn.OK, picture

    return Camera


def _converter(found: Any, surfaces: Sequence[bytes]) -> Any:
    gst, turns = found.Gst, itertools.cycle(surfaces)
    given = NVMM if surfaces else RAW
    property_flags = import_module("gi.repository.GObject").ParamFlags.READWRITE

    class Convert(found.GstBase.BaseTransform):  # type: ignore[misc, name-defined]
        """Each picture that it copies to the host's memory is filled with its number."""

        __gstmetadata__ = ("nvvidconv", "Filter/Converter/Video/Scaler", "as far as its caps go", "tests")
        __gsttemplates__ = _pads(gst, NVMM, given)
        __gproperties__: ClassVar = {
            "bl-output": (bool, "", "", True, property_flags),
            "output-buffers": (int, "", "", 1, 64, 4, property_flags),
        }
        settings: ClassVar[dict[str, Any]] = {}

        def do_set_property(self, name: Any, value: Any) -> None:
            self.settings[name.name] = value

        def do_transform_caps(self, direction: Any, caps: Any, wanted: Any) -> Any:
            other = gst.Caps.from_string(given if direction == gst.PadDirection.SINK else NVMM)
            kept, merged = caps.get_structure(0), other.get_structure(0).copy()
            for name in ("width", "height", "framerate"):
                if kept.has_field(name):
                    merged.set_value(name, kept.get_value(name))
            changed = gst.Caps.new_empty()
            changed.append_structure_full(merged, other.get_features(0).copy())
            return wanted.intersect(changed) if wanted else changed

        def do_get_unit_size(self, caps: Any) -> tuple[bool, int]:
            if caps.get_features(0).contains("memory:NVMM"):
                return True, 64
            return True, found.GstVideo.VideoInfo.new_from_caps(caps).size

        def do_transform(self, picture: Any, copied: Any) -> Any:
            if surfaces:
                copied.fill(0, next(turns))
                return gst.FlowReturn.OK
            copied.fill(0, picture.extract_dup(0, 1) * copied.get_size())
            return gst.FlowReturn.OK

    return Convert
