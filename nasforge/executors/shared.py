"""The executor of ENAS: one weight bank; a child model is a selection from it (Pham et al. 2018, section 2.1).

One step costs one child: what no open wire demands does not run, and weights that were not selected get no gradient.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor

from nasforge.components import Operation
from nasforge.executors.bank import WeightBank
from nasforge.executors.base import Executor
from nasforge.executors.interpreter import Program
from nasforge.executors.network import GraphCore, Network
from nasforge.graph.plan import plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.recipe import Recipe
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
        self._shapes = task.input_shapes(width)
        self._bank = WeightBank(seed, init_range=recipe.init_range, device=device)
        self._shell = task.shell(width, recipe, seed)
        self._children: OrderedDict[Architecture, Network] = OrderedDict()

    def network(self, architecture: Architecture) -> Network:
        """See `Executor`."""
        network = self._children.pop(architecture, None)
        if network is None:
            plan = plan_architecture(self._supergraph, architecture)
            network = Network(self._shell, GraphCore(Program(plan, self._operations, self._bank, self._shapes)))
        self._children[architecture] = network
        if len(self._children) > CACHED_CHILDREN:
            self._children.popitem(last=False)
        return network

    def values(self) -> Mapping[str, Tensor]:
        """See `Executor`."""
        shell = {f"shell.{name}": p for name, p in self._shell.named_parameters()}
        bank = {f"core.{name}": p for name, p in self._bank.named_parameters().items()}
        return {name: p.detach().to("cpu", copy=True).contiguous() for name, p in {**shell, **bank}.items()}

    def load_values(self, values: Mapping[str, Tensor]) -> None:
        """See `Executor`."""
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
    core = GraphCore(Program(plan, operations, bank, task.input_shapes(width)))
    return Network(task.shell(core.width, recipe, seed), core)
