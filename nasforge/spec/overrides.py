"""Overrides (``path.to.key=value`` on the command line) and profiles (named groups of values in the file).

Both are trees laid over the file's tree by `merge`; every value keeps the place where it was written.
"""

from __future__ import annotations

from collections.abc import Sequence

from nasforge.errors import Problem, SpecError, UsageError, suggest
from nasforge.spec.nodes import Entry, MappingNode, Mark, Node, merge, printable
from nasforge.spec.yaml_builder import MAX_DEPTH
from nasforge.spec.yaml_reader import read_value

_EXAMPLE = "for example seed=3 or 'space.each.op={choose: 1, from: [tanh, relu]}'"
_NOT_IN_A_PROFILE = ("profiles", "nasforge")


def parse_override(text: str) -> Node:
    """Return the tree that ``path.to.key=value`` stands for; every place in it is ``override 'path.to.key=value'``.

    The value follows the rules of the YAML file, as it would stand after ``key:`` on one line. A list is replaced as a
    whole: there is no path to one item.

    Raises:
        UsageError: the form is wrong, or the value is empty.
        SpecError: the value is not what the YAML of nasforge allows.
    """
    path, equals, value = text.partition("=")
    shown = printable(text, 80)
    if not equals:
        raise UsageError(f"override '{shown}' has no '='; write path.to.key=value, {_EXAMPLE}")
    keys = path.split(".")
    if any(not key or key != key.strip() for key in keys):
        raise UsageError(f"override '{shown}' has an empty or padded key in its path; {_EXAMPLE}")
    if any(key.isdecimal() or "[" in key or "]" in key for key in keys):
        raise UsageError(f"override '{shown}' names an item of a list; replace the whole list, {_EXAMPLE}")
    if len(keys) > MAX_DEPTH:
        raise UsageError(f"override '{shown}' is nested more than {MAX_DEPTH} levels deep; {_EXAMPLE}")
    if keys[0] == "profiles":
        raise UsageError(f"override '{shown}' changes a profile; choose one with --profile, change the key itself")
    if not value.strip() or value.lstrip().startswith("#"):
        # YAML would read null (a '#' starts a comment): more often a shell variable that was not set.
        raise UsageError(
            f"override '{shown}' has no value; write {printable(path, 40)}=null or {printable(path, 40)}=''"
        )
    mark = Mark(f"override '{shown}'", None, None, None, 1)
    node = read_value(value, mark.where)
    for key in reversed(keys):
        node = MappingNode(mark, {key: Entry(mark, node)})
    return node


def apply_overrides(node: Node, overrides: Sequence[Node]) -> Node:
    """Return `node` with the overrides laid on top, a later one over an earlier one.

    They are merged with one another first: where ``task.kind`` and options of that new kind are given, their order
    does not matter.

    Raises:
        SpecError: `node` is not a mapping.
    """
    over: Node | None = None
    for override in overrides:
        over = override if over is None else merge(over, override)
    return _mapping(node) if over is None else merge(_mapping(node), over)


def apply_profile(node: Node, name: str | None, default: str = "quick") -> tuple[Node, str | None]:
    """Return `node` without its ``profiles`` and with one of them laid on top, and the name of that one.

    Overrides are applied afterwards: they win over a profile.

    Args:
        node: the root of the file.
        name: the profile asked for; None takes `default` if the file has it, and no profile otherwise.
        default: see `name`.

    Raises:
        UsageError: the file has no profile of that name.
        SpecError: the file, ``profiles`` or a profile is not a mapping, or a profile holds what it may not.
    """
    root = _mapping(node)
    entry = root.entries.get("profiles")
    profiles = _profiles(entry) if entry else {}
    if name is None:
        name = default if default in profiles else None
    elif name not in profiles:
        shown = f"unknown profile '{printable(name, 40)}'.{suggest(name, profiles)}"
        known = f"known here: {', '.join(printable(p, 40) for p in profiles)}" if profiles else "it has no profiles"
        raise UsageError(f"{root.mark.where}: {shown}\n{known}")
    rest = MappingNode(root.mark, {key: value for key, value in root.entries.items() if key != "profiles"})
    return (rest, None) if name is None else (merge(rest, profiles[name]), name)


def _mapping(node: Node) -> MappingNode:
    if not isinstance(node, MappingNode):
        raise SpecError([node.mark.problem("the file must be a mapping: lines of 'key: value'")])
    return node


def _profiles(entry: Entry) -> dict[str, Node]:
    """Return the profiles by name; raises SpecError with every fault in them."""
    if not isinstance(entry.node, MappingNode):
        raise SpecError([entry.key_mark.problem("'profiles' must be a mapping from a name to values")])
    problems: list[Problem] = []
    for name, profile in entry.node.entries.items():
        if not isinstance(profile.node, MappingNode):
            message = f"profile '{printable(name, 40)}' must be a mapping from keys to values"
            problems.append(profile.key_mark.problem(message, "an empty one is written {}"))
            continue
        for key in _NOT_IN_A_PROFILE:
            if key in profile.node.entries:
                message = f"a profile may not hold '{key}'; it stands at the top of the file only"
                problems.append(profile.node.entries[key].key_mark.problem(message))
    if problems:
        raise SpecError(problems)
    return {name: profile.node for name, profile in entry.node.entries.items()}
