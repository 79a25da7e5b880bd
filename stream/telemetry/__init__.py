"""What a run tells about itself: the log, events, statistics, metrics, health.

May import engine, `net`, and of sources and sinks their bases.
"""
