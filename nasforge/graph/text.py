"""Text listings of architectures and spaces, for terminals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from nasforge.graph.outline import Outline, OutlineNode, architecture_outline, chosen_sizes, space_outline
from nasforge.graph.supergraph import Supergraph
from nasforge.space.decision import ALWAYS, Decision

_FEW = 12
_LONGEST_OPTIONS = 60


def text(supergraph: Supergraph, architecture: Mapping[str, str], template: str | None = None) -> str:
    """The sizes that were chosen, a table of the nodes, how the output is formed, and the tree where it is one.

    Args:
        supergraph: the space's graph.
        architecture: the chosen option of every decision.
        template: the template that is listed; None for all in which something is chosen.

    Raises:
        SpaceError: there is no such template, or the child does not call it.
    """
    names = (template,) if template is not None else supergraph.searched
    pages = [_page(_listed(architecture_outline(supergraph, architecture, name))) for name in names]
    if len(names) > 1:
        pages = [f"{name}\n{page}" for name, page in zip(names, pages, strict=True)]
    sizes = chosen_sizes(supergraph, architecture)
    return "\n".join([f"{', '.join(sizes)}\n", *pages] if sizes else pages)


def _listed(outline: Outline) -> list[str]:
    named = {node.id: _named(node) for node in outline.nodes}
    by_id = {node.id: node for node in outline.nodes}
    rows: list[tuple[str, ...]] = []
    halved = any(node.halvings for node in outline.nodes)
    for node in _in_order([node for node in outline.nodes if node.kind == "op" and node.label]):
        # What has no name of its own is a branch of the node that adds it, and a row of it.
        branches = [by_id[source] for source in outline.sources(node.id) if not by_id[source].label]
        for number, part in enumerate(branches or [node]):
            sources = ", ".join(named[source] for source in outline.sources(part.id))
            size = (node.scale or "1",) if halved else ()
            rows.append(("" if number else node.label, *size, sources, " + ".join(part.values)))
    lines = _table([("node", *(["size"] if halved else []), "input", "operation"), *rows], right=1)
    lines += [f"{node.name} = {_formula(outline, node, named)}" for node in outline.nodes if node.kind == "output"]
    tree = _tree(outline, named)
    return [*lines, "", *tree] if tree else lines


def space_text(supergraph: Supergraph) -> str:
    """The number of decisions and of architectures, where images are halved, and a table of the decisions.

    With more than twelve decisions, those that differ only by the numbers in their names share a row.
    """
    space = supergraph.space
    decisions = "1 decision" if len(space) == 1 else f"{len(space)} decisions"
    lines = [f"{decisions}, {_count(space.size)} {'architecture' if space.size == 1 else 'architectures'}"]
    lines += [*_reductions(supergraph), ""]
    groups: dict[tuple[str, str], list[Decision]] = {}
    for decision in space.decisions:
        alike = re.sub(r"\d+", "#", decision.name) if len(space) > _FEW else decision.name
        groups.setdefault((alike, decision.role), []).append(decision)
    rows = [("decision", "role", "options", "")]
    rows += [(_span(group), role, _span_of_counts(group), _options(group)) for (_, role), group in groups.items()]
    return _page([*lines, *_table(rows)])


def _reductions(supergraph: Supergraph) -> list[str]:
    """A line on the first node of each size, where a network halves its images between nodes."""
    lines: list[str] = []
    for name in supergraph.searched:
        first: dict[int, OutlineNode] = {}
        for node in space_outline(supergraph, name).nodes:
            first.setdefault(node.halvings, node)
        sizes = [f"{node.scale} from {node.name} on" for _, node in sorted(first.items()) if node.scale]
        if sizes:
            lines.append(f"size of images: {', '.join(sizes)}")
    return lines


def _named(node: OutlineNode) -> str:
    return f"node {node.label}" if node.kind == "op" and node.label.isdecimal() else node.name


def _in_order(nodes: Sequence[OutlineNode]) -> list[OutlineNode]:
    """Nodes by number where all have one: a topological order of a tree may jump."""
    if all(node.label.isdecimal() for node in nodes):
        return sorted(nodes, key=lambda node: int(node.label))
    return list(nodes)


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
        shown = " · ".join(filter(None, (node.label, *node.values, node.scale)))
        lines.append(f"{indent}{'└── ' if last else '├── '}{shown}{mark}")
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
