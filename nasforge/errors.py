"""The one tree of errors that nasforge raises on purpose.

::

    NasforgeError                 exit 1
    ├── UsageError                exit 2   a wrong argument, file name or override
    ├── SpecError                 exit 2   one or more faults in a YAML file, each with its place
    ├── SpaceError                exit 2   an architecture or a decision that does not fit its space
    ├── DataError                 exit 2   a data set that is missing, incomplete or not what it claims
    ├── RunFailedError            exit 1   a run that cannot go on (all children failed, a worker died)
    ├── RunLockedError            exit 3   another process owns the run directory
    ├── StorageError              exit 4   disk full, read-only or not permitted
    ├── CorruptRunError           exit 5   a run directory that does not hold what its manifest says
    └── PluginError               exit 6   a plugin raised at import, at registration or in a hook

The command line prints ``str(error)`` and ends with ``error.exit_code``; it never shows a traceback
for these unless ``--debug`` is given. Everything else that escapes is a bug in nasforge.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


class NasforgeError(Exception):
    """Root of every error that nasforge raises on purpose. ``str()`` of it is what a user reads."""

    exit_code: ClassVar[int] = 1


class UsageError(NasforgeError):
    """The command line or a Python call asked for something that is not there."""

    exit_code = 2


class SpaceError(NasforgeError):
    """An architecture, a decision or a graph breaks a rule of its search space."""

    exit_code = 2


class DataError(NasforgeError):
    """A data set is missing, too small, or is not what it claims to be."""

    exit_code = 2


class RunFailedError(NasforgeError):
    """The run cannot go on; what was finished stays in the run directory."""

    exit_code = 1


class RunLockedError(NasforgeError):
    """Another process owns the run directory."""

    exit_code = 3


class StorageError(NasforgeError):
    """The file system refused a write."""

    exit_code = 4


class CorruptRunError(NasforgeError):
    """A file of a run directory is damaged or does not match its recorded sha256."""

    exit_code = 5


class PluginError(NasforgeError):
    """A plugin raised; the message names it."""

    exit_code = 6


@dataclass(frozen=True)
class Problem:
    """One fault at one place.

    Attributes:
        where: ``file:line:col``, ``override 'key=value'`` or a dotted key where no file stands behind it.
        message: the rule that broke, with the value found, in one sentence without a final newline.
        line: the text of the faulty line, or None.
        line_number: its number, counted from 1, or None.
        column: where the fault starts in ``line``, counted from 1, or None.
        length: how many characters are underlined.
        hint: what is known here or what to do, shown below the line; may be empty.
    """

    where: str
    message: str
    line: str | None = None
    line_number: int | None = None
    column: int | None = None
    length: int = 1
    hint: str = ""

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.message}"]
        if self.line is not None and self.line_number is not None:
            shown, column = _window(self.line, self.column or 1)
            number = f"{self.line_number:>5}"
            parts.append(f"{number} | {shown}")
            room = max(1, min(self.length, len(shown) - column + 1))
            parts.append(f"{' ' * len(number)} | {' ' * (column - 1)}{'^' * room}")
        if self.hint:
            parts.append(self.hint)
        return "\n".join(parts)


def _window(line: str, column: int, width: int = 120) -> tuple[str, int]:
    """Cut a long line to `width` characters around `column` (from 1); returns the text and the new column."""
    start = max(0, column - 1 - width // 2) if len(line) > width else 0
    text = line[start : start + width].rstrip("\r\n").replace("\t", " ")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text), column - start


class SpecError(NasforgeError):
    """One or more faults in a spec; all that were found, not the first.

    Attributes:
        problems: the faults, in the order of their places.
    """

    exit_code = 2

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("a SpecError needs at least one problem")
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n\n".join(str(p) for p in self.problems))


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest known word, or an empty string.

    Args:
        word: what was written.
        known: what would have been accepted.
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
