"""The explainer on an NVIDIA GPU: the driver and its programs, the records that kernels read, and their launches.

May import the rest of engine. Only `driver` and `program` import NVIDIA's bindings, when they are opened.
"""
