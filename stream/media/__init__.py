"""Video as libraries see it: what is known of one, planes, times, damage, encoders, and GStreamer's and FFmpeg's glue.

May import engine, `net` and the log.
"""
