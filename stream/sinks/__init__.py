"""Where frames and events go: `base` is the protocol, `open` finds the implementation for an address.

May import engine, `net`, `media`, `telemetry`'s log, events and web server; no source.
"""
