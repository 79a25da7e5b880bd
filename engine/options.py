"""An option is declared once: as a field of a frozen dataclass, with its meaning, unit, bounds and choices. Pure.

    @dataclass(frozen=True)
    class Connecting:
        option_group = "inputs"
        timeout: float = option(5.0, "how long one attempt to connect may take", unit="seconds", more_than=0.0)

        def __post_init__(self) -> None:
            check_options(self)

The command line, files of options, keyword arguments, their checks and docs/options.md are all made from that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from .errors import UsageError

_T = TypeVar("_T")
_KEY = "option"


@dataclass(frozen=True)
class Option:
    """Everything about an option but its type and its default, which its field has."""

    meaning: str
    """for --help and the documentation: a few words, or some sentences"""
    more: str = ""
    """what the documentation says besides, as Markdown, from docs/"""
    group: str = ""
    """the heading it is listed under; empty: the class attribute `option_group` of its dataclass"""
    flag: str = ""
    """the name for users, if it is not that of the field: encoder-preset"""
    metavar: str = ""
    """the word for the value in --help; empty: its choices, or its name in capitals"""
    unit: str = ""
    """unit of the value and of the bounds, as a word: seconds"""
    default: str = ""
    """the default in words, if its value tells nothing, such as None: "the model's own" """
    choices: tuple[str, ...] = ()
    """the texts that are accepted; empty: any. Where `read` makes something else of them, it says what is no choice"""
    at_least: float | None = None
    """least value, of each side where the value is a size. Whole numbers are written as int, others as float"""
    at_most: float | None = None
    more_than: float | None = None
    less_than: float | None = None
    read: Callable[[str], object] | None = None
    """makes a value of a text, for types that are neither text nor number. Raises ValueError saying what is accepted,
    as "frames a second, as 25, got 'x'", or UsageError"""
    live: bool = False
    """whether it may change while a stream runs"""
    shared: bool = False
    """whether it belongs to the model, which all streams of a run share"""

    def check(self, name: str, value: Any) -> None:
        """Raises UsageError for a value that is not accepted: one line with the name, what is accepted, the value."""
        if value is None:
            return
        if self.choices and isinstance(value, str) and value not in self.choices:
            raise UsageError(f"{name} must be {self.accepted()}, got {value!r}")
        sides = value if isinstance(value, tuple) else (value,)
        if self._bounded and not all(map(self._within, sides)):
            raise UsageError(f"{name} must be {self.accepted(isinstance(value, tuple))}, got {shown(value)}")

    def accepted(self, size: bool = False) -> str:
        """The choices or the bounds, in words; empty if every value is accepted. size: whether the value is WxH."""
        if self.choices:
            return " or ".join(self.choices) if len(self.choices) < 3 else f"one of {', '.join(self.choices)}"
        low, high = self.at_least, self.at_most
        words = ""
        if low is not None and high is not None:
            words = f"between {low:g} and {high:g}" if isinstance(low, float) else f"{low} to {high}"
        elif low is not None:
            words = f"{low}x{low} or more" if size else f"{low:g} or more"
        elif self.more_than is not None:
            words = f"more than {self.more_than:g}"
        words += f" {self.unit}" if words and self.unit else ""
        return words + (f", and less than {self.less_than:.0f}" if self.less_than is not None else "")

    @property
    def _bounded(self) -> bool:
        return any(bound is not None for bound in (self.at_least, self.at_most, self.more_than, self.less_than))

    def _within(self, value: float) -> bool:
        """False for what is not a number, too."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.more_than is None or value > self.more_than)
            and (self.less_than is None or value < self.less_than)
        )


def option(default: _T, declared: str | Option, /, **facts: Any) -> _T:
    """A field of a dataclass that is an option. declared: its meaning, with the other fields of `Option` as facts; or
    a whole Option, where several dataclasses have the same one.
    """
    made = declared if isinstance(declared, Option) else Option(declared, **facts)
    return field(default=default, metadata={_KEY: made})


def options_of(kind: type) -> dict[str, Option]:
    """The options that a dataclass declares itself, by field."""
    return {one.name: one.metadata[_KEY] for one in fields(kind) if _KEY in one.metadata}


def name_of(field_name: str, declared: Option) -> str:
    """The name of an option for users."""
    return declared.flag or field_name.replace("_", "-")


def check_options(made: Any) -> None:
    """For `__post_init__`. Raises UsageError for the first value that is not accepted."""
    for field_name, declared in options_of(type(made)).items():
        declared.check(name_of(field_name, declared), getattr(made, field_name))


def shown(value: object) -> str:
    """A value as it would be written on the command line."""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_size(text: str) -> tuple[int, int]:
    """WxH: width and height. Raises ValueError."""
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"WxH, as 1280x720, got {text!r}")
    return int(width), int(height)


def read_amount(text: str) -> int:
    """A number that may end with k, M or G, which are powers of ten. Raises ValueError."""
    units = {"k": 1e3, "m": 1e6, "g": 1e9}
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].lower() in units else (text, "")
    try:
        return int(float(number) * units.get(unit, 1))
    except (ValueError, OverflowError):
        raise ValueError(f"a number, as 500000 or 4M, got {text!r}") from None
