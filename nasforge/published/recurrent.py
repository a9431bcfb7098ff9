"""Encodings of recurrent cells: the authors' two codes, DARTS and ENAS-pytorch.

The first code of the authors (melodyguan/enas) writes ``f0`` and then a predecessor and an operation for each later
node; their corrected code (google-research/enas_lm) fixes node 0 to tanh, leaves it out and numbers the operations
differently; DARTS (quark0/darts, ``rnn/genotypes.py``) names them, and also which nodes are averaged; ENAS-pytorch
(carpedm20/ENAS-pytorch, ``dag.json``) lists the readers of each node. docs/published.md shows one cell in all forms.

Only DARTS and ``dag.json`` say which nodes are averaged, and only there it must agree with the space; for the others
the space decides. DARTS averages all nodes but node 0: ``output: {of: all_but_first}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasforge.components import Encoding
from nasforge.errors import SpaceError, UsageError, suggest
from nasforge.published.cells import Cell, cell_of, check_first_is_tanh, check_known, fit
from nasforge.published.genotype import Form, parse_genotype
from nasforge.published.numbers import pairs_of, read_numbers, write_pairs
from nasforge.published.said import check_says
from nasforge.published.words import counted
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.spec.nodes import printable

if TYPE_CHECKING:
    from nasforge.kinds.recurrent_cell import RecurrentCellSpec

PTB_OPERATIONS = ("tanh", "relu", "identity", "sigmoid")
LM_OPERATIONS = ("tanh", "relu", "sigmoid", "identity")
DARTS_OPERATIONS = ("tanh", "relu", "sigmoid", "identity")
PYTORCH_NAMES: Mapping[str, str] = {"tanh": "tanh", "ReLU": "relu", "identity": "identity", "sigmoid": "sigmoid"}

DARTS_FORM = Form("darts-rnn", {"recurrent": "concat"}, "Genotype(recurrent=[('tanh', 0), ...], concat=range(1, 9))")
_OUTPUTS = {"leaves": "the leaves", "all": "all nodes", "all_but_first": "all nodes but node 0"}


def read_ptb(text: str, spec: RecurrentCellSpec, space: SearchSpace) -> Architecture:
    """``f0``, then predecessor and operation of nodes 1, 2, ...: 2 N - 1 numbers for N nodes."""
    numbers = read_numbers("enas-ptb", text)
    if len(numbers) % 2 == 0:
        raise UsageError(
            f"enas-ptb: {len(numbers)} numbers; there must be one for node 0 and two for each later node, an odd count"
        )
    first, predecessors, operations = pairs_of("enas-ptb", numbers, PTB_OPERATIONS, has_first=True)
    return fit("enas-ptb", Cell((first, *operations), predecessors), spec, space)


def write_ptb(architecture: Mapping[str, str], spec: RecurrentCellSpec, space: SearchSpace) -> str:
    """The inverse of `read_ptb`."""
    cell = cell_of(architecture, spec)
    check_known(cell, "enas-ptb", PTB_OPERATIONS)
    first = str(PTB_OPERATIONS.index(cell.operations[0]))
    text = " ".join([first, *write_pairs(cell, PTB_OPERATIONS)])
    check_says("enas-ptb", architecture, read_ptb(text, spec, space))
    return text


def read_lm(text: str, spec: RecurrentCellSpec, space: SearchSpace) -> Architecture:
    """Predecessor and operation of nodes 1, 2, ...: 2 (N - 1) numbers for N nodes; node 0 is tanh."""
    numbers = read_numbers("enas-lm", text)
    if len(numbers) % 2:
        raise UsageError(f"enas-lm: {len(numbers)} numbers; there must be two for each node but node 0, an even count")
    first, predecessors, operations = pairs_of("enas-lm", numbers, LM_OPERATIONS, has_first=False)
    return fit("enas-lm", Cell((first, *operations), predecessors), spec, space)


def write_lm(architecture: Mapping[str, str], spec: RecurrentCellSpec, space: SearchSpace) -> str:
    """The inverse of `read_lm`."""
    cell = cell_of(architecture, spec)
    check_first_is_tanh(cell, "enas-lm")
    check_known(cell, "enas-lm", LM_OPERATIONS)
    if not cell.predecessors:
        raise SpaceError("a cell of one node is no text at all in enas-lm")
    text = " ".join(write_pairs(cell, LM_OPERATIONS))
    check_says("enas-lm", architecture, read_lm(text, spec, space))
    return text


def read_darts(text: str, spec: RecurrentCellSpec, space: SearchSpace) -> Architecture:
    """``Genotype(recurrent=[('tanh', 0), ...], concat=range(1, 9))``; node 0 is tanh and left out."""
    genes = parse_genotype(text, DARTS_FORM)["recurrent"]
    pairs = genes.pairs
    faults = [
        f"pair {node}: node {node} reads node {source}; it must be an earlier one, 0 to {node - 1}"
        for node, (_, source) in enumerate(pairs, 1)
        if source >= node
    ]
    if faults:
        raise UsageError("\n".join(f"darts-rnn: {fault}" for fault in faults))
    cell = Cell(("tanh", *(operation for operation, _ in pairs)), tuple(source for _, source in pairs))
    _check_averaged("darts-rnn: concat", cell, genes.concat)
    architecture = fit("darts-rnn", cell, spec, space)
    _check_output("darts-rnn: concat", cell, genes.concat, spec)
    return architecture


def write_darts(architecture: Mapping[str, str], spec: RecurrentCellSpec, space: SearchSpace) -> str:
    """The inverse of `read_darts`; ``concat`` as DARTS writes it."""
    cell = cell_of(architecture, spec)
    check_first_is_tanh(cell, "darts-rnn")
    check_known(cell, "darts-rnn", DARTS_OPERATIONS)
    pairs = list(zip(cell.operations[1:], cell.predecessors, strict=True))
    count = len(cell.operations)
    whole = {"all": f"range({count})", "all_but_first": f"range(1, {count})"}
    averaged = whole.get(spec.output.of, str(list(cell.leaves))) if count > 1 else str(list(cell.leaves))
    text = f"Genotype(recurrent={pairs}, concat={averaged})"
    check_says("darts-rnn", architecture, read_darts(text, spec, space))
    return text


def _check_averaged(where: str, cell: Cell, averaged: Sequence[int]) -> None:
    """Refuse what is wrong in any space.

    Raises:
        UsageError: the text averages what is no set of nodes of its cell.
    """
    count = len(cell.operations)
    if len(set(averaged)) != len(averaged) or any(node >= count for node in averaged):
        raise UsageError(
            f"{where} must be different nodes, 0 to {count - 1} in a cell of {counted(count, 'node')}, "
            f"found {_listed(averaged)}"
        )


def _check_output(where: str, cell: Cell, averaged: Sequence[int], spec: RecurrentCellSpec) -> None:
    """Compare the nodes that a text averages with those that the space does.

    Raises:
        SpaceError: the space averages others.
    """
    count = len(cell.operations)
    sets = {"leaves": set(cell.leaves), "all": set(range(count)), "all_but_first": set(range(1, count)) or {0}}
    if set(averaged) == sets[spec.output.of]:
        return
    for of, nodes in sets.items():
        if set(averaged) == nodes:
            raise SpaceError(
                f"{where} averages {_listed(averaged)}, but the space averages {_OUTPUTS[spec.output.of]}; "
                f"the override space.output.of={of} makes them fit"
            )
    raise SpaceError(
        f"{where} averages {_listed(averaged)}, which are neither all nodes, with or without node 0, nor the leaves "
        f"{_listed(cell.leaves)}; spaces have no other output"
    )


def read_pytorch(text: str, spec: RecurrentCellSpec, space: SearchSpace) -> Architecture:
    """``dag.json`` as the code saves it, or (predecessor, operation) pairs: ``[[-1, "tanh"], [0, "ReLU"], ...]``."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError(f"enas-pytorch: not JSON: {printable(text, 60)}") from None
    averaged: tuple[int, ...] | None = None
    if isinstance(data, dict):
        by_node, averaged = _nodes_of_dag(data)
    else:
        by_node = dict(enumerate(_pair("", pair) for pair in data)) if isinstance(data, list) else {}
    if not by_node or sorted(by_node) != list(range(len(by_node))):
        found = f"nodes {_listed(sorted(by_node))}" if by_node else printable(text, 60)
        raise UsageError(
            f"enas-pytorch: there must be a predecessor and an operation for each of nodes 0, 1, 2, ..., found {found}"
        )
    faults: list[str] = []
    for node, (source, operation) in sorted(by_node.items()):
        if source != -1 if node == 0 else not 0 <= source < node:
            rule = "it must read -1, the input" if node == 0 else f"it must be an earlier one, 0 to {node - 1}"
            faults.append(f"enas-pytorch: node {node} reads node {source}; {rule}")
        if operation not in PYTORCH_NAMES:
            known = suggest(operation, PYTORCH_NAMES)
            shown = printable(operation, 40)
            faults.append(f"enas-pytorch: node {node} is '{shown}'; operations are {', '.join(PYTORCH_NAMES)}.{known}")
    if faults:
        raise UsageError("\n".join(faults))
    listed = [by_node[node] for node in range(len(by_node))]
    cell = Cell(tuple(PYTORCH_NAMES[operation] for _, operation in listed), tuple(source for source, _ in listed[1:]))
    if averaged is not None:
        _check_averaged("enas-pytorch: 'avg'", cell, averaged)
    architecture = fit("enas-pytorch", cell, spec, space)
    if averaged is not None:
        _check_output("enas-pytorch: 'avg'", cell, averaged, spec)
    return architecture


def write_pytorch(architecture: Mapping[str, str], spec: RecurrentCellSpec, space: SearchSpace) -> str:
    """A ``dag.json`` that the code loads."""
    cell = cell_of(architecture, spec)
    names = {ours: theirs for theirs, ours in PYTORCH_NAMES.items()}
    check_known(cell, "enas-pytorch", tuple(names))
    count = len(cell.operations)
    averaged = {"leaves": cell.leaves, "all": range(count), "all_but_first": range(1, count) or range(1)}[
        spec.output.of
    ]
    if set(averaged) != set(cell.leaves):
        raise SpaceError(f"enas-pytorch averages the leaves; this space averages {_OUTPUTS[spec.output.of]}")
    dag: dict[str, list[list[Any]]] = {"-1": [[0, names[cell.operations[0]]]], "-2": [[0, names[cell.operations[0]]]]}
    for node, source in enumerate(cell.predecessors, 1):
        dag.setdefault(str(source), []).append([node, names[cell.operations[node]]])
    dag |= {str(leaf): [[count, "avg"]] for leaf in cell.leaves}
    text = json.dumps({**dag, str(count): [[count + 1, "h[t]"]]})
    check_says("enas-pytorch", architecture, read_pytorch(text, spec, space))
    return text


def _nodes_of_dag(data: Mapping[str, Any]) -> tuple[dict[int, tuple[int, str]], tuple[int, ...]]:
    """(predecessor, operation) by node, and the nodes that are averaged."""
    by_node: dict[int, tuple[int, str]] = {}
    averaged: list[int] = []
    for key, readers in data.items():
        if not key.removeprefix("-").isdecimal() or len(key) > 5 or not isinstance(readers, list):
            raise UsageError(f"enas-pytorch: '{printable(key, 40)}' must be a node with the list of its readers")
        # -2, the previous state, has the same reader as -1, the input.
        if key == "-2":
            continue
        for reader in readers:
            node, name = _pair(f"reader of node {key}: ", reader)
            if name == "avg":
                averaged.append(int(key))
            elif name != "h[t]":
                if node in by_node:
                    raise UsageError(f"enas-pytorch: node {node} reads two nodes, {by_node[node][0]} and {key}")
                by_node[node] = (int(key), name)
    return by_node, tuple(averaged)


def _pair(where: str, value: Any) -> tuple[int, str]:
    if isinstance(value, list) and len(value) == 2 and type(value[0]) is int and isinstance(value[1], str):
        return value[0], value[1]
    raise UsageError(f"enas-pytorch: {where}a pair must be [node, operation], found {printable(json.dumps(value), 40)}")


def _listed(nodes: Sequence[int]) -> str:
    return printable(", ".join(map(str, nodes)) or "none", 80)


_ALL = (
    Encoding("enas-ptb", "the authors' first code: f0, then predecessor and operation, by number", read_ptb, write_ptb),
    Encoding("enas-lm", "the authors' corrected code: the same without f0, node 0 is tanh", read_lm, write_lm),
    Encoding("darts-rnn", "DARTS: Genotype(recurrent=[('tanh', 0), ...], concat=...)", read_darts, write_darts),
    Encoding("enas-pytorch", 'ENAS-pytorch: its dag.json, or pairs: [[-1, "tanh"], ...]', read_pytorch, write_pytorch),
)
ENCODINGS: Mapping[str, Encoding] = {encoding.name: encoding for encoding in _ALL}
"""The encodings of recurrent cells, by name."""
