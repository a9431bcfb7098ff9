"""A recurrent cell as every encoding of one sees it, and how it becomes an architecture of a space.

All of them describe the same tree: an operation for each node, and for each node after the first the earlier node that
it reads. Operations are mapped by name, because each code numbers them differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nasforge.errors import SpaceError, suggest
from nasforge.graph.supergraph import OperationUse
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.spec.nodes import printable

if TYPE_CHECKING:
    from nasforge.kinds.recurrent_cell import RecurrentCellSpec


@dataclass(frozen=True)
class Cell:
    """A tree of nodes.

    Attributes:
        operations: of nodes 0, 1, ..., by nasforge's names.
        predecessors: of nodes 1, 2, ...: the earlier node that each reads.
    """

    operations: tuple[str, ...]
    predecessors: tuple[int, ...]

    @property
    def leaves(self) -> tuple[int, ...]:
        """The nodes that no node reads, in order."""
        return tuple(node for node in range(len(self.operations)) if node not in self.predecessors)


def cell_of(architecture: Mapping[str, str], spec: RecurrentCellSpec) -> Cell:
    """The tree of an architecture of the space `spec`."""
    first = fixed_first(spec) or architecture["node0.op"]
    later = range(1, spec.nodes if isinstance(spec.nodes, int) else int(architecture["nodes"]))
    operations = (first, *(architecture[f"node{node}.op"] for node in later))
    return Cell(operations, tuple(int(architecture[f"node{node}.input"].removeprefix("node")) for node in later))


def fit(cell: Cell, spec: RecurrentCellSpec, space: SearchSpace) -> Architecture:
    """The architecture of `space` that is this tree.

    Args:
        cell: every predecessor is an earlier node.
        spec: the validated block of the space.
        space: its decisions.

    Raises:
        SpaceError: another number of nodes, or every node whose operation the space does not offer there.
    """
    count = len(cell.operations)
    if count not in spec.sizes:
        *others, last = (_nodes(size) for size in sorted(spec.sizes))
        offered = f"{', '.join(others)} or {last}" if others else last
        raise SpaceError(
            f"the text describes a cell of {_nodes(count)}, the space has {offered}; "
            f"the override space.nodes={count} makes them fit"
        )
    faults: list[str] = []
    choices: dict[str, str] = {} if isinstance(spec.nodes, int) else {"nodes": str(count)}
    fixed = fixed_first(spec)
    for node, operation in enumerate(cell.operations):
        if node == 0 and fixed is not None:
            if operation != fixed:
                hint = f"the override 'space.first={{op: {operation}}}' fixes it to '{operation}'"
                faults.append(f"node 0 is '{operation}', but the space fixes it to '{fixed}'; {hint}")
            continue
        options = space.decision(f"node{node}.op").options
        if operation not in options:
            shown = printable(operation, 40)
            faults.append(
                f"node {node} is '{shown}', which the space does not offer there.{suggest(operation, options)} "
                f"It offers {', '.join(options)}"
            )
        choices[f"node{node}.op"] = operation
    if faults:
        raise SpaceError("\n".join(faults))
    choices |= {f"node{node}.input": f"node{source}" for node, source in enumerate(cell.predecessors, 1)}
    return space.architecture(choices)


def check_first_is_tanh(cell: Cell, name: str) -> None:
    """Refuse what an encoding without an operation of node 0 cannot express.

    Raises:
        SpaceError: node 0 is not tanh.
    """
    if cell.operations[0] != "tanh":
        raise SpaceError(f"node 0 is '{cell.operations[0]}'; {name} has no place for it, node 0 is always tanh there")


def check_known(cell: Cell, name: str, known: Sequence[str]) -> None:
    """Refuse operations that an encoding has no sign for.

    Raises:
        SpaceError: every such node.
    """
    faults = [
        f"node {node} is '{operation}', which {name} cannot write; it has {', '.join(known)}"
        for node, operation in enumerate(cell.operations)
        if operation not in known
    ]
    if faults:
        raise SpaceError("\n".join(faults))


def fixed_first(spec: RecurrentCellSpec) -> str | None:
    """The operation of node 0 where the space fixes it, else None."""
    return spec.first.op.label if spec.first and isinstance(spec.first.op, OperationUse) else None


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"
