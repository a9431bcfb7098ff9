"""The YAML that nasforge reads: data with places, without tags, anchors, aliases, merge keys or surprises.

Nodes are built from the events of PyYAML's pure-Python parser, in one loop: nothing is composed, constructed or
resolved by PyYAML. Composing expands aliases without bound, lets the last of two equal keys win in silence and
follows YAML 1.1, where ``no`` is false and ``1e-3`` is text; its C parser crashes on deep files.

Scalars follow the core schema of YAML 1.2.2 (section 10.3.2), with three refusals: integers of more than
100 characters, floats that overflow to infinity, and lone surrogates, which no file could hold.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import yaml

from nasforge.errors import Problem, SpecError, UsageError, suggest
from nasforge.spec.nodes import Entry, MappingNode, Mark, Node, Scalar, ScalarNode, SequenceNode, printable
from nasforge.spec.scalars import resolve_scalar

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 50_000
MAX_SCALAR_CHARACTERS = 1 << 16
MAX_PROBLEMS = 100
MAX_PATH_CHARACTERS = 4096

_LINE_BREAK = re.compile(r"\r\n|\n|\r")
# U+0085, U+2028 and U+2029 print, but PyYAML ends a line there and YAML 1.2 and editors do not: lines would disagree.
_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PROPERTY = re.compile(r"!<[^>]*>|[&!][^\s,\[\]{}]*")

_SHARE_HINT = "write the value out, or name a decision under 'let' and take it with {use: name}"
_TAG_HINT = "plain values are read as null, true, false, numbers or text; quotes make text of anything"
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
    return _build(text, _Source(where, tuple(_LINE_BREAK.split(text))))


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
    return _build(text, _Source(where, tuple(_LINE_BREAK.split(text)), inline=True))


@dataclass(frozen=True)
class _Source:
    """The text that is read, to turn PyYAML's positions into marks.

    Attributes:
        where: what errors call it.
        lines: its lines, without their ends.
        inline: the text stands in an argument: places are `where` alone, collections need brackets.
    """

    where: str
    lines: tuple[str, ...]
    inline: bool = False

    def mark(self, line: int, column: int, length: int = 1) -> Mark:
        """Return the mark at `line` and `column`, both counted from 0."""
        if self.inline:
            return Mark(self.where, None, None, None, 1)
        return Mark(f"{self.where}:{line + 1}:{column + 1}", self.lines[line], line + 1, column + 1, max(1, length))

    def at(self, start: Any, end: Any = None) -> Mark:
        """Return the mark from one position of PyYAML to another, at most to the end of the first line."""
        if end is None:
            return self.mark(start.line, start.column)
        stop = end.column if end.line == start.line else len(self.lines[start.line].rstrip())
        return self.mark(start.line, start.column, stop - start.column)


@dataclass
class _Open:
    """A collection whose end has not been read yet."""

    start: Any
    is_flow: bool
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    at_key: bool = True
    key: tuple[str, Mark] | None = None


@dataclass
class _Builder:
    """Builds nodes from events and collects faults."""

    source: _Source
    text: str
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    root: Node | None = None
    n_nodes: int = 0
    n_documents: int = 0

    def feed(self, event: Any) -> None:
        """Take the next event."""
        match event:
            case yaml.DocumentStartEvent():
                self._document(event)
            case yaml.AliasEvent():
                self._count(event)
                place = self.source.at(event.start_mark, event.end_mark)
                self.add(place.problem(f"aliases are refused: *{printable(event.anchor or '', 40)}", _SHARE_HINT))
                self._key_or_value(ScalarNode(place, None), is_key=False)
            case yaml.ScalarEvent():
                self._count(event)
                self._scalar(event)
            case yaml.CollectionStartEvent():
                self._count(event)
                self._open(event)
            case yaml.CollectionEndEvent():
                self._close(event)

    def add(self, problem: Problem) -> None:
        """Note a fault and go on, unless there are very many.

        Raises:
            SpecError: `MAX_PROBLEMS` faults have been found.
        """
        self.problems.append(problem)
        if len(self.problems) >= MAX_PROBLEMS:
            self.stop(Problem(self.source.where, f"more than {MAX_PROBLEMS} faults; the rest was not read"))

    def stop(self, *last: Problem) -> NoReturn:
        """Raise what was found, in the order of its places, and `last`."""
        raise SpecError([*sorted(self.problems, key=lambda p: (p.line_number or 0, p.column or 0)), *last])

    def _document(self, event: Any) -> None:
        self.n_documents += 1
        place = self.source.at(event.start_mark, event.end_mark)
        if self.n_documents > 1:
            self.stop(place.problem("a second document starts here; a file holds one", "remove the '---'"))
        if event.tags:
            self.add(place.problem("%TAG is refused: there are no tags here", _TAG_HINT))
        if event.version not in (None, (1, 2)):
            self.add(place.problem("this file is read as YAML 1.2, not as its %YAML line says", "remove that line"))

    def _count(self, event: Any) -> None:
        self.n_nodes += 1
        if self.n_nodes > MAX_NODES:
            self.stop(self.source.at(event.start_mark).problem(f"more than {MAX_NODES:,} values in one file"))
        if isinstance(event, yaml.AliasEvent):
            return
        # The event carries one position for both, that of the first; either may come first.
        index = event.start_mark.index
        for _ in range((event.anchor is not None) + (getattr(event, "tag", None) is not None)):
            found = _PROPERTY.search(self.text, index)
            if found is None:
                break
            index = found.end()
            self._property(event, found)

    def _property(self, event: Any, found: re.Match[str]) -> None:
        start = event.start_mark
        before = self.text[start.index : found.start()]
        breaks = list(_LINE_BREAK.finditer(before))
        column = len(before) - breaks[-1].end() if breaks else start.column + len(before)
        place = self.source.mark(start.line + len(breaks), column, len(found.group()))
        shown = printable(found.group(), 40)
        if shown.startswith("&"):
            self.add(place.problem(f"anchors are refused: {shown}", _SHARE_HINT))
        else:
            self.add(place.problem(f"tags are refused: {shown}", _TAG_HINT))

    def _scalar(self, event: Any) -> None:
        text: str = event.value
        place = self.source.at(event.start_mark, event.end_mark)
        value: Scalar = text
        if len(text) > MAX_SCALAR_CHARACTERS:
            message = f"a text of {len(text):,} characters; at most {MAX_SCALAR_CHARACTERS:,} are read"
            self.add(place.problem(message))
            value = None
        elif _SURROGATE.search(text):
            hint = "write the character itself, or its eight digits after \\U"
            self.add(place.problem("a \\u escape that is half a character (a surrogate)", hint))
        elif event.style is None:
            try:
                value = resolve_scalar(text)
            except ValueError as error:
                self.add(place.problem(str(error)))
        is_merge = text == "<<" and event.style is None
        self._key_or_value(ScalarNode(place, value), is_key=True, written=text, is_merge=is_merge)

    def _open(self, event: Any) -> None:
        start = event.start_mark
        if len(self.stack) >= MAX_DEPTH:
            self.stop(self.source.at(start).problem(f"nested more than {MAX_DEPTH} levels deep"))
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if self.source.inline and not event.flow_style:
            hint = "for example {choose: 1, from: [3, 5]}; a text that holds ': ' needs quotes"
            self.add(self.source.at(start).problem("a mapping or a list needs brackets here", hint))
        if self.stack and self.stack[-1].is_mapping and self.stack[-1].at_key:
            kind = "mapping" if is_mapping else "list"
            self.add(self.source.at(start, event.end_mark).problem(f"a key must be text, found a {kind}"))
        self.stack.append(_Open(start, bool(event.flow_style), is_mapping))

    def _close(self, event: Any) -> None:
        done = self.stack.pop()
        # A block ends where the next thing starts, often lines below: mark its first key or its dash only.
        place = self.source.at(done.start)
        if done.is_flow and event.end_mark.line == done.start.line:
            place = self.source.at(done.start, event.end_mark)
        elif done.entries and not done.is_flow:
            place = next(iter(done.entries.values())).key_mark
        node: Node = MappingNode(place, done.entries) if done.is_mapping else SequenceNode(place, tuple(done.items))
        self._key_or_value(node, is_key=False)

    def _key_or_value(self, node: Node, *, is_key: bool, written: str = "", is_merge: bool = False) -> None:
        """Put a finished node where it belongs; as a key only if it may be one (`is_key`), with its text `written`."""
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if not parent.is_mapping:
            parent.items.append(node)
        elif parent.at_key:
            parent.key = self._key(parent, node, written, is_merge) if is_key else None
            parent.at_key = False
        else:
            if parent.key is not None:
                parent.entries[parent.key[0]] = Entry(parent.key[1], node)
            parent.at_key = True

    def _key(self, parent: _Open, node: Node, written: str, is_merge: bool) -> tuple[str, Mark] | None:
        """Return the key, or None where it is refused; the value of a refused key is read and dropped."""
        place = node.mark
        value = node.value if isinstance(node, ScalarNode) else None
        shown = printable(written, 40)
        if is_merge:
            self.add(place.problem("merge keys are refused: <<", "write the keys out"))
        elif not isinstance(value, str):
            name = {bool: "a truth value", int: "a number", float: "a number"}.get(type(value), "null")
            found = f"'{shown}', which is {name}" if written else "nothing"
            if len(written) <= MAX_SCALAR_CHARACTERS:
                hint = "a key that looks like a number, true, false or null needs quotes" if written else ""
                self.add(place.problem(f"a key must be text, found {found}", hint))
        elif value in parent.entries:
            first = parent.entries[value].key_mark.line_number
            hint = f"it stands in line {first} already; keep one" if first else "keep one"
            self.add(place.problem(f"duplicate key '{shown}'", hint))
        else:
            return value, place
        return None


def _build(text: str, source: _Source) -> Node:
    builder = _Builder(source, text)
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


def _next_event(loader: Any, builder: _Builder) -> Any:
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
        before = _LINE_BREAK.split(data[: error.start].decode("utf-8").removeprefix("\ufeff"))
        lines = _LINE_BREAK.split(data.decode("utf-8", "replace").removeprefix("\ufeff"))
        place = _Source(where, tuple(lines)).mark(len(before) - 1, len(before[-1]))
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
