"""Frames in GStreamer's CUDA memory: uploaded by a real element, written to by their pointer, downloaded by another.

A program for a process of its own, on a GPU that is not there: python gst_round_trip.py sync|forget. `forget` does not
wait for what it writes before it hands the frame on, which is wrong. Prints a row of each frame that comes back.
"""

import ctypes
import sys

from cuda.bindings import driver as cuda
from saliency_tubes.stream.media.gst_load import load

MAP_CUDA = 1 << 17
READ, WRITE = 1, 2
WIDTH, HEIGHT = 320, 240


class MapInfo(ctypes.Structure):
    """GstMapInfo, gstmemory.h"""

    _fields_ = (
        ("memory", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("maxsize", ctypes.c_size_t),
        ("user_data", ctypes.c_void_p * 4),
        ("reserved", ctypes.c_void_p * 4),
    )


def ok(result):
    assert int(result[0]) == 0, result
    return result[1] if len(result) > 1 else None


def main(how):
    ok(cuda.cuInit(0))
    context = ok(cuda.cuDevicePrimaryCtxRetain(0))
    gst = load("GstApp", "GstVideo", "GstCuda")
    Gst = gst.Gst
    assert gst.GstCuda.cuda_load_library()
    wrapped = gst.GstCuda.CudaContext.new_wrapped(int(context), 0)
    shared = gst.GstCuda.context_new_cuda_context(wrapped)
    library = ctypes.CDLL("libgstreamer-1.0.so.0")
    library.gst_memory_map.argtypes = [ctypes.c_void_p, ctypes.POINTER(MapInfo), ctypes.c_int]
    library.gst_memory_unmap.argtypes = [ctypes.c_void_p, ctypes.POINTER(MapInfo)]

    size = f"format=NV12,width={WIDTH},height={HEIGHT}"
    source = Gst.parse_launch(
        f"videotestsrc num-buffers=4 pattern=black ! video/x-raw,{size} ! cudaupload ! "
        "video/x-raw(memory:CUDAMemory) ! appsink name=out sync=false"
    )
    sink = Gst.parse_launch(
        f"appsrc name=in format=time ! cudadownload ! video/x-raw,{size} ! appsink name=out sync=false"
    )
    for pipeline in (source, sink):
        pipeline.set_context(shared)
    source.set_state(Gst.State.PLAYING)
    ok(cuda.cuCtxPushCurrent(context))
    stream = ok(cuda.cuStreamCreate(1))
    for index in range(4):
        sample = source.get_by_name("out").try_pull_sample(10 * Gst.SECOND)
        if index == 0:
            sink.get_by_name("in").set_property("caps", sample.get_caps())
            sink.set_state(Gst.State.PLAYING)
        buffer = sample.get_buffer()
        memory, stride = hash(buffer.peek_memory(0)), gst.GstVideo.buffer_get_video_meta(buffer).stride[0]
        found = MapInfo()
        assert library.gst_memory_map(memory, ctypes.byref(found), READ | WRITE | MAP_CUDA)
        ok(cuda.cuMemsetD2D8Async(found.data + 10 * stride, stride, 100 + index, WIDTH, 10, stream))
        if how == "sync":
            ok(cuda.cuStreamSynchronize(stream))
        library.gst_memory_unmap(memory, ctypes.byref(found))
        sink.get_by_name("in").push_buffer(buffer)
        back = sink.get_by_name("out").try_pull_sample(10 * Gst.SECOND).get_buffer()
        data = back.extract_dup(0, back.get_size())
        print(*(data[row * WIDTH + 5] for row in (9, 10, 19, 20)))
    ok(cuda.cuStreamSynchronize(stream))
    ok(cuda.cuStreamDestroy(stream))
    ok(cuda.cuCtxPopCurrent())
    for pipeline in (source, sink):
        pipeline.set_state(Gst.State.NULL)


main(sys.argv[1])
