"""The YAML that nasforge reads: data with places, without tags, anchors, aliases, merge keys or surprises.

Text in, nodes out: `nasforge.spec.yaml_builder` makes them of the events of PyYAML's pure-Python parser, in one loop;
nothing is composed, constructed or resolved by PyYAML. Composing expands aliases without bound, lets the last of two
equal keys win in silence and follows YAML 1.1, where ``no`` is false and ``1e-3`` is text; its C parser crashes on deep
files.

Scalars follow the core schema of YAML 1.2.2 (section 10.3.2), with three refusals: integers of more than
100 characters, floats that overflow to infinity, and lone surrogates, which no file could hold.
"""

from __future__ import annotations

import re
import stat
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from nasforge.errors import Problem, SpecError, UsageError, suggest
from nasforge.spec.nodes import Node, ScalarNode, printable
from nasforge.spec.yaml_builder import LINE_BREAK, Builder, Source

MAX_BYTES = 1 << 20
MAX_PATH_CHARACTERS = 4096

# U+0085, U+2028 and U+2029 print, but PyYAML ends a line there and YAML 1.2 and editors do not: lines would disagree.
_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

_SYNTAX_HINTS = {
    "mapping values are not allowed here": "a text that holds ': ' needs quotes; a key stands at the start of its line",
    "expected <block end>": "check the indentation here and quotes or brackets above",
    "expected '<document start>'": "what stands above has ended already; check the indentation",
    "found character '\\t' that cannot start any token": "a tab does not indent; use spaces",
    "found character '%' that cannot start any token": "a text that starts with '%' needs quotes",
    "found character '@' that cannot start any token": "a text that starts with '@' needs quotes",
    "found character '`' that cannot start any token": "a text that starts with '`' needs quotes",
}


def read_yaml(path: Path, *, display: str | None = None) -> Node:
    """Read a YAML file of at most 1 MiB.

    Args:
        path: the file.
        display: what errors call it; by default `path` as given.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        SpecError: all faults of its text, each with its place.
    """
    shown = printable(display if display is not None else str(path), MAX_PATH_CHARACTERS)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{shown} is a folder; name a YAML file in it")
        if not stat.S_ISREG(status.st_mode):
            # Reading a pipe nobody writes to would never end.
            raise UsageError(f"{shown} is not a regular file")
        if status.st_size > MAX_BYTES:
            raise SpecError([_too_large(shown, status.st_size)])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"no such file: {shown}{_close_file(path)}") from error
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {error.strerror or type(error).__name__}") from error
    except ValueError as error:
        # A NUL or a lone surrogate in the name; pathlib raises this before the system is asked.
        raise UsageError(f"no such file: {shown}") from error
    return read_yaml_text(data, shown)


def read_yaml_text(text_or_bytes: str | bytes, where: str) -> Node:
    """Read YAML from memory; bytes are UTF-8, with or without a byte order mark. No text at all reads as null.

    Args:
        text_or_bytes: at most 1 MiB.
        where: what errors call it; they add ``:line:column``.

    Raises:
        SpecError: all faults, each with its place; after a syntax error nothing more is read.
    """
    # Lone surrogates cannot be encoded strictly and are refused below with their place.
    size = len(text_or_bytes if isinstance(text_or_bytes, bytes) else text_or_bytes.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise SpecError([_too_large(where, size)])
    text = _decode(text_or_bytes, where) if isinstance(text_or_bytes, bytes) else text_or_bytes
    text = text.removeprefix("\ufeff")
    return _build(text, Source(where, tuple(LINE_BREAK.split(text))))


def read_value(text: str, where: str) -> Node:
    """Read one YAML value as it could stand after ``key:`` on one line; every place in it is `where` alone.

    Raises:
        SpecError: all faults; a mapping or a list without brackets is one.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise SpecError([_too_large(where, size)])
    # Indented, because '---', '...' and '%' mean something else at the start of a line.
    text = f" {text}"
    return _build(text, Source(where, tuple(LINE_BREAK.split(text)), inline=True))


def _build(text: str, source: Source) -> Node:
    builder = Builder(source, text)
    for number, line in enumerate(source.lines):
        for found in _NOT_ALLOWED.finditer(line):
            message = f"the character U+{ord(found.group()):04X} is not allowed in a YAML file"
            builder.add(source.mark(number, found.start()).problem(message, _character_hint(found.group())))
    if builder.problems:
        builder.stop()
    # Any: the stubs leave these methods untyped. yaml.parse would not say where a ValueError came from.
    loader: Any = yaml.SafeLoader(text)
    try:
        while (event := _next_event(loader, builder)) is not None:
            builder.feed(event)
    finally:
        loader.dispose()
    if builder.problems:
        builder.stop()
    return builder.root or ScalarNode(source.mark(0, 0), None)


def _next_event(loader: Any, builder: Builder) -> Any:
    source = builder.source
    try:
        return loader.get_event() if loader.check_event() else None
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark or loader.get_mark()
        problem = (error.problem or error.context or "syntax error").replace("'<stream end>'", "the end of the file")
        hints = [hint for start, hint in _SYNTAX_HINTS.items() if problem.startswith(start)]
        if error.context and error.context_mark:
            # At the end of the file what matters is the bracket that nobody closed, not what was expected behind it.
            unclosed = loader.marks[-1] if loader.marks and "<stream end>" in str(error.problem) else None
            begin = unclosed or error.context_mark
            place = "" if source.inline else f" that starts at {begin.line + 1}:{begin.column + 1}"
            hints.append(f"{error.context}{place}")
        builder.stop(source.at(at).problem(f"not valid YAML: {printable(problem)}", printable("; ".join(hints))))
    except (ValueError, OverflowError):
        # PyYAML gives the digits after \U and %YAML to chr() and int() unchecked.
        builder.stop(source.at(loader.get_mark()).problem("not valid YAML: an escape or a number here is out of range"))


def _decode(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = LINE_BREAK.split(data[: error.start].decode("utf-8").removeprefix("\ufeff"))
        lines = LINE_BREAK.split(data.decode("utf-8", "replace").removeprefix("\ufeff"))
        place = Source(where, tuple(lines)).mark(len(before) - 1, len(before[-1]))
        is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        hint = "the file looks like UTF-16; save it as UTF-8" if is_utf16 else "save the file as UTF-8"
        raise SpecError([place.problem(f"the byte 0x{data[error.start]:02X} is not UTF-8", hint)]) from error


def _too_large(where: str, size: int) -> Problem:
    return Problem(where, f"{size:,} bytes; a YAML file of at most {MAX_BYTES:,} bytes is read")


def _character_hint(character: str) -> str:
    if character in "\x85\u2028\u2029":
        return "end the line with a plain line feed"
    return "the file looks like UTF-16 or binary; save it as UTF-8 text" if character == "\0" else ""


def _close_file(path: Path) -> str:
    try:
        # Bounded: the folder may be anything, a user's download folder too.
        names = [p.name for p in islice(path.parent.iterdir(), 10_000) if p.name != path.name]
    except OSError:
        return ""
    found = suggest(path.name, names)
    return f".{printable(found)}" if found else ""
