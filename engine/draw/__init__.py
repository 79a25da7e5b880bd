"""What is drawn, in the CPU's memory: the overlay and its paths, the caption, the frame, the notice, the colours.

May import the rest of engine, but no runtime; `overlay` alone opens the path by CUDA, when it is asked for.
"""
