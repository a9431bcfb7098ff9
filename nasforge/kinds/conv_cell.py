"""The convolutional cells of ENAS (Pham et al. 2018, section 2.4, "micro"; after NASNet, Zoph et al. 2018).

A cell reads the outputs of the two cells before it, ``in0`` (the older) and ``in1``. Each of its nodes 2, 3, ... adds
the results of a few branches; a branch chooses one earlier node or input and one operation::

    y_i = op_1(y_j1) + op_2(y_j2)          j1, j2 < i

The output concatenates what no node reads, an unread input of the cell included (the authors' code), or all nodes
(DARTS). Normal cells keep the image's size, reduction cells halve it and double the channels; the two are searched
apart.

The two stages are two networks over the same decisions (differences as in the authors' code):

- search: concatenation and a 1x1 convolution are a sum of one projection per value, since which values there are
  differs; a reduction cell runs at half size behind a factorised reduction.
- final: real concatenation; the operations of a reduction cell that read its inputs have stride 2; input 1 passes one
  more 1x1 convolution; usually more cells and channels (``train.stack``). Both inputs are always brought to the cell's
  channels by a 1x1 convolution, where the code leaves it out if the number is right by chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nasforge.components import Shape, SpaceKind, Stage
from nasforge.errors import SpaceError
from nasforge.graph.builder import GraphBuilder, TemplateBuilder
from nasforge.graph.supergraph import Chosen, OperationUse
from nasforge.kinds.conv_options import CellName, ConvCellSpec, FinalStack, Stack
from nasforge.kinds.counting import n_operations, n_widths, numbers
from nasforge.kinds.macro_network import MacroNetworkSpec, plain_network
from nasforge.kinds.places import Places, Sizes, given, most_halvings, network_op, scaled
from nasforge.published.conv import ENCODINGS
from nasforge.space.decision import ALWAYS, NEVER, Condition, Term, all_of
from nasforge.space.decision import Literal as Sign
from nasforge.space.distinct import acyclic_cells
from nasforge.space.search_space import SearchSpace

SHARE_KEYS: Mapping[str, str] = {
    "edge_op": "node{node}.{branch}.{input}.{op}",
    "branch_op": "node{node}.{branch}.{op}",
    "node_op": "node{node}.{op}",
}
"""Sharing scopes as format strings: which parameter set an alternative (node, branch, input, operation) uses. The
authors' code shares by edge_op."""

INPUTS = ("in0", "in1")
FIRST_NODE = 2
"""The number of the first node: 0 and 1 are the inputs."""

NEVER_DROPPED = ("identity", "zero")
"""Operations that drop-path leaves alone."""

MOST_COUNTED = 20
"""Nodes of the largest cells that are counted up to their numbering: about a second."""

STEM = 3
"""Channels of the stem, times those of the first cell."""


@dataclass(frozen=True)
class _Value:
    """A value of the main template: a node, its channels as a multiple of the base width, and how often it was halved.

    The factor is None where the number of channels differs between architectures (concatenations).
    """

    node: str
    factor: int | None
    halvings: int


def build(spec: ConvCellSpec, builder: GraphBuilder, stage: Stage) -> None:
    """Emit the decisions, one template per searched cell, and ``main``: the image to the features of the last cell.

    Args:
        spec: the validated block.
        builder: what is filled.
        stage: which network; its sharing scope is a key of `SHARE_KEYS`, its stack a `FinalStack`.

    Raises:
        SpaceError: the final stack names channels that the space searches, or a cell without a place in the stack.
    """
    final = stage.name == "final"
    stack = _stack_of(spec, stage)
    places = Places(builder)
    for cell in spec.cells:
        _cell(spec, places, builder.template(cell), cell, stage)
    main = builder.template("main")
    width = places.width("channels", stack.channels)
    network = _Network(main, width, final)
    stem = _Value(main.op("stem", network_op("stem", out=scaled(width, STEM)), [main.input("image")]), STEM, 0)
    older, newer, factor = stem, stem, 1
    cells = [cell for block in range(stack.reductions + 1) for cell in _cells_of(block, stack)]
    # The first normal cell after the last reduction (the authors' code); without reductions two thirds up, as in DARTS.
    tapped = len(cells) - stack.normal if stack.reductions else 2 * len(cells) // 3
    for number, cell in enumerate(cells):
        name = f"cell{number}"
        halvings = newer.halvings
        if cell == "reduction":
            factor *= 2
            halvings += 1
            if cell not in spec.cells:
                older, newer = (
                    network.reduced(f"{name}.in0", older, factor),
                    network.reduced(f"{name}.in1", newer, factor),
                )
                continue
            if not final:
                older, newer = newer, network.reduced(f"{name}.reduced", newer, factor)
        inputs = network.calibrated(name, older, newer, factor)
        # The deeper a cell, the more of it is dropped (the authors' code).
        node = main.call(name, cell, inputs, scope=name, owner=name, drop=(number + 1) / len(cells))
        if number == tapped:
            main.named_output("auxiliary", node)
        older, newer = newer, _Value(node, None if final else factor, halvings)
    main.output(main.op("features", OperationUse("rectify"), [newer.node]))


def _stack_of(spec: ConvCellSpec, stage: Stage) -> Stack:
    over = {} if stage.stack is None else {k: v for k, v in dict(stage.stack).items() if v is not None}
    if "channels" in over and not isinstance(spec.stack.channels, int):
        raise SpaceError("train.stack.channels cannot be given where the space searches the channels: leave it out")
    stack = spec.stack.model_copy(update=over)
    if "reduction" in spec.cells and stack.reductions == 0:
        raise SpaceError("train.stack.reductions must be at least 1: the space searches reduction cells")
    most = most_halvings(spec.image)
    if stack.reductions > most:
        size = f"{spec.image[1]}x{spec.image[2]}"
        raise SpaceError(
            f"train.stack.reductions can be at most {most} for images of {size} pixels, found {stack.reductions}"
        )
    return stack


def _cells_of(block: int, stack: Stack) -> list[CellName]:
    """The cells of a block; every block but the first begins with a reduction."""
    normal: list[CellName] = ["normal"] * stack.normal
    return ["reduction", *normal] if block else normal


class _Network:
    """Adds the plumbing of the main template: what brings the inputs of a cell to its size and channels."""

    def __init__(self, main: TemplateBuilder, width: int | Chosen, final: bool) -> None:
        self._main, self._width, self._final = main, width, final

    def reduced(self, name: str, value: _Value, factor: int, *, relu: bool = False) -> _Value:
        """Half the size, by a factorised reduction."""
        use = network_op("factorised_reduction", out=scaled(self._width, factor), relu=relu)
        return _Value(self._main.op(name, use, [value.node]), factor, value.halvings + 1)

    def calibrated(self, cell: str, older: _Value, newer: _Value, factor: int) -> list[str]:
        """The inputs of a cell: of the size of the newer one, each with `factor` times the base channels."""
        if older.halvings < newer.halvings:
            first = self.reduced(f"{cell}.in0", older, factor, relu=True).node
        else:
            first = self._projected(f"{cell}.in0", older, factor)
        second = self._projected(f"{cell}.in1", newer, factor)
        if self._final:
            second = self._main.op(f"{cell}.base", self._calibrate(factor), [second])
        return [first, second]

    def _projected(self, name: str, value: _Value, factor: int) -> str:
        if value.factor == factor:
            return value.node
        return self._main.op(name, self._calibrate(factor), [value.node])

    def _calibrate(self, factor: int) -> OperationUse:
        return network_op("calibrate", out=scaled(self._width, factor))


def _cell(spec: ConvCellSpec, places: Places, cell: TemplateBuilder, prefix: str, stage: Stage) -> None:
    """One cell; the owner of a node is ``CELL.nodeN``, that of its branch ``CELL.nodeN.B``."""
    final = stage.name == "final"
    # A network that is trained alone shares nothing between its branches.
    key = SHARE_KEYS["edge_op" if final else stage.share]
    sizes = places.sizes(f"{prefix}.nodes", spec.nodes)
    values = [cell.input(name) for name in INPUTS]
    for node in range(FIRST_NODE, FIRST_NODE + sizes.most):
        name, owner = f"node{node}", f"{prefix}.node{node}"
        exists = sizes.above(node - FIRST_NODE)
        branches = range(1, spec.each.branches + 1)
        earlier = [f"{prefix}.{value}" for value in values]
        for branch in branches:
            places.decision(f"{owner}.input{branch}", earlier, "input", owner=owner, when=exists)
        wires: list[tuple[str, Condition]] = []
        for branch in branches:
            for each in places.operations(f"{owner}.op{branch}", spec.each.op, owner=owner, when=exists):
                for value in values:
                    strided = final and prefix == "reduction" and value in INPUTS
                    result = cell.op(
                        f"{name}.{branch}.{value}.{each.label}",
                        _strided(each.use) if strided else each.use,
                        [value],
                        share=key.format(node=node, branch=branch, input=value, op=each.label),
                        owner=f"{owner}.{branch}" if spec.each.branches > 1 else owner,
                        # Never the identity (the authors' code, DARTS), and no value that nothing is added to.
                        drop=float(spec.each.branches > 1 and each.use.name not in NEVER_DROPPED),
                    )
                    reads = Sign(f"{owner}.input{branch}", f"{prefix}.{value}")
                    wires.append((result, all_of(reads, *each.chosen)))
        values.append(cell.merge(name, "sum", wires, owner=owner))
    ends = [(value, when) for value in values if (when := _end(spec, sizes, prefix, values, value)) != NEVER]
    if final:
        # An input that goes into the output of a reduction cell must be halved as well.
        halve = network_op("factorised_reduction", out=None, relu=False)
        if prefix == "reduction":
            ends = [(cell.op(f"{v}.halved", halve, [v]) if v in INPUTS else v, when) for v, when in ends]
        cell.output(cell.merge("output", "concat", ends))
    else:
        projected = [(cell.op(f"output.{v}", OperationUse("project"), [v]), when) for v, when in ends]
        cell.output(cell.op("output.norm", OperationUse("batch_norm"), [cell.merge("output", "sum", projected)]))


def _strided(use: OperationUse) -> OperationUse:
    """The same operation at half the size; identity has no stride of its own."""
    if use.name == "identity":
        return network_op("factorised_reduction", out=None, relu=False)
    return given(use, stride=2)


def _end(spec: ConvCellSpec, sizes: Sizes, prefix: str, values: list[str], value: str) -> Condition:
    """When `value` goes into the output of its cell, with one term for each size that the cell may have."""
    at = values.index(value)
    terms: list[Term] = []
    for size in sizes.numbers:
        last = FIRST_NODE + size
        if at >= last or (spec.output.of == "all" and value in INPUTS):
            continue
        unread = () if spec.output.of == "all" else range(max(at + 1, FIRST_NODE), last)
        branches = range(1, spec.each.branches + 1)
        terms.append(
            (
                *sizes.is_(size),
                *(
                    Sign(f"{prefix}.node{later}.input{branch}", f"{prefix}.{value}", positive=False)
                    for later in unread
                    for branch in branches
                ),
            )
        )
    if not terms:
        return NEVER
    return ALWAYS if ALWAYS.terms[0] in terms else Condition(tuple(terms))


def references(spec: ConvCellSpec, stack: FinalStack | None) -> Mapping[str, MacroNetworkSpec]:
    """``plain``: a chain of as many 3x3 convolutions as there are cells, of the same channels, without skips."""
    whole = _stack_of(spec, Stage("final", "", stack))
    if not isinstance(whole.channels, int):
        return {}
    cells = [cell for block in range(whole.reductions + 1) for cell in _cells_of(block, whole)]
    reduce_after = tuple(index for index, cell in enumerate(cells) if cell == "reduction")
    return {"plain": plain_network(spec.image, len(cells), whole.channels, reduce_after)}


def shapes(spec: ConvCellSpec) -> Mapping[str, Shape]:
    """The image."""
    return {"image": spec.image}


def distinct(spec: ConvCellSpec, space: SearchSpace) -> int | None:
    """The number of pairs of cells up to the numbering of their nodes; the inputs are told apart, branches are not.

    What goes into the output follows from what is read. Cells of different sizes differ, so a searched size adds up.
    Where operations are shared by name, there is no formula; that for large cells takes too long.
    """
    n_branch, sizes = n_operations(spec.each.op), numbers(spec.nodes)
    if n_branch is None or max(sizes) > MOST_COUNTED:
        return None
    by_size = acyclic_cells(max(sizes), len(INPUTS), spec.each.branches, n_branch)
    counts = [by_size[size] for size in sizes]
    networks = sum(counts)
    if len(spec.cells) == 2:
        together = not isinstance(spec.nodes, int) and spec.nodes.use
        # A size that is shared by name is one decision of both cells.
        networks = sum(count * count for count in counts) if together else networks * networks
    return networks * n_widths(spec.stack.channels, spec.nodes)


KIND = SpaceKind(
    name="conv_cell",
    summary="cells of convolutions and poolings, stacked into a network (ENAS micro, NASNet, DARTS)",
    config=ConvCellSpec,
    build=build,
    share=tuple(SHARE_KEYS),
    distinct=distinct,
    encodings=ENCODINGS,
    references=references,
    shapes=shapes,
    stack=FinalStack,
)
