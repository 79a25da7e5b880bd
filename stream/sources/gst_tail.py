"""The end of a pipeline, from the decoder's raw video to the appsink that frames are read from."""

from __future__ import annotations

from typing import Any

from ..media.gst_memory import JOIN

NVMM = "memory:NVMM"
"""the memory of a Jetson's decoders and cameras, which only NVIDIA's own elements can read"""
FROM_NVMM = 'nvvidconv ! capsfilter caps="video/x-raw,format=(string){ I420, NV12 }"'
"""Copies pictures from NVMM to the host's memory. nvvidconv may take no others, so it is there only for NVMM."""


def assemble(gst: Any, description: str, tail: str) -> Any:
    """The pipeline of `description`, which gives raw video, and of `tail`, in the words of gst-launch.

    tail: from an element called JOIN, which takes what lies in the host's memory, to an appsink. Where the raw video
    lies in NVMM, and the tail cannot take it, it is copied from there. Raises GLib.Error where GStreamer refuses.
    """
    try:
        pipeline = gst.parse_launch(f"{description} ! {tail}")
    except Exception as error:  # GLib.Error, which can be named only after gi is imported
        if not _has_nvvidconv(gst):
            raise
        try:
            return gst.parse_launch(f"{description} ! {FROM_NVMM} ! {tail}")
        except Exception:  # the memory was not the reason
            raise error from None
    if _has_nvvidconv(gst):
        for element in pipeline.children:
            element.connect("pad-added", _join, gst, pipeline)  # what it decodes to is known only once it reads
    return pipeline


def is_unlinked(message: Any) -> bool:
    """Whether a warning says only that gst-launch's words did not link a decoder, which `assemble` sees to."""
    return bool(message.parse_warning()[0].domain == "gst_parse_error")


def _has_nvvidconv(gst: Any) -> bool:
    return gst.ElementFactory.find("nvvidconv") is not None


def _join(element: Any, pad: Any, gst: Any, pipeline: Any) -> None:
    """Links a decoder's new pad over nvvidconv where it gives NVMM, which the elements behind it have refused."""
    target = pipeline.get_by_name(JOIN).get_static_pad("sink")
    if pad.is_linked() or target.is_linked() or not in_memory(pad.query_caps(None), NVMM):
        return
    bridge = gst.parse_bin_from_description(FROM_NVMM, True)
    pipeline.add(bridge)
    bridge.get_static_pad("src").link(target)
    bridge.sync_state_with_parent()
    pad.link(bridge.get_static_pad("sink"))


def in_memory(caps: Any, memory: str) -> bool:
    """Whether the first of the caps is of pictures in this memory."""
    return caps.get_size() > 0 and bool(caps.get_features(0).contains(memory))
