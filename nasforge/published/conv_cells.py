"""Convolutional cells as every encoding of them sees them, and how they become an architecture of a space.

All of them describe the same: nodes 2, 3, ..., each with two pairs of a value that it reads (0 and 1 are the inputs of
the cell, the older first) and an operation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nasforge.errors import SpaceError
from nasforge.graph.supergraph import OperationUse
from nasforge.published.said import Said, operation_of
from nasforge.published.words import sizes_of
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace

if TYPE_CHECKING:
    from nasforge.kinds.conv_options import ConvCellSpec

FIRST_NODE = 2
BRANCHES = 2
"""What each node adds in these forms."""

Branch = tuple[int, OperationUse]
"""The value that is read, and what is computed of it."""


@dataclass(frozen=True)
class ConvCell:
    """One cell.

    Attributes:
        nodes: the branches of nodes 2, 3, ...
    """

    nodes: tuple[tuple[Branch, ...], ...]

    @property
    def all(self) -> tuple[int, ...]:
        """All nodes, without the inputs."""
        return tuple(range(FIRST_NODE, FIRST_NODE + len(self.nodes)))

    @property
    def leaves(self) -> tuple[int, ...]:
        """The nodes and inputs that no node reads, in order."""
        read = {source for branches in self.nodes for source, _ in branches}
        return tuple(value for value in range(FIRST_NODE + len(self.nodes)) if value not in read)

    def operations(self, cell: str) -> dict[str, OperationUse]:
        """The operations by their places, in words."""
        return {
            place(cell, node, branch): use
            for node, branches in enumerate(self.nodes, FIRST_NODE)
            for branch, (_, use) in enumerate(branches, 1)
        }


def place(cell: str, node: int, branch: int) -> str:
    """Where a pair stands, in words."""
    return f"branch {branch} of node {node} of the {cell} cell"


def check_branches(form: str, spec: ConvCellSpec) -> None:
    """Refuse spaces whose nodes do not add two branches.

    Raises:
        SpaceError: they add another number.
    """
    if spec.each.branches != BRANCHES:
        raise SpaceError(
            f"{form} has {BRANCHES} branches for each node, the space has {spec.each.branches}; "
            f"the override space.each.branches={BRANCHES} makes them fit"
        )


def sizes(spec: ConvCellSpec) -> tuple[int, ...]:
    """The numbers of nodes that a cell of the space may have, as written."""
    return (spec.nodes,) if isinstance(spec.nodes, int) else spec.nodes.from_


def check_cells(cells: frozenset[str], spec: ConvCellSpec) -> None:
    """Refuse texts with other cells than those that the space searches.

    Raises:
        SpaceError: there is a reduction cell on one side only.
    """
    if "reduction" in cells and "reduction" not in spec.cells:
        raise SpaceError(
            "the text describes a normal and a reduction cell, the space searches the normal one only; "
            "the override 'space.cells=[normal, reduction]' makes them fit"
        )
    if "reduction" in spec.cells and "reduction" not in cells:
        raise SpaceError(
            "the text describes a normal cell only, the space searches a reduction cell, too; "
            "the override 'space.cells=[normal]' makes them fit"
        )


def fit(form: str, cells: Mapping[str, ConvCell], spec: ConvCellSpec, space: SearchSpace) -> Architecture:
    """The architecture of `space` that consists of these cells.

    Args:
        form: the name of the encoding, for messages.
        cells: by their names in the space, ``normal`` and ``reduction``; every node reads earlier values.
        spec: the validated block of the space; its nodes add two branches.
        space: its decisions.

    Raises:
        SpaceError: other cells, another number of nodes, or every branch whose operation the space does not offer.
    """
    check_cells(frozenset(cells), spec)
    counts = sorted({len(cell.nodes) for cell in cells.values()})
    wrong = [count for count in counts if count not in sizes(spec)]
    if wrong:
        nodes = str(counts[0]) if len(counts) == 1 else f"{{choose: 1, from: {counts}}}"
        raise SpaceError(
            f"the text describes a cell of {sizes_of(wrong[0], sizes(spec), 'node')}; "
            f"the override 'space.nodes={nodes}' makes them fit"
        )
    said = Said(form, space)
    for name, cell in cells.items():
        if not isinstance(spec.nodes, int):
            said.put(f"the number of nodes of the {name} cell", spec.nodes.use or f"{name}.nodes", str(len(cell.nodes)))
        for node, branches in enumerate(cell.nodes, FIRST_NODE):
            for branch, (source, use) in enumerate(branches, 1):
                where = place(name, node, branch)
                said.put(where, f"{name}.node{node}.input{branch}", _value(name, source))
                said.operation(where, f"{name}.node{node}.op{branch}", spec.each.op, use)
    return said.architecture()


def cells_of(architecture: Mapping[str, str], spec: ConvCellSpec) -> dict[str, ConvCell]:
    """The cells of an architecture of the space `spec`, the normal one first."""
    return {name: _cell(architecture, name, spec) for name in sorted(spec.cells)}


def _cell(architecture: Mapping[str, str], name: str, spec: ConvCellSpec) -> ConvCell:
    count = spec.nodes if isinstance(spec.nodes, int) else int(architecture[spec.nodes.use or f"{name}.nodes"])
    values = {_value(name, number): number for number in range(FIRST_NODE + count)}
    return ConvCell(
        tuple(
            tuple(
                (
                    values[architecture[f"{name}.node{node}.input{branch}"]],
                    operation_of(architecture, f"{name}.node{node}.op{branch}", spec.each.op),
                )
                for branch in range(1, spec.each.branches + 1)
            )
            for node in range(FIRST_NODE, FIRST_NODE + count)
        )
    )


def _value(cell: str, number: int) -> str:
    """What the space calls a value of a cell."""
    return f"{cell}.in{number}" if number < FIRST_NODE else f"{cell}.node{number}"
