"""Broken files, made of every shipped space: each fault is reported at the line that was changed.

A mutation changes the text at a place that the reader itself marked, so it knows its line. What a profile holds is
loaded with that profile, everything else with the default one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from nasforge.errors import SpecError
from nasforge.plugins import build_plugins
from nasforge.spec.nodes import MappingNode, Mark, Node, ScalarNode, SequenceNode, plain
from nasforge.spec.run_spec import load_space_spec
from nasforge.spec.schema import json_schema
from nasforge.spec.yaml_builder import MAX_PROBLEMS
from nasforge.spec.yaml_reader import read_yaml_text

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "spaces").glob("*.yaml"))
PLUGINS = build_plugins()
REQUIRED = {
    "nasforge",
    "name",
    "space",
    "space.kind",
    "space.nodes",
    "space.each",
    "space.each.op",
    "task.kind",
}
REQUIRED |= {"space.each.op.from"}
SAMPLE = 45
"""How many mutations of one kind are tried on one space."""


@dataclass(frozen=True)
class Mutation:
    """A broken file.

    Attributes:
        what: what was done where.
        text: of the file.
        lines: where a fault must be reported, counted from 1.
        also: other lines at which a consequence may be reported.
        profile: that the changed value belongs to.
        opens: the line of an open bracket, which a hint must name; the fault itself shows below it.
    """

    what: str
    text: str
    lines: tuple[int, ...]
    also: frozenset[int] = frozenset()
    profile: str | None = None
    opens: int | None = None


@dataclass(frozen=True)
class Place:
    """A value of the file: its path, its node, the mark of its key, and the lines of the keys above it."""

    path: tuple[str | int, ...]
    node: Node
    key: Mark | None
    above: tuple[int, ...]

    @property
    def profile(self) -> str | None:
        return str(self.path[1]) if self.path[0] == "profiles" and len(self.path) > 1 else None

    @property
    def dotted(self) -> str:
        return ".".join(map(str, self.path))


@dataclass(frozen=True)
class File:
    """A shipped space and every place in it."""

    path: Path
    text: str
    root: Node
    places: tuple[Place, ...] = field(repr=False)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def marked_keys(self) -> list[tuple[Place, Mark]]:
        return [(place, place.key) for place in self.places if place.key is not None]

    def scalars(self) -> list[tuple[Place, ScalarNode]]:
        return [(place, place.node) for place in self.places if isinstance(place.node, ScalarNode)]

    def put(self, mark: Mark, new: str, length: int | None = None) -> str:
        """The text with what `mark` underlines replaced; `length` 0 inserts before it."""
        lines = self.lines
        assert mark.line_number is not None and mark.column is not None
        line, start = lines[mark.line_number - 1], mark.column - 1
        lines[mark.line_number - 1] = line[:start] + new + line[start + (mark.length if length is None else length) :]
        return "\n".join(lines) + "\n"

    def insert(self, number: int, line: str) -> str:
        """The text with a new line before line `number`."""
        lines = self.lines
        return "\n".join([*lines[: number - 1], line, *lines[number - 1 :]]) + "\n"


def walk(node: Node, path: tuple[str | int, ...] = (), above: tuple[int, ...] = ()) -> Iterator[Place]:
    if isinstance(node, MappingNode):
        for key, entry in node.entries.items():
            yield Place((*path, key), entry.node, entry.key_mark, above)
            yield from walk(entry.node, (*path, key), (*above, number(entry.key_mark)))
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.items):
            yield Place((*path, index), item, None, above)
            yield from walk(item, (*path, index), above)


def number(mark: Mark) -> int:
    assert mark.line_number is not None
    return mark.line_number


def in_braces(node: Node) -> bool:
    mark = node.mark
    return isinstance(node, MappingNode) and mark.line is not None and mark.line[(mark.column or 1) - 1] == "{"


@cache
def opened(path: Path) -> File:
    text = path.read_text(encoding="utf-8")
    root = read_yaml_text(text, path.name)
    return File(path, text, root, tuple(walk(root)))


@cache
def usable() -> tuple[Path, ...]:
    """The spaces that load as they are; one may name a plugin that is not installed here."""
    found = []
    for path in FILES:
        try:
            load_space_spec(path, PLUGINS)
        except SpecError as error:
            assert "which is not installed" in str(error)
        else:
            found.append(path)
    return tuple(found)


# What is done to a file


def is_free(place: Place) -> bool:
    """Whether any text will do: names and options of choices without a network, and names of a table's arrays."""
    texts = {("task", key) for key in ("file", "architectures", "scores", "metric")}
    return (place.path[:2] == ("space", "decisions") and len(place.path) > 2) or place.path in texts


def misspelt_keys(file: File) -> Iterator[Mutation]:
    for place, key in file.marked_keys():
        if len(place.path) == 2 and place.path[0] == "profiles":
            continue  # the name of a profile is free
        if is_free(place) and place.path[0] == "space":
            continue
        name = str(place.path[-1])
        line = number(key)
        # Without its kind a section is no section: that is said at the section.
        lines = place.above[-1:] if place.dotted in ("space.kind", "task.kind") else (line,)
        # Without a section others may not fit one another.
        is_section = len(place.path) == (3 if place.profile else 1)
        yield Mutation(
            f"{place.dotted} is written {name}x",
            file.put(key, f"{name}x"),
            tuple(lines),
            also=frozenset(range(len(file.lines) + 1)) if is_section else frozenset(place.above),
            profile=place.profile,
        )


def unknown_keys(file: File) -> Iterator[Mutation]:
    for place in file.places:
        if not isinstance(place.node, MappingNode) or place.path == ("profiles",):
            continue
        mark = place.node.mark
        assert mark.line is not None and mark.column is not None
        if in_braces(place.node):
            text = file.put(Mark("", "", mark.line_number, mark.column + 1, 0), "bogus: 1, ")
        elif mark.line[: mark.column - 1].strip():
            continue  # an operation with parameters in a list: a pair without braces
        else:
            text = file.insert(number(mark), " " * (mark.column - 1) + "bogus: 1")
        yield Mutation(f"bogus in {place.dotted}", text, (number(mark),), profile=place.profile)


def wrong_types(file: File) -> Iterator[Mutation]:
    for place, node in file.scalars():
        others = ["[1, 2]", "{bogus: 1}", "'text'" if not isinstance(node.value, str) else "3.5"]
        others += ["'text'"] if node.value is None else []
        if is_free(place) and place.path[0] == "space":
            others.remove("3.5")  # a number is an option, too
        for other in dict.fromkeys(others):
            yield Mutation(
                f"{place.dotted} is {other}",
                file.put(node.mark, other),
                (number(node.mark),),
                also=frozenset(place.above),
                profile=place.profile,
            )


def out_of_range(file: File) -> Iterator[Mutation]:
    for place, node in file.scalars():
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            continue
        for other in ("-1", "-0.5", ".inf", ".nan"):
            yield Mutation(
                f"{place.dotted} is {other}", file.put(node.mark, other), (number(node.mark),), profile=place.profile
            )


def unknown_names(file: File) -> Iterator[Mutation]:
    for place, node in file.scalars():
        if isinstance(node.value, str) and place.path != ("name",) and not is_free(place):
            yield Mutation(
                f"{place.dotted} is {node.value}x",
                file.put(node.mark, f"{node.value}x"),
                (number(node.mark),),
                profile=place.profile,
            )


def duplicate_keys(file: File) -> Iterator[Mutation]:
    for place, key in file.marked_keys():
        assert key.line is not None and key.column is not None
        name = str(place.path[-1])
        if key.line[: key.column - 1].strip():
            yield Mutation(f"{place.dotted} twice", file.put(key, f"{name}: 0, {name}"), (number(key),))
        else:
            text = file.insert(number(key), f"{' ' * (key.column - 1)}{name}: 0")
            yield Mutation(f"{place.dotted} twice", text, (number(key) + 1,))


def properties(file: File) -> Iterator[Mutation]:
    """Tags, anchors and aliases."""
    for place, node in file.scalars():
        for before in ("!!str ", "!x ", "&a "):
            yield Mutation(f"{before} before {place.dotted}", file.put(node.mark, before, 0), (number(node.mark),))
        yield Mutation(f"{place.dotted} is an alias", file.put(node.mark, "*a"), (number(node.mark),))


def merge_keys(file: File) -> Iterator[Mutation]:
    for place, key in file.marked_keys():
        yield Mutation(f"<< for {place.dotted}", file.put(key, "<<"), (number(key),), also=frozenset(place.above))


def starts_its_line(file: File) -> Iterator[tuple[Place, Mark, bool]]:
    """Block keys, and whether they are the first of their mapping."""
    seen: set[tuple[str | int, ...]] = set()
    flow = [place.path for place in file.places if in_braces(place.node)]
    for place, key in file.marked_keys():
        assert key.line is not None and key.column is not None
        is_first = place.path[:-1] not in seen
        seen.add(place.path[:-1])
        if not key.line[: key.column - 1].strip() and place.path[:-1] not in flow:
            yield place, key, is_first


def tabs(file: File) -> Iterator[Mutation]:
    for place, key, _ in starts_its_line(file):
        if len(place.path) > 1:
            lines = file.lines
            lines[number(key) - 1] = "\t" + lines[number(key) - 1].lstrip()
            yield Mutation(f"a tab before {place.dotted}", "\n".join(lines) + "\n", (number(key),))


def broken_indentation(file: File) -> Iterator[Mutation]:
    for place, key, is_first in starts_its_line(file):
        if is_first:
            continue
        yield Mutation(f"{place.dotted} is one to the right", file.put(key, " ", 0), (number(key),))
        if len(place.path) > 1:
            lines = file.lines
            lines[number(key) - 1] = lines[number(key) - 1][1:]
            yield Mutation(f"{place.dotted} is one to the left", "\n".join(lines) + "\n", (number(key),))


def unclosed_brackets(file: File) -> Iterator[Mutation]:
    open_lines: list[int] = []
    for index, line in enumerate(file.lines):
        code = re.sub(r"(^|\s)#.*", "", line)
        for at, character in enumerate(code):
            if character in "[{":
                open_lines.append(index + 1)
            elif character in "]}":
                lines = file.lines
                lines[index] = line[:at] + line[at + 1 :]
                text = "\n".join(lines) + "\n"
                yield Mutation(f"no {character} at {index + 1}:{at + 1}", text, (), opens=open_lines.pop())


def deep_nesting(file: File) -> Iterator[Mutation]:
    for place, node in file.scalars():
        for opening, closing in (("[", "]"), ("{a: ", "}")):
            text = file.put(node.mark, opening * 100 + closing * 100)
            yield Mutation(f"{place.dotted} is deep in {opening}", text, (number(node.mark),))


def missing_keys(file: File) -> Iterator[Mutation]:
    for place, key in file.marked_keys():
        if place.dotted not in REQUIRED:
            continue
        assert key.line is not None and key.column is not None
        below = [each for each in file.places if each.path[: len(place.path)] == place.path]
        marks = [key, *(each.node.mark for each in below if isinstance(each.node, ScalarNode))]
        first, last = number(key), max(map(number, marks))
        lines = file.lines
        if key.line[: key.column - 1].strip():
            # Within braces, on one line: everything from the key to the next comma or brace outside brackets.
            rest = key.line[key.column - 1 :]
            found = re.match(r"[^,\[\]{}]*(\[.*\])?[^,\[\]{}]*,?\s*", rest)
            assert found is not None
            lines[first - 1] = key.line[: key.column - 1] + rest[found.end() :]
        else:
            while last < len(lines) and lines[last].startswith(" " * key.column):
                last += 1
            del lines[first - 1 : last]
        # The section's own key stands above; at the top it is the first key of the file.
        others = [number(mark) for each, mark in file.marked_keys() if len(each.path) == 1 and each.path != place.path]
        where = place.above[-1] if place.above else min(others) - (last - first + 1 if min(others) > first else 0)
        yield Mutation(f"no {place.dotted}", "\n".join(lines) + "\n", (where,))


def two_faults(file: File) -> Iterator[Mutation]:
    """Two lines of one profile or of none, each with a fault of its own."""
    single = [m for make in (misspelt_keys, wrong_types, unknown_names, out_of_range) for m in make(file)]
    # A misspelt section or kind hides what is in it.
    single = [
        m
        for m in single
        if len(m.lines) == 1 and not re.match(r"\S*(kind|corpus)\b|(profiles\.\w+\.)?\w+ is written", m.what)
    ]
    rng, original = random.Random(1), file.lines
    wanted = 60
    while wanted:
        one, other = rng.sample(single, 2)
        changed = [
            [i for i, (a, b) in enumerate(zip(original, m.text.splitlines(), strict=True)) if a != b]
            for m in (one, other)
        ]
        if (
            one.profile != other.profile
            or changed[0] == changed[1]
            or one.also & {*other.lines}
            or other.also & {*one.lines}
        ):
            continue
        if one.what.split()[0].startswith(other.what.split()[0]) or other.what.split()[0].startswith(
            one.what.split()[0]
        ):
            continue
        lines = one.text.splitlines()
        lines[changed[1][0]] = other.text.splitlines()[changed[1][0]]
        wanted -= 1
        yield Mutation(
            f"{one.what}; {other.what}",
            "\n".join(lines) + "\n",
            (*one.lines, *other.lines),
            one.also | other.also,
            one.profile,
        )


def other_faults(file: File) -> Iterator[Mutation]:
    last = len(file.lines)
    yield Mutation("a second document", file.text + "---\na: 1\n", (last + 1,))
    yield Mutation("no mapping", file.text + "- 1\n", (last + 1,))
    yield Mutation("a control character", file.insert(3, "# \x1b"), (3,))
    yield Mutation("a list for a key", file.text + "[a]: 1\n", (last + 1,))
    yield Mutation("a number for a key", file.text + "3: 1\n", (last + 1,))
    yield Mutation("too long a number", file.text + f"seed2: {'9' * 200}\n", (last + 1,))
    yield Mutation("a quote without end", file.text + "other: 'a\n", (), opens=last + 1)
    yield Mutation("objectives are no list", file.text + "objectives: 1\n", (last + 1,))
    yield Mutation("an objective without a direction", file.text + "objectives: [parameters]\n", (last + 1,))
    yield Mutation("latency that no one asks for", file.text + "latency: {batch: 2}\n", (last + 1,))
    yield Mutation("limits are no mapping", file.text + "limits: 1\n", (last + 1,))
    yield Mutation("a limit is no number", file.text + "limits: {depth: 5x}\n", (last + 1,))
    yield Mutation("a limit on what is not chosen", file.text + "limits: {count: {nothing: 1}}\n", (last + 1,))
    (seed, *_) = [node.mark for place, node in file.scalars() if place.dotted == "nasforge"]
    yield Mutation("another format", file.put(seed, "2"), (number(seed),))
    yield Mutation("a truth for a number", file.put(seed, "true"), (number(seed),))


STRUCTURAL = (misspelt_keys, unknown_keys, wrong_types, unknown_names, missing_keys)
MAKERS: tuple[Callable[[File], Iterator[Mutation]], ...] = (
    *STRUCTURAL,
    out_of_range,
    duplicate_keys,
    properties,
    merge_keys,
    tabs,
    broken_indentation,
    unclosed_brackets,
    deep_nesting,
    two_faults,
    other_faults,
)


@cache
def mutations(path: Path, make: Callable[[File], Iterator[Mutation]]) -> tuple[Mutation, ...]:
    """Those of one kind that are tried, each another text."""
    made = list({mutation.text: mutation for mutation in make(opened(path))}.values())
    return tuple(random.Random(0).sample(made, min(SAMPLE, len(made))))


def complaint(mutation: Mutation, path: Path) -> str:
    """What is wrong with how the mutation is reported; empty if nothing is."""
    path.write_text(mutation.text, encoding="utf-8")
    try:
        load_space_spec(path, PLUGINS, profile=mutation.profile)
    except SpecError as error:
        problems = error.problems
        found = [problem.line_number for problem in problems]
        faults = [f"it must be reported at line {line}" for line in mutation.lines if line not in found]
        if error.exit_code != 2 or len(problems) > MAX_PROBLEMS:
            faults.append("it must end with 2 and at most 100 problems")
        if not all(problem.message.strip() and str(problem).startswith(f"{path}:") for problem in problems):
            faults.append("every problem must say something, of this file")
        allowed = {*mutation.lines, *mutation.also}
        if mutation.opens is not None:
            first = problems[0]
            if mutation.opens != first.line_number and f"starts at {mutation.opens}:" not in first.hint:
                faults.append(f"it must name line {mutation.opens}")
        elif not {*found} <= allowed:
            faults.append(f"no other line than {sorted(allowed)} is to blame")
        return "; ".join(faults) and f"{mutation.what}: {'; '.join(faults)}\n{error}"
    return f"{mutation.what}: it must be refused"


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_broken_file_is_reported_at_its_line(
    path: Path, make: Callable[[File], Iterator[Mutation]], tmp_path: Path
) -> None:
    if path not in usable():
        pytest.skip("it names a plugin that is not installed here")
    tried = mutations(path, make)
    assert tried
    complaints = [said for mutation in tried if (said := complaint(mutation, tmp_path / "broken.yaml"))]
    assert not complaints, f"{len(complaints)} of {len(tried)}:\n\n" + "\n\n".join(complaints[:8])


def test_there_are_hundreds_of_broken_files_of_each() -> None:
    counts = {path.stem: sum(len(mutations(path, make)) for make in MAKERS) for path in usable()}
    print(f"\nbroken files: {counts}, {sum(counts.values())} in all")
    assert counts and all(count > 250 for count in counts.values()) and sum(counts.values()) > 3000


@pytest.mark.parametrize("make", STRUCTURAL, ids=lambda make: make.__name__)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_schema_refuses_what_loading_refuses(path: Path, make: Callable[[File], Iterator[Mutation]]) -> None:
    if path not in usable():
        pytest.skip("it names a plugin that is not installed here")
    validator = jsonschema.Draft202012Validator(json_schema(PLUGINS.catalogue))
    # Which distributions are installed is no matter of form.
    tried = [
        mutation for mutation in mutations(path, make)[:25] if mutation.what != "plugins.0 is nasforge-activationsx"
    ]
    accepted = [m.what for m in tried if validator.is_valid(plain(read_yaml_text(m.text, "x")))]
    assert accepted == []


def test_a_flood_of_faults_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "flood.yaml"
    path.write_text(opened(usable()[0]).text + "".join(f"bogus{i}: 1\n" for i in range(5000)), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_space_spec(path, PLUGINS)
    *faults, last = caught.value.problems
    assert len(faults) == MAX_PROBLEMS and last.message.startswith("more than 100 faults; the other 4900")
