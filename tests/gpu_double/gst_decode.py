"""Decodes a file by GStreamer's nvh264sldec, on a GPU that is not there: python gst_decode.py FILE. Prints each frame's
caps, and its first sample of Y and of UV."""

import sys

from saliency_tubes.stream.media.gst_load import load

gst = load("GstApp", "GstVideo", "GstCuda")
Gst = gst.Gst
pipeline = Gst.parse_launch(
    f"filesrc location={sys.argv[1]} ! qtdemux ! h264parse ! nvh264sldec ! "
    "video/x-raw(memory:CUDAMemory),format=NV12 ! cudadownload ! video/x-raw,format=NV12 ! appsink name=out sync=false"
)
pipeline.set_state(Gst.State.PLAYING)
out = pipeline.get_by_name("out")
while sample := out.try_pull_sample(10 * Gst.SECOND):
    caps, buffer = sample.get_caps().get_structure(0), sample.get_buffer()
    offset = gst.GstVideo.buffer_get_video_meta(buffer)
    chroma = offset.offset[1] if offset else caps["width"] * caps["height"]
    data = buffer.extract_dup(0, buffer.get_size())
    print(caps["width"], caps["height"], data[0], data[chroma])
pipeline.set_state(Gst.State.NULL)
