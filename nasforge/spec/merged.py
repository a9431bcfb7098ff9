"""One tree of a file, its profile, the overrides and the seed: what later ones say lies over what earlier ones say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nasforge.errors import Problem, SpecError
from nasforge.spec.nodes import Entry, MappingNode, Mark, Node, ScalarNode
from nasforge.spec.overrides import apply_overrides, apply_profile, parse_override
from nasforge.spec.sections import NAMED
from nasforge.spec.yaml_reader import read_yaml


@dataclass(frozen=True)
class Source:
    """What a spec is read from.

    Attributes:
        source: a YAML file, or the tree of one.
        profile: a profile of the file; None for ``quick`` if the file has it.
        overrides: ``path.to.key=value`` each; they win over the profile, a later one over an earlier one.
        seed: wins over everything; None for what the file says.
    """

    source: Node | Path
    profile: str | None
    overrides: Sequence[str]
    seed: int | None


@dataclass(frozen=True)
class Merged:
    """What a source says.

    Attributes:
        root: the tree with profile and overrides laid on top.
        written: the tree of the file, with all its profiles.
        profile: the name of the profile that was applied; None for none.
        problems: the faults of profile and overrides.
    """

    root: Node
    written: Node
    profile: str | None
    problems: tuple[Problem, ...]


def merged(given: Source) -> Merged:
    """Lay profile, overrides and seed over the file.

    Raises:
        UsageError: no such file or profile, or an override that is not of that form.
        SpecError: the file is no YAML, or holds no mapping.
    """
    problems: list[Problem] = []
    root = read_yaml(given.source) if isinstance(given.source, Path) else given.source
    layers: list[Node] = []
    for text in given.overrides:
        try:
            layers.append(_spelled_out(parse_override(text)))
        except SpecError as error:
            problems += error.problems
    if given.seed is not None:
        mark = Mark(f"--seed {given.seed}", None, None, None, 1)
        layers.append(MappingNode(mark, {"seed": Entry(mark, ScalarNode(mark, given.seed))}))
    written = root = _spelled_out(root)
    applied: str | None = None
    try:
        root, applied = apply_profile(root, given.profile)
    except SpecError as error:
        if not isinstance(root, MappingNode):
            raise
        problems += error.problems
        root = MappingNode(root.mark, {key: entry for key, entry in root.entries.items() if key != "profiles"})
    return Merged(apply_overrides(root, layers), written, applied, tuple(problems))


def _spelled_out(root: Node) -> Node:
    """Return the tree with bare names of sections, also in profiles, written as ``{kind: name}``.

    Before anything is merged: options in a profile then join the section that the file names, instead of replacing it.
    """
    if not isinstance(root, MappingNode):
        return root
    entries = dict(root.entries)
    for key in NAMED:
        entry = entries.get(key)
        if entry and isinstance(entry.node, ScalarNode) and isinstance(entry.node.value, str):
            mark = entry.node.mark
            entries[key] = Entry(entry.key_mark, MappingNode(mark, {"kind": Entry(mark, entry.node)}))
    profiles = entries.get("profiles")
    if profiles and isinstance(profiles.node, MappingNode):
        inner = {name: Entry(p.key_mark, _spelled_out(p.node)) for name, p in profiles.node.entries.items()}
        entries["profiles"] = Entry(profiles.key_mark, MappingNode(profiles.node.mark, inner))
    return MappingNode(root.mark, entries)
