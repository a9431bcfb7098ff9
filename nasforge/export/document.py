"""What all exported modules have in common: docstring, imports, constants and code, in this order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nasforge.export.allowed import IMPORTS, check_source
from nasforge.export.names import docstring_lines

_OF_STANDARD_LIBRARY = ("import math", "import sys", "import zlib", "from pathlib import Path")
_OPTIONAL = {"import math": "math", "import zlib": "zlib", "from torch.nn import functional as F": "F"}
"""Imports that only some modules need, with the name whose use shows it."""


@dataclass(frozen=True)
class ExportedModule:
    """An exported network.

    Attributes:
        source: the text of the file.
        names: `Network.copy_values` names to names in the state dict of the file's network: one to one.
    """

    source: str
    names: Mapping[str, str]


@dataclass(frozen=True)
class Usage:
    """What the file's docstring says besides title and facts, in lines."""

    introduction: tuple[str, ...]
    how: tuple[str, ...]


def docstring(title: str, facts: Sequence[tuple[str, str]], usage: Usage) -> str:
    """The docstring of the file; title and facts may be any text."""
    lines = docstring_lines(title)
    lines += ["", *usage.introduction]
    if facts:
        labels = [" ".join(docstring_lines(name)) for name, _ in facts]
        margin = min(24, max(map(len, labels)))
        lines.append("")
        for label, (_, value) in zip(labels, facts, strict=True):
            lines += docstring_lines(value, first=f"    {label:<{margin}}  ", rest=" " * (margin + 6))
    lines += ["", *usage.how]
    text = "\n".join(line.rstrip() for line in lines)
    # A quote right after the opening ones would read as a fourth.
    text = text.replace('"', r"\"", 1) if text.startswith('"') else text
    return f'"""{text}\n"""'


def module_text(docstring: str, constants: str, code: Sequence[str]) -> str:
    """The text of a module, checked.

    Args:
        docstring: from `docstring`.
        constants: lines of assignments.
        code: functions and classes in order; a call of ``main`` at the end.

    Raises:
        NasforgeError: it holds what does not belong into an exported network.
    """
    body = "\n\n\n".join(part.strip("\n") for part in code)
    needed = [
        line for line in IMPORTS if line not in _OPTIONAL or re.search(rf"\b{_OPTIONAL[line]}\.", body) is not None
    ]
    future, *rest = needed
    standard = [line for line in rest if line in _OF_STANDARD_LIBRARY]
    others = [line for line in rest if line not in _OF_STANDARD_LIBRARY]
    imports = "\n".join([future, "", *standard, "", *others])
    source = f"{docstring}\n\n{imports}\n\n{constants}\n\n\n{body}\n"
    check_source(source)
    return source
