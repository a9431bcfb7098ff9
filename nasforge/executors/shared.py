"""The executor of ENAS: one weight bank; a child model is a selection from it (Pham et al. 2018, section 2.1).

One step costs one child: what no open wire demands does not run, and weights that were not selected get no gradient.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from nasforge.components import Operation
from nasforge.errors import SpaceError
from nasforge.executors.bank import WeightBank
from nasforge.executors.base import Executor
from nasforge.executors.interpreter import Program
from nasforge.executors.network import Core, Network
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.recipe import Recipe
from nasforge.seeds import derive
from nasforge.space.architecture import Architecture
from nasforge.tasks.base import Task

CALIBRATION_STEPS = 20
"""Training batches over which the statistics of batch norms are averaged before a child is ranked."""

CACHED_CHILDREN = 512
"""Bound children that are kept: binding costs about a millisecond, a policy repeats itself late in a search."""


class SharedWeights(Executor):
    """Children on one bank.

    Args:
        supergraph: the compiled space; its share keys say what is shared.
        operations: the catalogue's operations.
        task: gives the shell, which all children share.
        recipe: how weights are initialised.
        width: features of the state.
        seed: derives the initial weights.
        device: where the weights live.
    """

    def __init__(
        self,
        supergraph: Supergraph,
        operations: Mapping[str, Operation],
        task: Task,
        recipe: Recipe,
        *,
        width: int,
        seed: int,
        device: str = "cpu",
    ) -> None:
        self._supergraph = supergraph
        self._operations = operations
        self._task, self._recipe, self._seed = task, recipe, seed
        self._shapes = task.input_shapes(width)
        self._bank = WeightBank(seed, init_range=recipe.init_range, device=device)
        self._shell: nn.Module | None = None
        self._width = 0
        self._items_of_batch = 0
        self._children: OrderedDict[Architecture, Network] = OrderedDict()

    def network(self, architecture: Architecture) -> Network:
        """See `Executor`."""
        network = self._children.pop(architecture, None)
        if network is None:
            plan = plan_architecture(self._supergraph, architecture)
            core = self._task.core(Program(plan, self._operations, self._bank, self._shapes))
            network = Network(self._shell_for(core), core, train_norms="batch", evaluate_norms="batch")
        self._children[architecture] = network
        if len(self._children) > CACHED_CHILDREN:
            self._children.popitem(last=False)
        return network

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

    def calibrated(self, architecture: Architecture) -> Network:
        """See `Executor`: running statistics are averages over `CALIBRATION_STEPS` training batches.

        Their weights are inherited; the statistics in the bank are scratch, and those of the last child.
        """
        network = self.network(architecture)
        if not network.core.statistics:
            return network
        with torch.no_grad():
            for step in range(CALIBRATION_STEPS):
                moving = replace(network, train_norms="update", momentum=1 / (step + 1))
                seed = derive(self._seed, "calibration")
                self._items_of_batch = self._task.loss(moving, self._recipe, step, None, seed).count
        return replace(network, evaluate_norms="fixed")

    def calibration_items(self) -> int:
        """See `Executor`."""
        self.calibrated(self._supergraph.space.sample(random.Random(0)))
        return CALIBRATION_STEPS * self._items_of_batch

    def values(self) -> Mapping[str, Tensor]:
        """See `Executor`."""
        shell = {} if self._shell is None else {f"shell.{name}": p for name, p in self._shell.named_parameters()}
        bank = {f"core.{name}": p for name, p in self._bank.named_parameters().items()}
        return {name: p.detach().to("cpu", copy=True).contiguous() for name, p in {**shell, **bank}.items()}

    def load_values(self, values: Mapping[str, Tensor]) -> None:
        """See `Executor`."""
        if self._shell is None:
            # Any child will do: all have shells of one width.
            self.network(self._supergraph.space.sample(random.Random(0)))
        assert self._shell is not None
        self._shell.load_state_dict({k.removeprefix("shell."): v for k, v in values.items() if k.startswith("shell.")})
        self._bank.load({k.removeprefix("core."): v for k, v in values.items() if k.startswith("core.")})


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
) -> Network:
    """A derived network: the open wires of `architecture` only, with fresh weights of its own.

    Args: as for `SharedWeights`. Two architectures with one seed start from equal weights wherever their nodes' keys
        agree.
    """
    plan = plan_architecture(supergraph, architecture)
    bank = WeightBank(seed, init_range=recipe.init_range, device=device)
    core = task.core(Program(plan, operations, bank, task.input_shapes(width)))
    return Network(task.shell(core.width, recipe, seed), core)
