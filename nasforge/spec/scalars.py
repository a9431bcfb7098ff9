"""What an unquoted scalar means: the core schema of YAML 1.2."""

from __future__ import annotations

import math
import re

from nasforge.spec.nodes import Scalar, printable

MAX_INTEGER_CHARACTERS = 100

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})


def resolve_scalar(text: str) -> Scalar:
    """Return what an unquoted scalar means by the core schema of YAML 1.2: null, a truth value, a number or text.

    Raises:
        ValueError: an integer of more than `MAX_INTEGER_CHARACTERS`, or a float that overflows; the message says so.
    """
    if text in _NULL:
        return None
    if text in _TRUTH:
        return _TRUTH[text]
    for pattern, base in ((_DECIMAL, 10), (_OCTAL, 8), (_HEXADECIMAL, 16)):
        if pattern.fullmatch(text):
            if len(text) > MAX_INTEGER_CHARACTERS:
                raise ValueError(f"an integer of {len(text):,} characters; at most {MAX_INTEGER_CHARACTERS} are read")
            return int(text if base == 10 else text[2:], base)
    if _INFINITY.fullmatch(text):
        return -math.inf if text.startswith("-") else math.inf
    if text in _NAN:
        return math.nan
    if _FLOAT.fullmatch(text):
        number = float(text)
        if math.isinf(number):
            raise ValueError(f"{printable(text, 40)} is too large for a 64-bit float; write .inf for infinity")
        return number
    return text
