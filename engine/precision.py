"""The words for a number's precision, the same in every command: f32, f16, bf16 and int8."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import UsageError

PRECISIONS = ("f32", "f16", "bf16", "int8")
"""32 and 16 bits of IEEE 754, bfloat16, and 8-bit integers with scales"""
RUN_PRECISIONS = ("f32", "bf16")
"""The precisions in which an ONNX runtime may compute, whatever precision a file was exported in."""
EXPORT_PRECISIONS = ("f32", "f16", "int8")
"""The precisions in which a file may be exported."""

_OTHER_WORDS = {
    **dict.fromkeys(("fp32", "float32", "float", "single"), "f32"),
    **dict.fromkeys(("fp16", "float16", "half"), "f16"),
    "bfloat16": "bf16",
    "i8": "int8",
}
"""Words of earlier versions and of other projects -> the words used here."""


def precision_word(word: str) -> str:
    """The word of PRECISIONS for `word`, whatever its case; a word that means none of them comes back as it is."""
    lower = word.lower()
    return _OTHER_WORDS.get(lower, lower if lower in PRECISIONS else word)


def check_precision(word: str, accepted: Sequence[str]) -> str:
    """The word of PRECISIONS for `word`. Raises UsageError, naming what is accepted here, and where the others belong.

    accepted: words of PRECISIONS, and others such as auto.
    """
    found = precision_word(word)
    if found in accepted:
        return found
    hint = ""
    if found in PRECISIONS:
        exported = found in EXPORT_PRECISIONS
        hint = "; 'saliency-tubes export' makes files in it" if exported else "; 'saliency-tubes run' computes in it"
    raise UsageError(f"precision must be one of {', '.join(accepted)}, got {word!r}{hint}")
