"""What runs a network: `base` is the protocol, `open` chooses an implementation, `models` knows the files.

May import the rest of engine, but neither `draw` nor `cuda`; each runtime's library in that runtime's file alone.
"""
