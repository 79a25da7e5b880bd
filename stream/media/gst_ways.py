"""Which memory a GStreamer pipeline's pictures come out in, or go in from, and why."""

from __future__ import annotations

from typing import Any

from ...engine.errors import UsageError
from ...engine.picture import HOST
from .cuda_planes import gpu_of
from .gst_cuda import InCuda, why_no_cuda_memory
from .gst_cuda_frames import ENCODERS as CUDA_ENCODERS
from .gst_cuda_frames import CudaFrames
from .gst_frames import FrameBuffers
from .gst_load import Missing, load
from .gst_memory import InHost, PictureMemory
from .gst_nvmm import InNvmm, why_no_nvmm
from .info import VideoInfo

DECODERS = ("nvh264dec", "nvh264sldec", "nvv4l2decoder")
"""Decoders of H.264 on a GPU. Who has one of these has those of the other codecs that the GPU can decode."""


def choose_memory(where: str) -> PictureMemory:
    """The memory to decode into, as near to the place `where` ("host", "cuda:0") as GStreamer can here.

    Raises UsageError if there is no such GPU.
    """
    if where == HOST:
        return InHost()
    gpu = gpu_of(where)
    if gpu.integrated and why_no_nvmm() is None:  # a Jetson; other GPUs without memory of their own have no NVMM
        return InNvmm(gpu)
    why = why_no_cuda_memory()
    return InCuda(gpu) if why is None else InHost(f"each picture is copied to {where}, because {why}")


def decodes_into(where: str) -> bool:
    """Whether GStreamer has a decoder here that decodes into the memory of a place on a GPU."""
    try:
        memory = choose_memory(where)
    except (UsageError, Missing):
        return False
    found = load("GstApp", "GstVideo").Gst.ElementFactory.find
    return memory.where == where and any(found(name) is not None for name in DECODERS)


def frames_for(gst: Any, info: VideoInfo, encoder: str) -> tuple[FrameBuffers, str]:
    """What gives pictures to an encoder, or to a pipeline that takes raw video where `encoder` is empty; and in words
    for people how, empty where the pictures lie on the host. gst: the namespace of `gst_load.load`.
    """
    if info.where == HOST:
        return FrameBuffers(gst, info), ""
    why = why_no_cuda_memory()
    if encoder not in CUDA_ENCODERS:
        why = f"{encoder or 'the pipeline'} takes no others"
    elif info.width % 2 or info.height % 2:
        why = "an odd size is padded there"
    elif info.layout not in CudaFrames.formats:
        why = f"{encoder} takes no {info.layout.value} pictures there"
    if why is not None:
        return FrameBuffers(gst, info), f"pictures are copied to the host, because {why}"
    return CudaFrames(load("GstApp", "GstVideo", "GstCuda"), info, gpu_of(info.where)), f"on {info.where}"
