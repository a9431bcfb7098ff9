"""How a step grows: with the child, not with the space that it was drawn from; in time, and in memory above the bank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from nasforge.components import Shape
from nasforge.controllers.lstm import LstmController
from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.executors.network import GraphCore
from nasforge.executors.recurrent import FusedCore, RecurrentBackend, recurrent_core
from nasforge.graph.count import Meter
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.kinds.macro_network import CHOSEN, LEFT_OUT
from nasforge.space.decision import Decision
from nasforge.space.search_space import SearchSpace
from tests.benchmarks.harness import Design, Row, Size, compare, compare_memory
from tests.benchmarks.recurrent import backends
from tests.helpers import shapes as shapes_of_cell
from tests.random_specs import CATALOGUE, supergraph_of

GROWTH: Mapping[str, int] = {"operations": 0, "layers": 1, "nodes": 1, "batch": 1, "channels": 2, "hidden": 2}
"""How a child grows along an axis: the power of the axis' value that its weights, or its values, grow with."""

MARGIN = 1.1
"""A step may grow by so much more than the child."""

WORDS = 35
"""Words of a window of the recurrent cells."""


def _operations(count: int) -> list[Any]:
    """That many operations, of which the first four are the same for every number."""
    first: list[Any] = ["identity", {"conv": {"kernel": 3}}, {"avg_pool": {"kernel": 3}}, {"sep_conv": {"kernel": 3}}]
    return [*first, *({"se": {"ratio": ratio}} for ratio in range(1, count - 3))][:count]


def _macro(layers: int, operations: int, channels: int, side: int) -> Supergraph:
    each = {"op": {"choose": 1, "from": _operations(operations)}}
    block = {"kind": "macro_network", "layers": layers, "each": each, "image": [3, side, side], "channels": channels}
    return supergraph_of(block)


def _cell(nodes: int) -> Supergraph:
    each = {"op": {"choose": 1, "from": ["tanh", "relu", "sigmoid", "identity"]}}
    return supergraph_of({"kind": "recurrent_cell", "nodes": nodes, "each": each}, share="edge")


def _full_bank(supergraph: Supergraph, shapes: Mapping[str, Shape]) -> WeightBank:
    """A bank with every weight of the space: they are there, and must cost a child nothing."""
    bank = WeightBank(0, init_range=0.04)
    decisions = supergraph.space.decisions
    for number in range(max(len(decision.options) for decision in decisions)):
        chosen = {decision.name: decision.options[number % len(decision.options)] for decision in decisions}
        Program(plan_architecture(supergraph, chosen), CATALOGUE.operations, bank, shapes)
    held = sum(parameter.numel() for parameter in bank.named_parameters().values())
    wanted = Meter(supergraph, CATALOGUE.operations, lambda _: shapes).bank()
    assert held == wanted, f"the bank holds {held} of {wanted} weights"
    return bank


def _image_step(supergraph: Supergraph, image: torch.Tensor) -> Callable[[], None]:
    """A step: the child is bound, runs, and gives its gradients. Its layers do the first four operations in turn."""
    shapes = {"image": tuple(image.shape[1:])}
    bank = _full_bank(supergraph, shapes)
    chosen = {decision.name: decision.options[0] for decision in supergraph.space.decisions}
    operations = [decision for decision in supergraph.space.decisions if decision.role == "op"]
    chosen |= {decision.name: decision.options[index % 4] for index, decision in enumerate(operations)}

    def call() -> None:
        program = Program(plan_architecture(supergraph, chosen), CATALOGUE.operations, bank, shapes)
        program({"image": image}).square().mean().backward()
        for parameter in program.parameters.values():
            parameter.grad = None

    return call


def _cell_step(supergraph: Supergraph, batch: int, width: int, backend: RecurrentBackend) -> Callable[[], None]:
    """The same of a cell, as one function over the window; node k reads node (k - 1) // 2."""
    shapes = shapes_of_cell(width)
    bank = _full_bank(supergraph, shapes)
    chosen: dict[str, str] = {}
    for decision in supergraph.space.decisions:
        node = int(decision.owner.removeprefix("node"))
        chosen[decision.name] = decision.options[node % 4 if decision.role == "op" else (node - 1) // 2]
    inputs, mask = torch.randn(WORDS, batch, width), torch.ones(batch, width)

    def call() -> None:
        program = Program(plan_architecture(supergraph, chosen), CATALOGUE.operations, bank, shapes)
        core = recurrent_core(GraphCore(program), backend)
        assert isinstance(core, FusedCore)
        core(inputs, core.start(batch, inputs), mask)[0].square().mean().backward()
        for parameter in program.parameters.values():
            parameter.grad = None

    return call


def _marked(axis: str, steps: Mapping[int, Callable[[], None]]) -> dict[str, Design]:
    """The steps by the value of the axis; all but the smallest have a mark."""
    smallest = min(steps)
    return {
        f"{value} {axis}": Design(call, mark=None if value == smallest else MARGIN * (value / smallest) ** GROWTH[axis])
        for value, call in steps.items()
    }


def _images(axis: str, values: list[int], side: int, batch: int) -> dict[str, Design]:
    """One child of growing spaces (operations), or growing children."""
    steps: dict[int, Callable[[], None]] = {}
    for value in values:
        at = {"layers": 8, "operations": 4, "channels": 8, "batch": batch} | {axis: value}
        image = torch.randn(at["batch"], 3, side, side).to(memory_format=torch.channels_last)
        steps[value] = _image_step(_macro(at["layers"], at["operations"], at["channels"], side), image)
    return _marked(axis, steps)


def _cells(axis: str, values: list[int], batch: int, width: int) -> dict[str, Design]:
    """Growing recurrent cells."""
    # Buffers of another size are of no use to a step, so that each has its own.
    steps: dict[int, Callable[[], None]] = {}
    for value in values:
        at = {"nodes": 12, "batch": batch, "hidden": width} | {axis: value}
        backend = list(backends().values())[-1]
        steps[value] = _cell_step(_cell(at["nodes"]), at["batch"], at["hidden"], backend)
    return _marked(axis, steps)


def _layers(count: int) -> SearchSpace:
    """The decisions of a macro network of any number of layers; the kind itself allows 64."""
    decisions: list[Decision] = []
    for layer in range(1, count + 1):
        owner = f"layer{layer}"
        decisions.append(Decision(f"{owner}.op", ("a", "b", "c", "d"), "op", owner))
        earlier = (f"{owner}.skip.{value}" for value in range(layer - 1))
        decisions += (Decision(name, (LEFT_OUT, CHOSEN), "bit", owner) for name in earlier)
    return SearchSpace(decisions)


def _controllers(layers: list[int]) -> dict[str, Design]:
    """Sampling and update, per decision."""
    designs: dict[str, Design] = {}
    for count in layers:
        space = _layers(count)
        controller = LstmController(space, None, seed=0)

        def call(controller: LstmController = controller) -> None:
            controller.update(controller.propose(4), [0.0, 1.0, 2.0, 3.0])

        mark = MARGIN if designs else None
        designs[f"{len(space):,} decisions, per decision"] = Design(call, len(space), mark=mark)
    return designs


def run(size: Size) -> list[Row]:
    """Each axis alone; a ratio is against the smallest value of its axis."""
    side, batch, rounds = {"full": (16, 32, 12), "quick": (8, 16, 4), "tiny": (4, 2, 1)}[size]
    rows: list[Row] = []

    def both(name: str, designs: Mapping[str, Design]) -> None:
        # Memory first, so that buffers that are kept from step to step are counted.
        memory = compare_memory(f"growth: {name}, memory of a step above the bank", designs)
        rows.extend(compare(f"growth: {name}, time of a step", designs, rounds=rounds) + memory)

    images = {
        "operations": [4, 8] if size == "tiny" else [4, 16, 64],
        "layers": {"full": [4, 12, 24, 48], "quick": [4, 12, 24], "tiny": [4, 8]}[size],
        "batch": [batch, 2 * batch, 4 * batch],
        "channels": [4, 8] if size == "tiny" else [8, 16, 32],
    }
    for axis, values in images.items():
        both(f"networks of images, {axis}", _images(axis, values, side, batch))
    width = {"full": 200, "quick": 64, "tiny": 8}[size]
    cells = {
        "nodes": {"full": [4, 12, 24, 48], "quick": [4, 12, 24], "tiny": [2, 3]}[size],
        "batch": [batch // 2, batch, 2 * batch],
        "hidden": [width // 2, width, 2 * width],
    }
    for axis, values in cells.items():
        both(f"recurrent cells, {axis}", _cells(axis, values, batch // 2, width))
    decisions = {"full": [10, 44, 141], "quick": [10, 44], "tiny": [3, 4]}[size]
    controllers = _controllers(decisions)
    name = "growth: decisions of the controller"
    return rows + [
        *compare(f"{name}, time of an update", controllers, rounds=1 + rounds // 6),
        *compare_memory(f"{name}, memory of an update", controllers),
    ]
