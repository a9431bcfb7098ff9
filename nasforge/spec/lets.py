"""Named choices: ``let: {k: {choose: 1, from: [3, 5]}}`` in the ``space`` block, and ``{use: k}`` where it is taken.

All places that use a name share one decision; a form that stands at a place itself is a decision of that place. A form
under ``let`` may use the names above it. Names are put in before the block is validated, as trees, so that a fault of
a form is shown at the line under ``let``. The form then carries its name under ``use``, which no user writes beside
``choose``.

A place whose name is at fault stays as it was written and is listed as `PutIn.faulty`, so that the rest of the block
can be validated. Names that use names can make much of little: what they make is bounded as a file is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from nasforge.errors import Problem, suggest
from nasforge.spec.expectation import keys_of, searched_numbers, shown
from nasforge.spec.nodes import Entry, MappingNode, Mark, Node, ScalarNode, SequenceNode, plain, printable
from nasforge.spec.yaml_builder import MAX_DEPTH, MAX_NODES

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""The form of a name under ``let``."""

_FORM = "a choice of several options: {choose: 1, from: [...]}"
_MEANT = re.compile(rf"use(?::\s*|\s+)({NAME.pattern})")
_PLACE = re.compile(r"(?:node|layer)[0-9]+")
_DEPTH_OF_BLOCK = 2
_DEPTH_OF_FORMS = 4


@dataclass(frozen=True)
class PutIn:
    """A ``space`` block without ``let`` and ``use``.

    Attributes:
        block: the tree with the forms in place of their names.
        let: plain data of ``let``, without what the block does not take.
        problems: every fault of names.
        faulty: nodes of the block that these explain; what is wrong at or below them is no fault of its own.
        otherwise: faults that another fault of the file explains, if there is one.
        marks: where each name stands under ``let``.
    """

    block: Node
    let: Mapping[str, object]
    problems: tuple[Problem, ...] = ()
    faulty: tuple[Node, ...] = ()
    otherwise: tuple[Problem, ...] = ()
    marks: Mapping[str, Mark] = field(default_factory=dict)


@dataclass(frozen=True)
class _Form:
    """A form with the names above it put in, and what that made: values, levels, names that it takes."""

    node: Node
    n_nodes: int
    height: int
    uses: frozenset[str]


@dataclass
class _Names:
    """The names of one block, what is wrong, and the measure of the tree that is being made.

    Attributes:
        listed: everything under ``let``, as written.
        explained: another fault explains why names are not known.
        forms: those that can be taken so far.
        bad: names that have no form, which was reported.
        current: the name whose form is being made; empty for the block.
    """

    listed: Mapping[str, Entry]
    explained: bool
    forms: dict[str, _Form] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    meant: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    otherwise: list[Problem] = field(default_factory=list)
    faulty: list[Node] = field(default_factory=list)
    is_full: bool = False
    current: str = ""
    n_nodes: int = 0
    deepest: int = 0
    uses: set[str] = field(default_factory=set)

    def measured(self, node: Node, depth: int, name: str = "") -> _Form:
        """Put names into `node`, which stands in `depth` collections, as the form `name` or as the block."""
        self.current, self.n_nodes, self.deepest, self.uses = name, 0, depth, set()
        made = _inside(node, self, depth)
        return _Form(made, self.n_nodes, self.deepest - depth, frozenset(self.uses))

    def count(self, n_nodes: int, depth: int) -> None:
        """Take note of values that end in `depth` collections."""
        self.n_nodes += n_nodes
        self.deepest = max(self.deepest, depth)


def with_names_put_in(space: Node) -> tuple[Node, Mapping[str, object], list[Problem]]:
    """A ``space`` block without ``let`` and ``use``, the plain data of ``let``, and every fault of either.

    Where there are faults, the block is not fit to be validated.
    """
    made = put_in(space)
    return made.block, made.let, [*made.problems, *made.otherwise]


def put_in(space: Node, *, written: Iterable[Node] = (), explained: bool = False) -> PutIn:
    """Put the named choices of a ``space`` block in.

    Args:
        space: the block, merged.
        written: further trees whose names count as used: the file before a profile and overrides were laid over it.
        explained: whether a fault outside the block explains why names are not known.
    """
    if not isinstance(space, MappingNode):
        return PutIn(space, {})
    let = space.entries.get("let")
    block = MappingNode(space.mark, {key: entry for key, entry in space.entries.items() if key != "let"})
    if let is None:
        # ``lets``: the unknown key is reported where the block is validated.
        names = _Names({}, explained or any(suggest(key, ["let"]) for key in block.entries))
    elif isinstance(let.node, MappingNode):
        names = _Names(let.node.entries, explained)
    else:
        is_empty = isinstance(let.node, ScalarNode) and let.node.value is None
        names = _Names({}, explained or not is_empty)
        if not is_empty:
            message = f"`let` must be a mapping from names to choices, found {shown(plain(let.node))}"
            names.problems.append(let.node.mark.problem(message, "for example {k: {choose: 1, from: [3, 5]}}"))
    for name, entry in names.listed.items():
        _name_form(name, entry, names)
    made = names.measured(block, _DEPTH_OF_BLOCK)
    taken = _reached(made.uses, names.forms)
    mentioned = {*names.meant, *(name for tree in (space, *written) for name in _mentioned(tree))}
    for name, entry in names.listed.items():
        if name not in taken and name not in mentioned:
            hint = f"take it with {{use: {printable(name, 60)}}} where its choice is meant, or leave it out"
            message = f"'{printable(name, 60)}' is named by `let`, but nothing uses it"
            names.problems.append(entry.key_mark.problem(message, hint))
    return PutIn(
        block=made.node,
        let={name: plain(entry.node) for name, entry in names.listed.items() if name in taken},
        problems=tuple(names.problems),
        faulty=tuple(names.faulty),
        otherwise=tuple(names.otherwise),
        marks={name: entry.key_mark for name, entry in names.listed.items()},
    )


def reserved(names: PutIn, model: type[BaseModel]) -> list[Problem]:
    """The names that are names of the space itself, whose own decisions are called so: keys, nodes and layers.

    Args:
        names: the block of the space.
        model: what the kind of the space reads it with.
    """
    keys = set(keys_of(model)) | set(searched_numbers(model))
    hint = "decisions of the space itself are called so; take another name"
    return [
        mark.problem(f"a name under `let` is no key of the space, no node and no layer, found {shown(name)}", hint)
        for name, mark in names.marks.items()
        if name in keys or _PLACE.fullmatch(name)
    ]


def _name_form(name: str, entry: Entry, names: _Names) -> None:
    """Enter a form; it may use those above it."""
    node = entry.node
    if not NAME.fullmatch(name):
        message = f"a name under `let` is a letter followed by letters, digits and _, found {shown(name)}"
        names.problems.append(entry.key_mark.problem(message))
        names.bad.add(name)
    elif not isinstance(node, MappingNode) or set(node.entries) != {"choose", "from"} or not _is_list(node):
        hint = "inputs and skips cannot be shared by a name"
        names.problems.append(node.mark.problem(f"`{name}` must be {_FORM}", hint))
        names.bad.add(name)
    else:
        names.forms[name] = names.measured(node, _DEPTH_OF_FORMS, name)


def _is_list(form: MappingNode) -> bool:
    return isinstance(form.entries["from"].node, SequenceNode)


def _reached(uses: Iterable[str], forms: Mapping[str, _Form]) -> set[str]:
    """The names that are taken, also by way of others."""
    found: set[str] = set()
    waiting = list(uses)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += forms[name].uses
    return found


def _mentioned(tree: Node) -> Iterator[str]:
    """The names that a tree uses, also those whose ``use`` is misspelt."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if (meant := _misspelt(node)) is not None:
            yield meant
        if isinstance(node, SequenceNode):
            waiting += node.items
        elif isinstance(node, MappingNode):
            waiting += (entry.node for entry in node.entries.values())
            if "use" in node.entries and isinstance(name := plain(node.entries["use"].node), str):
                yield name


def _misspelt(node: Node) -> str | None:
    """The name in ``use n``, ``{use n}`` or ``{uses: n}``."""
    if isinstance(node, ScalarNode):
        found = _MEANT.fullmatch(node.value) if isinstance(node.value, str) else None
        return found[1] if found else None
    if not isinstance(node, MappingNode) or len(node.entries) != 1:
        return None
    ((key, entry),) = node.entries.items()
    value = entry.node.value if isinstance(entry.node, ScalarNode) else None
    if value is None and (found := _MEANT.fullmatch(key)):
        return found[1]
    return value if key != "use" and isinstance(value, str) and suggest(key, ["use"]) else None


def _put_in(node: Node, names: _Names, depth: int) -> Node:
    """What stands at a place with `depth` collections around it."""
    use = node.entries.get("use") if isinstance(node, MappingNode) else None
    if isinstance(node, MappingNode) and use is not None:
        names.count(3, depth + 1)
        return _taken(node, use, names, depth)
    meant = _misspelt(node)
    if meant is None or (isinstance(node, MappingNode) and meant not in names.listed):
        return _inside(node, names, depth)
    if isinstance(node, MappingNode) and not _MEANT.fullmatch(key := next(iter(node.entries))):
        message = f"unknown key '{printable(key, 60)}'. Did you mean 'use'?"
        problem = node.entries[key].key_mark.problem(message, f"{{use: {meant}}} takes the choice under `let`")
    else:
        problem = node.mark.problem(f"a name under `let` is taken by a mapping: write {{use: {printable(meant, 60)}}}")
    return _at_fault(node, names, problem)


def _inside(node: Node, names: _Names, depth: int) -> Node:
    """A node with the names below it put in."""
    if isinstance(node, ScalarNode):
        names.count(1, depth)
        return node
    names.count(1, depth + 1)
    if isinstance(node, SequenceNode):
        return SequenceNode(node.mark, tuple(_item(item, names, depth + 1) for item in node.items))
    names.count(len(node.entries), depth + 1)
    inner = {key: Entry(entry.key_mark, _put_in(entry.node, names, depth + 1)) for key, entry in node.entries.items()}
    return MappingNode(node.mark, inner)


def _item(node: Node, names: _Names, depth: int) -> Node:
    """An item of a list, which is no place for a form."""
    use = node.entries.get("use") if isinstance(node, MappingNode) and len(node.entries) == 1 else None
    if use is not None and isinstance(use.node, ScalarNode) and isinstance(use.node.value, str):
        message = f"a name stands for a whole choice, not for one option of a list, found {shown(plain(node))}"
        return _at_fault(node, names, node.mark.problem(message))
    return _inside(node, names, depth)


def _at_fault(node: Node, names: _Names, *problems: Problem) -> Node:
    names.problems += problems
    names.faulty.append(node)
    return node


def _taken(node: MappingNode, use: Entry, names: _Names, depth: int) -> Node:
    name = use.node.value if isinstance(use.node, ScalarNode) else None
    mark = use.node.mark
    if len(node.entries) > 1:
        others = ", ".join(f"`{printable(key, 40)}`" for key in node.entries if key != "use")
        hint = "write {use: NAME} to share a choice, or {choose: 1, from: [...]} for one of this place alone"
        return _at_fault(node, names, use.key_mark.problem(f"`use` stands alone, but {others} stands beside it", hint))
    if not isinstance(name, str):
        return _at_fault(node, names, mark.problem("`use` must be a name that stands under `let`"))
    if name in names.forms:
        form = names.forms[name]
        fault = _too_much(form, names, depth)
        if fault:
            problems = [] if names.is_full else [mark.problem(*fault)]
            names.is_full = True
            return _at_fault(node, names, *problems)
        names.count(form.n_nodes, depth + form.height)
        names.uses.add(name)
        assert isinstance(form.node, MappingNode)
        return MappingNode(form.node.mark, {**form.node.entries, "use": Entry(use.key_mark, use.node)})
    if name in names.bad:
        return _at_fault(node, names)
    if name in names.listed:
        hint = "a choice under `let` uses only names above it"
        message = f"`{name}` must stand above `{names.current}`, which uses it"
        if name == names.current:
            message = f"`{name}` cannot use itself"
        return _at_fault(node, names, mark.problem(message, hint))
    return _unknown(node, name, mark, names)


def _unknown(node: MappingNode, name: str, mark: Mark, names: _Names) -> Node:
    known = [each for each in names.listed if each != names.current]
    close = suggest(name, known)
    names.meant.update(each for each in known if f"'{each}'" in close)
    hint = f"known here: {', '.join(printable(each, 40) for each in known)}" if known else ""
    message = f"`let` names no '{printable(name, 60)}'.{close}"
    if not names.listed:
        message = f"there is no `let` in `space`, so '{printable(name, 60)}' names no choice"
        hint = "name it: let: {NAME: {choose: 1, from: [...]}}"
        if name in names.unknown:
            return _at_fault(node, names)
    names.unknown.add(name)
    if names.explained:
        names.otherwise.append(mark.problem(message, hint))
        return _at_fault(node, names)
    return _at_fault(node, names, mark.problem(message, hint))


def _too_much(form: _Form, names: _Names, depth: int) -> tuple[str, str] | None:
    """Why a form may not stand in `depth` collections here; the bounds are those of a file."""
    if names.n_nodes + form.n_nodes > MAX_NODES:
        return f"names that use names make more than {MAX_NODES:,} values here", "write fewer options, or shorter ones"
    if depth + form.height > MAX_DEPTH:
        return f"names that use names are nested more than {MAX_DEPTH} levels deep here", ""
    return None
