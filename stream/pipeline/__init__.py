"""The way of a frame and of a clip: window, schedule, explanation, placing, painting, and the threads they run in.

May import engine, `media`, `telemetry`, and of sources and sinks their bases.
"""
