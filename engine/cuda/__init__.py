"""The same work on an NVIDIA GPU: the driver and its programs, what the kernels are told, and who launches them.

May import the rest of engine; NVIDIA's bindings in `driver` and `program` alone, when they are opened.
"""
