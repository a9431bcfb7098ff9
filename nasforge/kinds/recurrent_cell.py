"""The recurrent cell of ENAS (Pham et al. 2018, section 2.1): a rooted tree of highway steps.

Node 0 reads the input x_t and the previous state h_{t-1}; every later node l chooses one earlier node p and an
activation f::

    node 0   [u, t] = x_t W_x + (h_{t-1} * m) W_h (+ b)     s_0 = h_{t-1} + sigmoid(t) * (f_0(u) - h_{t-1})
    node l   [u, t] = (s_p * m) W_l                         s_l = s_p + sigmoid(t) * (f_l(u) - s_p)
    output   h_t = mean of s_l over the leaves (or over all nodes, or all but node 0); state and output are the same

m is a dropout mask, drawn once per window of text and the same for all nodes and time steps; None where there is no
dropout. What the paper and each reference code do instead is listed in docs/enas.md.

Where the number of nodes is itself a choice, the decisions of a node exist when the cell is larger than its number, and
each of its wires into the output has one term per size: at size n it is a leaf if no node below n reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from nasforge.components import Options, SpaceKind, Stage
from nasforge.graph.builder import GraphBuilder, TemplateBuilder
from nasforge.graph.supergraph import Chosen, OperationUse
from nasforge.kinds.counting import n_operations, n_widths
from nasforge.kinds.places import Places, Sizes
from nasforge.published.recurrent import ENCODINGS
from nasforge.space.decision import NEVER, Condition, Term, all_of
from nasforge.space.decision import Literal as Sign
from nasforge.space.distinct import rooted_trees
from nasforge.space.search_space import SearchSpace
from nasforge.spec.choices import Activation, ChooseActivation, ChooseCount, ChooseInput, ChooseWidth, Count

SHARE_KEYS: Mapping[str, str] = {
    "node": "node{node}.{side}",
    "edge": "node{node}.{side}.{input}",
    "edge_op": "node{node}.{side}.{input}.{op}",
}
"""Sharing scopes as format strings: which parameter set the matrix of a (node, input, operation) alternative uses."""

SIZE = "nodes"
"""The decision that says how many nodes a cell has, where that is searched."""

_PROJECT = OperationUse("projection", (("bias", False),))


class NodeChoice(Options):
    """What each node after the first chooses.

    Attributes:
        input: the earlier node whose state it reads.
        op: its activation.
    """

    input: ChooseInput = ChooseInput()
    op: ChooseActivation


class FirstNode(Options):
    """Node 0.

    Attributes:
        op: a fixed activation, or a choice. The paper, the authors' first code and ENAS-pytorch search it; the authors'
            corrected code and DARTS fix it to tanh.
    """

    op: Activation | ChooseActivation


class CellOutput(Options):
    """How the new state is formed.

    Attributes:
        combine: ``mean``.
        of: ``leaves`` (nodes that no node reads; the paper), ``all``, or ``all_but_first`` (the search code of the
            authors' corrected version and DARTS, whose node 0 is fixed and left out).
        clip_norm: the largest Euclidean norm of the state per example; longer states are scaled down to it
            (ENAS-pytorch: 25); null for none (the paper).
    """

    combine: Literal["mean"] = "mean"
    of: Literal["leaves", "all", "all_but_first"] = "leaves"
    clip_norm: Annotated[float, Field(gt=0)] | None = 25.0


class RecurrentCellSpec(Options):
    """The ``space`` block of a recurrent cell.

    Attributes:
        kind: ``recurrent_cell``.
        nodes: number of nodes, the first included (the paper: 12); or a choice of several numbers, which is then the
            first decision.
        first: node 0; by default its activation is searched over the same options as every other node's.
        each: what each later node chooses.
        output: how the new state is formed.
        hidden: a choice of several numbers of features, where the width of the state is searched too; otherwise
            ``executor.hidden`` and ``train.hidden`` say it.
        input_bias: whether the x projection of node 0 has a bias (candidate and gate). Off in the paper; without it
            cells with identity activations may not train at a high rate.
    """

    kind: Literal["recurrent_cell"] = "recurrent_cell"
    nodes: Count | ChooseCount
    first: FirstNode | None = None
    each: NodeChoice
    output: CellOutput = CellOutput()
    hidden: ChooseWidth | None = None
    input_bias: bool = True

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of nodes that a cell may have, as written."""
        return (self.nodes,) if isinstance(self.nodes, int) else self.nodes.from_


def build(spec: RecurrentCellSpec, builder: GraphBuilder, stage: Stage) -> None:
    """Emit the decisions and the templates ``cell`` (one time step) and ``main`` (a scan over time).

    The two stages have the same graph. The width of the state is not written into it: shapes are inferred from the
    input, so that search and final training may differ in width; where it is searched, the graph names the decision.

    Args:
        spec: the validated block.
        builder: what is filled.
        stage: which network; its sharing scope is a key of `SHARE_KEYS`.
    """
    share = stage.share
    key = SHARE_KEYS[share]
    places = Places(builder)
    if spec.hidden is not None and isinstance(hidden := places.width("hidden", spec.hidden), Chosen):
        builder.width(hidden)
    sizes = places.sizes(SIZE, spec.nodes)
    most = sizes.most
    cell = builder.template("cell")
    x, h, mask = cell.input("x"), cell.input("h"), cell.input("mask")
    states = [_first_node(spec, places, cell, key, x=x, h=h, mask=mask)]
    masked = {0: cell.op("node0.masked", OperationUse("mask"), [states[0], mask])} if most > 1 else {}
    for node in range(1, most):
        name, exists = f"node{node}", sizes.above(node)
        earlier = [f"node{j}" for j in range(node)]
        source = builder.decision(f"{name}.input", earlier, "input", owner=name, when=exists)
        alternatives = places.operations(f"{name}.op", spec.each.op, owner=name, when=exists)
        wires: list[tuple[str, Condition]] = []
        for j in range(node):
            shared_pre: dict[str, str] = {}
            for label, use, chosen in ((each.label, each.use, each.chosen) for each in alternatives):
                pre = f"{name}.pre.{j}" if share != "edge_op" else f"{name}.pre.{j}.{label}"
                if pre not in shared_pre:
                    weights = key.format(node=node, side="h", input=f"node{j}", op=label)
                    shared_pre[pre] = cell.op(pre, _PROJECT, [masked[j]], share=weights, owner=name)
                step = OperationUse("highway", parts=(use,))
                value = cell.op(f"{name}.{j}.{label}", step, [states[j], pre], owner=name)
                wires.append((value, all_of(Sign(source.name, f"node{j}"), *chosen)))
        states.append(cell.merge(name, "sum", wires, owner=name))
        if node < most - 1:
            masked[node] = cell.op(f"{name}.masked", OperationUse("mask"), [states[node], mask])
    leaves = [(state, when) for node, state in enumerate(states) if (when := _leaf(spec, sizes, node)) != NEVER]
    output = cell.merge("output", "mean", leaves)
    if spec.output.clip_norm is not None:
        clip = OperationUse("clip_norm", (("max_norm", spec.output.clip_norm),))
        output = cell.op("clipped", clip, [output])
    cell.output(output)

    main = builder.template("main")
    inputs, state, mask = main.input("inputs"), main.input("state"), main.input("mask")
    main.output(main.scan("states", "cell", sequence={"x": inputs}, carry={"h": state}, constant={"mask": mask}))


def _first_node(
    spec: RecurrentCellSpec, places: Places, cell: TemplateBuilder, key: str, *, x: str, h: str, mask: str
) -> str:
    """Node 0; the projection of x does not descend from the carry, so executors hoist it out of the time loop."""
    choice = spec.first.op if spec.first else spec.each.op
    masked = cell.op("h.masked", OperationUse("mask"), [h, mask])
    project = OperationUse("projection", (("bias", spec.input_bias),))
    wires: list[tuple[str, Condition]] = []
    per_op = "{op}" in key
    pre = ""
    for each in places.operations("node0.op", choice, owner="node0"):
        if per_op or not pre:
            suffix = f".{each.label}" if per_op else ""
            x_key = key.format(node=0, side="x", input="x", op=each.label)
            h_key = key.format(node=0, side="h", input="h", op=each.label)
            from_x = cell.op(f"node0.x{suffix}", project, [x], share=x_key, owner="node0")
            from_h = cell.op(f"node0.h{suffix}", _PROJECT, [masked], share=h_key, owner="node0")
            pre = cell.op(f"node0.pre{suffix}", OperationUse("add"), [from_x, from_h], owner="node0")
        value = cell.op(f"node0.{each.label}", OperationUse("highway", parts=(each.use,)), [h, pre], owner="node0")
        wires.append((value, all_of(*each.chosen)))
    return cell.merge("node0", "sum", wires, owner="node0")


def _leaf(spec: RecurrentCellSpec, sizes: Sizes, node: int) -> Condition:
    """When node `node` goes into the output, with one term for each size that a cell with it may have."""
    terms: list[Term] = []
    for size in sizes.numbers:
        term = _leaf_at(spec, node, size) if size > node else None
        if term is not None:
            terms.append((*sizes.is_(size), *term))
    return Condition(tuple(terms)) if terms else NEVER


def _leaf_at(spec: RecurrentCellSpec, node: int, size: int) -> Term | None:
    """What lets node `node` into the output of a cell of `size` nodes: nothing, or that no later node chose it.

    Node 1 has no choice but node 0, so node 0 is never a leaf (None) where there are more.
    """
    if spec.output.of == "all" or (spec.output.of == "all_but_first" and node > 0):
        return ()
    if node == 0 and size > 1:
        return None
    return tuple(Sign(f"node{l}.input", f"node{node}", positive=False) for l in range(node + 1, size))


def references(spec: RecurrentCellSpec, stack: None = None) -> Mapping[str, RecurrentCellSpec]:
    """The one-node cell: a single highway step with an identity candidate, by the same recipe.

    It has no hidden-norm clip: its state is a convex combination of past projections.
    """
    identity = OperationUse("identity")
    alone = spec.model_copy(
        update={
            "nodes": 1,
            "first": FirstNode.model_construct(op=identity),
            "output": spec.output.model_copy(update={"clip_norm": None}),
        }
    )
    return {"one_node": alone}


def distinct(spec: RecurrentCellSpec, space: SearchSpace) -> int | None:
    """The number of cells up to the numbering of their nodes: rooted unordered trees, coloured by activations.

    Cells of different sizes differ, so a searched size adds up; a searched width of the state is a factor.

    Node 0, the root, has the colours of its own choice, one where it is fixed. How the output is formed and how weights
    are shared changes nothing: the tree determines both. Where operations are shared by name, there is no formula.
    """
    n_first = n_operations(spec.first.op if spec.first else spec.each.op)
    n_later = n_operations(spec.each.op)
    if n_first is None or n_later is None:
        return None
    cells = sum(rooted_trees(size, n_later, n_first) for size in spec.sizes)
    return cells * n_widths(spec.hidden, spec.nodes)


KIND = SpaceKind(
    name="recurrent_cell",
    summary="a tree of highway steps, called once per time step (ENAS, section 2.1)",
    config=RecurrentCellSpec,
    build=build,
    share=tuple(SHARE_KEYS),
    references=references,
    distinct=distinct,
    encodings=ENCODINGS,
)
