"""Drawing in the CPU's memory: the overlay and its paths, the caption, the outline, the notice, the colours.

May import the rest of engine, but no runtime. Only `overlay` imports the CUDA path, when it is asked for.
"""
