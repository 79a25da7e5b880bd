"""Where frames come from: `base` is the protocol, `open` finds the implementation for an address.

May import engine, `net`, `media` and the log; no sink, and no other source but through `open` or `feed`.
"""
