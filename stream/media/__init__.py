"""Video below the level of sources and sinks: its description, planes, times, damage, encoders, and the code that talks
to FFmpeg and GStreamer.

May import engine, `net` and the log.
"""
