"""Imports what a table names only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazily(package: str | None, target: str) -> Callable[..., Any]:
    """A function that imports a class or function when it is called, and calls it.

    target: "module:name", the module relative to `package`: lazily(__package__, "mqtt:MqttSink").
    """
    module, _, name = target.partition(":")

    def call(*values: Any, **named: Any) -> Any:
        return getattr(import_module(f".{module}", package), name)(*values, **named)

    return call
