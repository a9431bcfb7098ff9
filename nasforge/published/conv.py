"""Encodings of convolutional cells: the authors' line of numbers, and DARTS' genotypes.

The code of the authors (melodyguan/enas, ``src/cifar10/micro_child.py``) writes for each node the value and the
operation of either branch, first of the normal cell, then of the reduction cell. DARTS (quark0/darts,
``cnn/genotypes.py``) names the operations, and says which nodes are concatenated, which must agree with the space; it
concatenates all nodes: ``output: {of: all}``. docs/published.md shows cells in both forms.

Operations are mapped by name and parameters; how each is built is nasforge's (`nasforge.ops.image`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nasforge.components import Encoding
from nasforge.errors import SpaceError, UsageError, suggest
from nasforge.graph.supergraph import OperationUse
from nasforge.published.conv_cells import (
    BRANCHES,
    FIRST_NODE,
    ConvCell,
    cells_of,
    check_branches,
    check_cells,
    fit,
    place,
    sizes,
)
from nasforge.published.genotype import CellGenes, Form, parse_genotype
from nasforge.published.numbers import read_numbers
from nasforge.published.said import MAX_FAULTS, check_known, check_says
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.spec.nodes import printable

if TYPE_CHECKING:
    from nasforge.kinds.conv_options import ConvCellSpec


def _use(name: str, **parameters: int) -> OperationUse:
    return OperationUse(name, tuple(parameters.items()))


ENAS_OPERATIONS = (
    _use("sep_conv", kernel=3),
    _use("sep_conv", kernel=5),
    _use("avg_pool", kernel=3),
    _use("max_pool", kernel=3),
    _use("identity"),
)
DARTS_OPERATIONS: Mapping[str, OperationUse] = {
    "max_pool_3x3": _use("max_pool", kernel=3),
    "avg_pool_3x3": _use("avg_pool", kernel=3),
    "skip_connect": _use("identity"),
    "sep_conv_3x3": _use("sep_conv", kernel=3),
    "sep_conv_5x5": _use("sep_conv", kernel=5),
    "sep_conv_7x7": _use("sep_conv", kernel=7),
    "dil_conv_3x3": _use("dil_conv", kernel=3, dilation=2),
    "dil_conv_5x5": _use("dil_conv", kernel=5, dilation=2),
}
DARTS_REFUSED = ("none", "conv_7x1_1x7")
"""Names of DARTS that stand for no operation here."""

DARTS_FORM = Form(
    "darts-cnn",
    {"normal": "normal_concat", "reduce": "reduce_concat"},
    "Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=[2, 3, 4, 5], reduce=[...], reduce_concat=[...])",
)
DARTS_CELLS: Mapping[str, str] = {"normal": "normal", "reduce": "reduction"}
"""What a genotype calls the cells, and what a space does."""

_OUTPUTS = {"leaves": "the leaves", "all": "all nodes"}
_PER_NODE = 2 * BRANCHES


def read_micro(text: str, spec: ConvCellSpec, space: SearchSpace) -> Architecture:
    """``idx1 op1 idx2 op2`` of nodes 2, 3, ... of the normal cell, then of the reduction cell, if it is searched."""
    check_branches("enas-micro", spec)
    numbers = read_numbers("enas-micro", text)
    names: list[str] = sorted(spec.cells)
    count = len(numbers)
    if count not in (_PER_NODE * len(names) * size for size in sizes(spec)):
        # The text may be of a space with one cell more, or less.
        for others in (frozenset({"normal"}), frozenset({"normal", "reduction"})):
            if count in (_PER_NODE * len(others) * size for size in sizes(spec)):
                check_cells(others, spec)
    if count % (_PER_NODE * len(names)):
        rule = " and ".join(f"{_PER_NODE} for each node of the {name} cell" for name in names)
        raise UsageError(f"enas-micro: {count} numbers; there must be {rule}, a multiple of {_PER_NODE * len(names)}")
    _check_numbers(numbers, names)
    length = count // len(names)
    cells = {name: _cell_of_numbers(numbers[start * length : (start + 1) * length]) for start, name in enumerate(names)}
    return fit("enas-micro", cells, spec, space)


def _check_numbers(numbers: Sequence[int], names: Sequence[str]) -> None:
    """Raise UsageError for every number that is out of range."""
    known = ", ".join(f"{number} {use.label}" for number, use in enumerate(ENAS_OPERATIONS))
    length = len(numbers) // len(names)
    faults: list[str] = []
    for index, number in enumerate(numbers):
        node, within = divmod(index % length, _PER_NODE)
        node += FIRST_NODE
        where = place(names[index // length], node, within // 2 + 1)
        if within % 2 and number >= len(ENAS_OPERATIONS):
            faults.append(f"number {index + 1} is {number}, the operation of {where}; operations are {known}")
        elif within % 2 == 0 and number >= node:
            rule = f"it must be an input of the cell or an earlier node, 0 to {node - 1}"
            faults.append(f"number {index + 1} is {number}, what {where} reads; {rule}")
    if faults:
        raise UsageError("\n".join(f"enas-micro: {fault}" for fault in faults[:MAX_FAULTS]))


def _cell_of_numbers(numbers: Sequence[int]) -> ConvCell:
    pairs = [(numbers[at], ENAS_OPERATIONS[numbers[at + 1]]) for at in range(0, len(numbers), 2)]
    return ConvCell(tuple(tuple(pairs[at : at + BRANCHES]) for at in range(0, len(pairs), BRANCHES)))


def write_micro(architecture: Mapping[str, str], spec: ConvCellSpec, space: SearchSpace) -> str:
    """The inverse of `read_micro`."""
    check_branches("enas-micro", spec)
    cells = cells_of(architecture, spec)
    counts = {name: len(cell.nodes) for name, cell in cells.items()}
    if len(set(counts.values())) > 1:
        listed = " and ".join(f"the {name} cell {count}" for name, count in counts.items())
        raise SpaceError(f"enas-micro has cells of as many nodes each; here {listed}")
    for name, cell in cells.items():
        check_known("enas-micro", cell.operations(name), ENAS_OPERATIONS)
    text = " ".join(
        f"{source} {ENAS_OPERATIONS.index(use)}"
        for cell in cells.values()
        for branches in cell.nodes
        for source, use in branches
    )
    check_says("enas-micro", architecture, read_micro(text, spec, space))
    return text


def read_darts(text: str, spec: ConvCellSpec, space: SearchSpace) -> Architecture:
    """``Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=[2, 3, 4, 5], reduce=..., reduce_concat=...)``.

    The reduction cell may be empty, or left out, where the space searches the normal cell only.
    """
    check_branches("darts-cnn", spec)
    genes = {key: each for key, each in parse_genotype(text, DARTS_FORM).items() if each.pairs or key == "normal"}
    _check_genes(genes)
    cells = {DARTS_CELLS[key]: _cell_of_pairs(each.pairs) for key, each in genes.items()}
    architecture = fit("darts-cnn", cells, spec, space)
    _check_output(genes, cells, spec)
    return architecture


def _check_genes(genes: Mapping[str, CellGenes]) -> None:
    """Raise UsageError for all that makes no cell in any space."""
    faults: list[str] = []
    for key, cell in genes.items():
        if not cell.pairs or len(cell.pairs) % BRANCHES:
            faults.append(f"{key} has {len(cell.pairs)} pairs; there must be {BRANCHES} for each node")
            continue
        for index, (operation, source) in enumerate(cell.pairs):
            where, node = f"{key}, pair {index + 1}", FIRST_NODE + index // BRANCHES
            if source >= node:
                rule = f"it must be an input of the cell or an earlier node, 0 to {node - 1}"
                faults.append(f"{where}: node {node} reads {source}; {rule}")
            if operation in DARTS_REFUSED:
                faults.append(f"{where} is '{operation}', which stands for no operation here")
            elif operation not in DARTS_OPERATIONS:
                known = f"operations are {', '.join(DARTS_OPERATIONS)}.{suggest(operation, DARTS_OPERATIONS)}"
                faults.append(f"{where} is '{printable(operation, 40)}'; {known}")
        last = FIRST_NODE + len(cell.pairs) // BRANCHES - 1
        if len(set(cell.concat)) != len(cell.concat) or any(value > last for value in cell.concat):
            faults.append(
                f"{DARTS_FORM.cells[key]} must be different nodes or inputs, 0 to {last}, found {_listed(cell.concat)}"
            )
    if faults:
        raise UsageError("\n".join(f"darts-cnn: {fault}" for fault in faults[:MAX_FAULTS]))


def _cell_of_pairs(pairs: Sequence[tuple[str, int]]) -> ConvCell:
    branches = [(source, DARTS_OPERATIONS[operation]) for operation, source in pairs]
    return ConvCell(tuple(tuple(branches[at : at + BRANCHES]) for at in range(0, len(branches), BRANCHES)))


def _check_output(genes: Mapping[str, CellGenes], cells: Mapping[str, ConvCell], spec: ConvCellSpec) -> None:
    """Compare what a text concatenates with what the space does.

    Raises:
        SpaceError: the space concatenates others.
    """
    fitting = {
        of: [key for key, each in genes.items() if set(each.concat) == set(_output(cells[DARTS_CELLS[key]], of))]
        for of in _OUTPUTS
    }
    if len(fitting[spec.output.of]) == len(genes):
        return
    wrong = next(key for key in genes if key not in fitting[spec.output.of])
    found = f"darts-cnn: {DARTS_FORM.cells[wrong]} concatenates {_listed(genes[wrong].concat)}"
    for of, keys in fitting.items():
        if len(keys) == len(genes):
            raise SpaceError(
                f"{found}, but the space concatenates {_OUTPUTS[spec.output.of]}; "
                f"the override space.output.of={of} makes them fit"
            )
    cell = cells[DARTS_CELLS[wrong]]
    raise SpaceError(
        f"{found}, but the space concatenates {_OUTPUTS[spec.output.of]}; all nodes are {_listed(cell.all)}, the "
        f"leaves {_listed(cell.leaves)}, and spaces have no other output, which all cells share"
    )


def _output(cell: ConvCell, of: str) -> tuple[int, ...]:
    return cell.all if of == "all" else cell.leaves


def write_darts(architecture: Mapping[str, str], spec: ConvCellSpec, space: SearchSpace) -> str:
    """The inverse of `read_darts`; a cell that is not searched is empty."""
    check_branches("darts-cnn", spec)
    cells = cells_of(architecture, spec)
    for name, cell in cells.items():
        check_known("darts-cnn", cell.operations(name), tuple(DARTS_OPERATIONS.values()))
    names = {use: name for name, use in DARTS_OPERATIONS.items()}
    fields: list[str] = []
    for key, name in DARTS_CELLS.items():
        cell = cells.get(name, ConvCell(()))
        pairs = [(names[use], source) for branches in cell.nodes for source, use in branches]
        concat = list(_output(cell, spec.output.of)) if pairs else []
        fields += [f"{key}={pairs}", f"{DARTS_FORM.cells[key]}={concat}"]
    text = f"Genotype({', '.join(fields)})"
    check_says("darts-cnn", architecture, read_darts(text, spec, space))
    return text


def _listed(values: Sequence[int]) -> str:
    return printable(", ".join(map(str, values)) or "none", 80)


_ALL = (
    Encoding(
        "enas-micro",
        "the authors' code: input and operation of both branches of each node, by number, normal cell first",
        read_micro,
        write_micro,
    ),
    Encoding(
        "darts-cnn",
        "DARTS: Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=..., reduce=..., reduce_concat=...)",
        read_darts,
        write_darts,
    ),
)
ENCODINGS: Mapping[str, Encoding] = {encoding.name: encoding for encoding in _ALL}
"""The encodings of convolutional cells, by name."""
