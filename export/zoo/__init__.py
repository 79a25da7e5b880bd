"""The networks that can be exported by name, each with its published preprocessing, and how they are loaded.

Looking at `NETWORKS` needs no torch; `load` imports it.
"""

from .catalog import NETWORKS, Network
from .loading import DEFAULT_WEIGHTS, load

__all__ = ["DEFAULT_WEIGHTS", "NETWORKS", "Network", "load"]
