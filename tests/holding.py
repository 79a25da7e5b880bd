"""How much an object holds on to: tests that nothing grows need not know how it keeps what."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType


def held(thing: object) -> int:
    """How many objects can be reached from `thing`, itself included; types, functions and modules are not followed.

    Numbers and strings count each time that something refers to them, however Python shares them.
    """
    found, seen, left = 0, set(), [thing]
    while left:
        one = left.pop()
        if isinstance(one, type | FunctionType | ModuleType):
            continue
        found += 1
        if id(one) not in seen:
            seen.add(id(one))
            left += gc.get_referents(one)
    return found
