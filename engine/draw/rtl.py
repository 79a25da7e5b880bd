"""Scripts that are written from right to left, for a line that as a whole runs from left to right.

A small part of the Unicode bidirectional algorithm (UAX #9): a class name is one thing, and what stands beside it, a
probability for instance, keeps its side, as if the name were isolated (its rules X5a to X6a).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache

FORMS = ("isolated", "final", "initial", "medial")
"""of an Arabic letter: alone, joined to the one before, to the one after, to both"""
_FIRST_FORM, _LAST_FORM = 0xFB50, 0xFEFC
"""code points of the letters' forms: Arabic presentation forms A and B"""
_LAM = "\u0644"


def is_right_to_left(text: str) -> bool:
    """Whether its first letter with a direction runs from right to left."""
    return next((kind != "L" for kind in map(unicodedata.bidirectional, text) if kind in ("L", "R", "AL")), False)


def spans(text: str) -> Iterator[str]:
    """The text in parts of one direction, in the order of reading, which is the order on the line as well.

    A part from right to left goes from its first letter to its last; numbers and spaces within belong to it.
    """
    kinds = "".join(
        "r" if kind in ("R", "AL") else "l" if kind == "L" else "m" if kind == "NSM" else "n"
        for kind in map(unicodedata.bidirectional, text)
    )
    end = 0
    for match in re.finditer(r"r(?:[^l]*[rm])?", kinds):
        if match.start() > end:
            yield text[end : match.start()]
        yield text[match.start() : match.end()]
        end = match.end()
    if end < len(text):
        yield text[end:]


def visual_order(text: str) -> str:
    """A part from right to left as its glyphs stand from left to right, Arabic letters in the forms that join.

    For those who draw one glyph after the other. Numbers keep their direction, brackets turn, accents follow their
    letters.
    """
    clusters = _NUMBER_OR_ONE.findall(joined(text))
    made: list[str] = []
    for cluster in clusters:
        if made and unicodedata.combining(cluster[0]):
            made[-1] += cluster
        else:
            made.append(_MIRRORED.get(cluster, cluster))
    return "".join(reversed(made))


_DIGITS = "[0-9\u0660-\u0669\u06f0-\u06f9]+"
_NUMBER_OR_ONE = re.compile(f"{_DIGITS}(?:[.,:/]{_DIGITS})*|.", re.DOTALL)
_MIRRORED = dict(zip("()[]{}<>\u00ab\u00bb", ")(][}{><\u00bb\u00ab", strict=True))


def joined(text: str) -> str:
    """Arabic letters in the forms that they take beside each other, in the order of reading. Other text as it is."""
    forms = _forms()
    text = re.sub(f"{_LAM}[\u0622\u0623\u0625\u0627]", lambda match: _ligatures().get(match[0], match[0]), text)
    letters = [index for index, char in enumerate(text) if not unicodedata.combining(char)]
    made = list(text)
    for place, index in enumerate(letters):
        own = forms.get(text[index])
        if own is None:
            continue
        before = forms.get(text[letters[place - 1]], {}) if place else {}
        after = forms.get(text[letters[place + 1]], {}) if place + 1 < len(letters) else {}
        from_before = "initial" in before and "final" in own
        to_after = "initial" in own and "final" in after
        made[index] = own.get(FORMS[from_before + 2 * to_after], text[index])
    return "".join(made)


@lru_cache(maxsize=1)
def _decomposed() -> Mapping[tuple[str, str], str]:
    """The character of each form of each letter or pair of letters, by what it stands for and the form's name."""
    found: dict[tuple[str, str], str] = {}
    for code in range(_FIRST_FORM, _LAST_FORM + 1):
        form, *letters = unicodedata.decomposition(chr(code)).split() or [""]
        if form.strip("<>") in FORMS:
            found.setdefault(("".join(chr(int(letter, 16)) for letter in letters), form.strip("<>")), chr(code))
    return found


@lru_cache(maxsize=1)
def _forms() -> Mapping[str, Mapping[str, str]]:
    """By letter, and by ligature of lam and alef, the character for each of its forms."""
    made: dict[str, dict[str, str]] = {}
    ligatures = _ligatures()
    for (letters, form), char in _decomposed().items():
        if len(letters) == 1 or letters in ligatures:
            made.setdefault(ligatures.get(letters, letters), {})[form] = char
    return made


@lru_cache(maxsize=1)
def _ligatures() -> Mapping[str, str]:
    """Lam and an alef after it are one letter, by its isolated form."""
    return {
        letters: char
        for (letters, form), char in _decomposed().items()
        if form == "isolated" and len(letters) == 2 and letters[0] == _LAM and letters[1] in "\u0622\u0623\u0625\u0627"
    }
