"""The compiled part: the overlay's rows. All else is in pyproject.toml.

Optional: without a C++ compiler the package installs all the same, and draws by NumPy, which it says at start-up.
"""

import sys
from glob import glob

from setuptools import Extension, setup

# Python 3.10's limited API has no buffers: there the module is for that version alone.
LIMITED = sys.version_info >= (3, 11)

setup(
    ext_modules=[
        Extension(
            "saliency_tubes.engine._overlay",
            sources=["engine/kernels/overlay.cpp"],
            depends=sorted(glob("engine/kernels/*.h")),
            language="c++",
            # contracted, products and sums would differ from the GPU's
            extra_compile_args=["-std=c++17", "-O3", "-ffp-contract=off", "-fvisibility=hidden"],
            py_limited_api=LIMITED,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
