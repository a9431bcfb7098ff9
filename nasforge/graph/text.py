"""Text listings of architectures and spaces, for terminals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from nasforge.graph.outline import Outline, OutlineNode, architecture_outline
from nasforge.graph.supergraph import Supergraph
from nasforge.space.decision import ALWAYS, Decision

_FEW = 12
_LONGEST_OPTIONS = 60


def text(supergraph: Supergraph, architecture: Mapping[str, str], template: str = "cell") -> str:
    """A table of the nodes of one template, how its output is formed, and its tree where it is one.

    Args:
        supergraph: the space's graph.
        architecture: the chosen option of every decision.
        template: the template that is listed.

    Raises:
        SpaceError: there is no such template, or the child does not call it.
    """
    outline = architecture_outline(supergraph, architecture, template)
    named = {node.id: _named(node) for node in outline.nodes}
    rows = [("node", "input", "operation")]
    for node in outline.nodes:
        if node.kind == "op":
            sources = ", ".join(named[source] for source in outline.sources(node.id))
            rows.append((node.label, sources, " + ".join(node.operations)))
    lines = _table(_in_order(rows), right=1)
    lines += [f"{node.name} = {_formula(outline, node, named)}" for node in outline.nodes if node.kind == "output"]
    tree = _tree(outline, named)
    return _page([*lines, "", *tree] if tree else lines)


def space_text(supergraph: Supergraph) -> str:
    """The number of decisions and of architectures, and a table of the decisions.

    With more than twelve decisions, those that differ only by the numbers in their names share a row.
    """
    space = supergraph.space
    decisions = "1 decision" if len(space) == 1 else f"{len(space)} decisions"
    lines = [f"{decisions}, {_count(space.size)} {'architecture' if space.size == 1 else 'architectures'}", ""]
    groups: dict[tuple[str, str], list[Decision]] = {}
    for decision in space.decisions:
        alike = re.sub(r"\d+", "#", decision.name) if len(space) > _FEW else decision.name
        groups.setdefault((alike, decision.role), []).append(decision)
    rows = [("decision", "role", "options", "")]
    rows += [(_span(group), role, _span_of_counts(group), _options(group)) for (_, role), group in groups.items()]
    return _page([*lines, *_table(rows)])


def _named(node: OutlineNode) -> str:
    return f"node {node.label}" if node.kind == "op" and node.label.isdecimal() else node.name


def _in_order(rows: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Nodes by number where all have one: a topological order of a tree may jump."""
    head, *body = rows
    if all(row[0].isdecimal() for row in body):
        body.sort(key=lambda row: int(row[0]))
    return [head, *body]


def _formula(outline: Outline, output: OutlineNode, named: Mapping[str, str]) -> str:
    merges = {node.id: node for node in outline.nodes if node.kind == "merge"}
    terms: list[str] = []
    for source in outline.sources(output.id):
        if source in merges:
            terms.append(f"{merges[source].name}({', '.join(named[read] for read in outline.sources(source))})")
        else:
            terms.append(named[source])
    return ", ".join(terms)


def _tree(outline: Outline, named: Mapping[str, str]) -> list[str]:
    """The tree below the first node; empty where a later node reads more than one value."""
    operations = [node for node in outline.nodes if node.kind == "op"]
    ids = {node.id for node in operations}
    parents = {node.id: [source for source in outline.sources(node.id) if source in ids] for node in operations}
    roots = [node for node in operations if not parents[node.id]]
    if len(roots) != 1 or any(
        len(parents[node.id]) != 1 or len(outline.sources(node.id)) != 1 for node in operations if node is not roots[0]
    ):
        return []
    ends = {node.id for node in outline.nodes if node.kind in ("merge", "output")}
    result = next(node.name for node in outline.nodes if node.kind == "output")
    into_result = {source for source, target in outline.edges if target in ends}
    lines = [", ".join(named[source] for source in outline.sources(roots[0].id)) or named[roots[0].id]]
    waiting: list[tuple[OutlineNode, str, bool]] = [(roots[0], "", True)]
    while waiting:
        node, indent, last = waiting.pop()
        mark = f" → {result}" if node.id in into_result else ""
        lines.append(f"{indent}{'└── ' if last else '├── '}{' · '.join((node.label, *node.operations))}{mark}")
        children = [child for child in operations if parents[child.id] == [node.id]]
        below = indent + ("    " if last else "│   ")
        waiting += [(child, below, child is children[-1]) for child in reversed(children)]
    return lines


def _count(size: int) -> str:
    """Exact as long as that can be read at a glance."""
    if size < 10**9:
        return f"{size:,}"
    return f"{_scientific(size)} ({size:,})" if size < 10**21 else f"about {_scientific(size)}"


def _scientific(size: int) -> str:
    """Three digits, by integers: a space may be larger than any float."""
    exponent = len(str(size)) - 1
    digits = (size * 100 + 10**exponent // 2) // 10**exponent
    if digits == 1000:
        digits, exponent = 100, exponent + 1
    return f"{digits // 100}.{digits % 100:02d}e{exponent}"


def _span(group: Sequence[Decision]) -> str:
    if len(group) <= 2:
        return ", ".join(decision.name for decision in group)
    return f"{group[0].name} … {group[-1].name}"


def _span_of_counts(group: Sequence[Decision]) -> str:
    counts = [len(decision.options) for decision in group]
    least, most = min(counts), max(counts)
    return str(least) if least == most else f"{least} to {most}"


def _options(group: Sequence[Decision]) -> str:
    """The options where all decisions of `group` have the same; where not, those of the largest, after "among"."""
    largest = max(group, key=lambda decision: len(decision.options))
    same = all(decision.options == group[0].options for decision in group)
    shown = ", ".join(largest.options)
    if len(shown) > _LONGEST_OPTIONS and len(largest.options) > 2:
        shown = f"{largest.options[0]} … {largest.options[-1]}"
    conditional = sum(decision.when != ALWAYS for decision in group)
    notes = [shown if same else f"among {shown}"]
    if conditional:
        notes.append(f"if {group[0].when}" if len(group) == 1 else f"{conditional} of {len(group)} conditional")
    return "; ".join(notes)


def _table(rows: Sequence[tuple[str, ...]], right: int = 0) -> list[str]:
    """Aligned columns, the first `right` of them to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at < right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _page(lines: Iterable[str]) -> str:
    return "\n".join(line.rstrip() for line in lines) + "\n"
