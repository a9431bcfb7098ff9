"""The executor of ENAS: one weight bank; a child model is a selection from it (Pham et al. 2018, section 2.1).

One step costs one child: what no open wire demands does not run, and weights that were not selected get no gradient.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from nasforge.components import Operation, Precision, Shape
from nasforge.errors import SpaceError
from nasforge.executors.bank import WeightBank
from nasforge.executors.base import Executor
from nasforge.executors.calibration import CALIBRATION_STEPS, calibrate
from nasforge.executors.interpreter import Program
from nasforge.executors.network import Addition, Core, Network
from nasforge.executors.norms import Use
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.recurrent import RecurrentBackend, recurrent_core
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.recipe import Recipe
from nasforge.seeds import derive
from nasforge.space.architecture import Architecture
from nasforge.tasks.base import Task

CACHED_CHILDREN = 512
"""Bound children that are kept: binding costs about a millisecond, a policy repeats itself late in a search."""


class SharedWeights(Executor):
    """Children on one bank.

    Args:
        supergraph: the compiled space; its share keys say what is shared.
        operations: the catalogue's operations.
        task: gives the shell, which all children share.
        recipe: how weights are initialised, and what training has beside the network.
        config: the ``executor`` block.
        seed: derives the initial weights.
        device: where the weights live.
        backend: how recurrent cells run; None for the interpreter.
    """

    def __init__(
        self,
        supergraph: Supergraph,
        operations: Mapping[str, Operation],
        task: Task,
        recipe: Recipe,
        config: SharedWeightsOptions,
        *,
        seed: int,
        device: str = "cpu",
        backend: RecurrentBackend | None = None,
    ) -> None:
        self._supergraph = supergraph
        self._operations = operations
        self._task, self._recipe, self._seed = task, recipe, seed
        self._backend = backend
        self._precision = config.precision
        self._own_task = task.alone()
        self._running = config.norms == "running"
        self._shapes = task.input_shapes(config.hidden)
        self._bank = WeightBank(seed, init_range=recipe.init_range, device=device)
        self._shell: nn.Module | None = None
        self._training_shell: nn.Module | None = None
        self._width = 0
        self._output_shapes: Mapping[str, Shape] = {}
        self._put_back: Mapping[str, Tensor] = {}
        self._items_of_batch = 0
        self._children: OrderedDict[Architecture, Network] = OrderedDict()
        # Those that were the first to use some weights, in their order: bound again, all weights are there again.
        self._first_users: list[Architecture] = []

    def network(self, architecture: Architecture) -> Network:
        """See `Executor`."""
        self._bank.put_back(self._put_back)
        self._put_back = {}
        network = self._children.pop(architecture, None)
        if network is None:
            network = self._bound(architecture)
        self._children[architecture] = network
        if len(self._children) > CACHED_CHILDREN:
            self._children.popitem(last=False)
        return network

    def _bound(self, architecture: Architecture) -> Network:
        allocated, shell_there = len(self._bank), self._shell is not None
        network = self._on_the_bank(architecture)
        if len(self._bank) > allocated or not shell_there:
            self._first_users.append(architecture)
        return network

    def _on_the_bank(self, architecture: Architecture) -> Network:
        core, whole = cores(
            self._supergraph,
            architecture,
            self._operations,
            self._task,
            self._recipe,
            self._bank,
            self._shapes,
            self._backend,
        )
        shell, addition = self._shell_for(core), None
        if whole is not None:
            addition = Addition(whole, self._training_shell_for(whole))
        train: Use = "update" if self._running else "batch"
        evaluate: Use = "fixed" if self._running else "batch"
        return Network(shell, core, train, evaluate, addition=addition, precision=self._precision)

    def _shell_for(self, core: Core) -> nn.Module:
        """The one shell of all children, which is as wide as the first of them."""
        if self._shell is None:
            self._shell, self._width = self._task.shell(core.width, self._recipe, self._seed), core.width
        if core.width != self._width:
            raise SpaceError(
                f"the networks of this space end in {self._width} or {core.width} channels, so that they cannot share "
                "the layers around them"
            )
        return self._shell

    def _training_shell_for(self, core: Core) -> nn.Module:
        """The one shell behind outputs on the way, for values of the shapes that the first child has."""
        if self._training_shell is None:
            self._training_shell = self._task.training_shell(core, self._recipe, self._seed)
            self._output_shapes = dict(core.output_shapes)
        if core.output_shapes != self._output_shapes:
            raise SpaceError(
                f"the outputs of this space's networks have the shapes {self._output_shapes} or "
                f"{dict(core.output_shapes)}, so that they cannot share the layers behind them"
            )
        return self._training_shell

    def calibrated(self, architecture: Architecture) -> Network:
        """See `Executor`: running statistics are averages over `CALIBRATION_STEPS` training batches.

        Weights are inherited. The statistics in the bank are scratch, and those of the last child; where they are those
        that the search moved, they are put back at the next call. The batches are those of one rank, the same on each,
        whichever of a team calibrates the child.
        """
        network = self.network(architecture)
        if not network.core.statistics:
            return network
        if self._running:
            self._put_back = {name: value.clone() for name, value in network.core.statistics.items()}
        seed = derive(self._seed, "calibration")
        self._items_of_batch = calibrate(network, self._own_task, self._recipe, CALIBRATION_STEPS, seed=seed)
        return replace(network, evaluate_norms="fixed")

    def calibration_items(self) -> int:
        """See `Executor`."""
        self.calibrated(self._supergraph.space.sample(random.Random(0)))
        return CALIBRATION_STEPS * self._items_of_batch

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """See `Executor`."""
        core = {f"core.{name}": parameter for name, parameter in self._bank.named_parameters().items()}
        return {**self._shell_parameters(), **core}

    def _shell_parameters(self) -> dict[str, nn.Parameter]:
        shells = {"shell": self._shell, "training": self._training_shell}
        return {
            f"{prefix}.{name}": parameter
            for prefix, shell in shells.items()
            if shell is not None
            for name, parameter in shell.named_parameters()
        }

    def state(self) -> Mapping[str, Any]:
        """See `Executor`: the weights, and the architectures that were the first to use some of them."""
        return {**super().state(), "first_users": [dict(architecture) for architecture in self._first_users]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """See `Executor`."""
        for architecture in state["first_users"]:
            self.network(self._supergraph.space.architecture(architecture))
        if state["first_users"]:
            super().load_state(state)

    def values(self) -> Mapping[str, Tensor]:
        """See `Executor`."""
        self._bank.put_back(self._put_back)
        self._put_back = {}
        own = self._shell_parameters()
        bank = self._bank.values(statistics=self._running)
        named = {**own, **{f"core.{name}": value for name, value in bank.items()}}
        return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in named.items()}

    def load_values(self, values: Mapping[str, Tensor]) -> None:
        """See `Executor`."""
        self._put_back = {}
        if self._shell is None:
            # Any child will do: all have shells of one width.
            self.network(self._supergraph.space.sample(random.Random(0)))
        assert self._shell is not None
        self._shell.load_state_dict(_without("shell.", values))
        if self._training_shell is not None:
            self._training_shell.load_state_dict(_without("training.", values))
        self._bank.load(_without("core.", values))


def _without(prefix: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def cores(
    supergraph: Supergraph,
    architecture: Architecture,
    operations: Mapping[str, Operation],
    task: Task,
    recipe: Recipe,
    bank: WeightBank,
    shapes: Mapping[str, Shape],
    backend: RecurrentBackend | None,
) -> tuple[Core, Core | None]:
    """A child on weights of `bank`, and the same child with the outputs that training asks for, where it asks for some.

    Raises:
        SpaceError: the networks have no such output.
    """
    program = Program(plan_architecture(supergraph, architecture), operations, bank, shapes)
    core = recurrent_core(task.core(program), backend)
    if not recipe.training_outputs:
        return core, None
    whole = plan_architecture(supergraph, architecture, list(recipe.training_outputs.values()))
    return core, task.core(Program(whole, operations, bank, shapes))


def standalone(
    supergraph: Supergraph,
    architecture: Architecture,
    operations: Mapping[str, Operation],
    task: Task,
    recipe: Recipe,
    *,
    width: int,
    seed: int,
    device: str = "cpu",
    backend: RecurrentBackend | None = None,
    precision: Precision = "float32",
) -> Network:
    """A derived network: the open wires of `architecture` only, with fresh weights of its own.

    Args: as for `SharedWeights`; `width` is the number of features where the space does not say it, `backend` says
        how recurrent cells run, None for the interpreter, `precision` in which type products are computed. Two
        architectures with one seed start from equal weights wherever their nodes' keys agree.
    """
    bank = WeightBank(seed, init_range=recipe.init_range, device=device)
    shapes = task.input_shapes(width)
    core, whole = cores(supergraph, architecture, operations, task, recipe, bank, shapes, backend)
    addition = None if whole is None else Addition(whole, task.training_shell(whole, recipe, seed))
    return Network(task.shell(core.width, recipe, seed), core, addition=addition, precision=precision)
