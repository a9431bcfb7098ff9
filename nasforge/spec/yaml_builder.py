"""Builds nodes with places from the events of PyYAML's parser, and collects what is refused on the way.

Depth, number of values and length of texts are bounded while they are read. `nasforge.spec.yaml_reader` reads files
and feeds the events.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from nasforge.errors import Problem, SpecError
from nasforge.spec.nodes import Entry, MappingNode, Mark, Node, Scalar, ScalarNode, SequenceNode, printable
from nasforge.spec.scalars import resolve_scalar

MAX_DEPTH = 64
MAX_NODES = 50_000
MAX_SCALAR_CHARACTERS = 1 << 16
MAX_PROBLEMS = 100

LINE_BREAK = re.compile(r"\r\n|\n|\r")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PROPERTY = re.compile(r"!<[^>]*>|[&!][^\s,\[\]{}]*")

_SHARE_HINT = "write the value out, or name a decision under 'let' and take it with {use: name}"
_TAG_HINT = "plain values are read as null, true, false, numbers or text; quotes make text of anything"


@dataclass(frozen=True)
class Source:
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
class Builder:
    """Builds nodes from events and collects faults."""

    source: Source
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
        breaks = list(LINE_BREAK.finditer(before))
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
