"""What a run knows and says of itself: the log, events, statistics, metrics, health.

May import engine, `net`, and of sources and sinks their bases.
"""
