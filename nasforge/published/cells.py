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
from nasforge.published.said import Said
from nasforge.published.words import sizes_of
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.spec.choices import ChooseActivation
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
    later = range(1, spec.nodes if isinstance(spec.nodes, int) else int(architecture[spec.nodes.use or "nodes"]))
    operations = [
        choice.label if isinstance(choice, OperationUse) else architecture[_decision(node, choice)]
        for node, choice in ((node, _choice(node, spec)) for node in (0, *later))
    ]
    inputs = (int(architecture[f"node{node}.input"].removeprefix("node")) for node in later)
    return Cell(tuple(operations), tuple(inputs))


def fit(form: str, cell: Cell, spec: RecurrentCellSpec, space: SearchSpace) -> Architecture:
    """The architecture of `space` that is this tree.

    Args:
        form: the name of the encoding, for messages.
        cell: every predecessor is an earlier node.
        spec: the validated block of the space.
        space: its decisions.

    Raises:
        SpaceError: another number of nodes, every node whose operation the space does not offer there, or every
            decision of which a tree says nothing, such as the width of the state.
    """
    count = len(cell.operations)
    if count not in spec.sizes:
        raise SpaceError(
            f"the text describes a cell of {sizes_of(count, spec.sizes, 'node')}; "
            f"the override space.nodes={count} makes them fit"
        )
    said = Said(form, space)
    if not isinstance(spec.nodes, int):
        said.put("the number of nodes", spec.nodes.use or "nodes", str(count))
    for node, operation in enumerate(cell.operations):
        where, choice = f"node {node}", _choice(node, spec)
        if isinstance(choice, OperationUse):
            if operation != choice.label:
                hint = f"the override 'space.first={{op: {operation}}}' fixes it to '{operation}'"
                said.refuse(f"{where} is '{operation}', but the space fixes it to '{choice.label}'; {hint}")
            continue
        options = [use.label for use in choice.from_]
        if operation in options:
            said.put(where, _decision(node, choice), operation)
        else:
            shown = printable(operation, 40)
            said.refuse(
                f"{where} is '{shown}', which the space does not offer there.{suggest(operation, options)} "
                f"It offers {', '.join(options)}"
            )
    for node, source in enumerate(cell.predecessors, 1):
        said.put(f"what node {node} reads", f"node{node}.input", f"node{source}")
    return said.architecture()


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


def _choice(node: int, spec: RecurrentCellSpec) -> OperationUse | ChooseActivation:
    """What the space says about the operation of a node."""
    return spec.first.op if node == 0 and spec.first else spec.each.op


def _decision(node: int, choice: ChooseActivation) -> str:
    """The decision of a node's operation: the name under ``let`` where one is shared."""
    return choice.use or f"node{node}.op"
