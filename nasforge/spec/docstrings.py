"""What docstrings of option models say: a model's first paragraph, and its fields from the section ``Attributes``."""

from __future__ import annotations

import inspect
import re

from pydantic import BaseModel

_FIELD = re.compile(r"^    (\w+): (.*)$")
_SECTION = re.compile(r"^[A-Z]\w*:$")


def summary_of(model: type[BaseModel]) -> str:
    """The first paragraph of a model's own docstring on one line, or nothing."""
    paragraph = inspect.cleandoc(model.__dict__.get("__doc__") or "").split("\n\n")[0]
    return _plain(paragraph)


def fields_of(model: type[BaseModel]) -> dict[str, str]:
    """Field name to its description; what a subclass says wins over its bases."""
    described: dict[str, str] = {}
    for each in reversed(model.__mro__):
        described |= _attributes(inspect.cleandoc(each.__dict__.get("__doc__") or ""))
    return {name: text for name, text in described.items() if name in model.model_fields}


def _attributes(docstring: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    inside = False
    for line in docstring.splitlines():
        if _SECTION.match(line):
            inside = line == "Attributes:"
        elif inside and (field := _FIELD.match(line)):
            lines = found[field.group(1)] = [field.group(2)]
        elif inside and lines is not None and line.startswith("        "):
            lines.append(line)
    return {name: _plain(" ".join(lines)) for name, lines in found.items()}


def _plain(text: str) -> str:
    """One line; editors show Markdown, in which code has single backticks."""
    return " ".join(text.split()).replace("``", "`")
