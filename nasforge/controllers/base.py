"""The protocol of controllers.

A strategy calls, any number of times and in any order, `propose` and then `update` with proposals that it has scored.
A controller knows the decisions of a space and nothing else: neither graphs, nor tasks, nor executors.

A space may have limits (`SearchSpace.rule`). A controller need not keep them: strategies ask through
`nasforge.controllers.limited.within_limits`, which draws again what is outside. But what it makes of its own choices
must then be made with ``space.unlimited``, since ``space.decode`` and ``space.architecture`` refuse what is outside. It
may keep them itself, by ``space.sample``, ``mutate`` and ``cross``, and must if it remembers what it has proposed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace


@dataclass(frozen=True)
class ControllerReport:
    """What one update did; every number is finite.

    Attributes:
        reward: mean reward of the proposals.
        baseline: what was subtracted from the rewards, mean over the proposals.
        entropy: mean entropy of the policy over a whole architecture, in nats; the log of the space's size for uniform
            sampling of unconditional decisions. A controller without a policy says in its `update` what it reports.
        loss: the value that was minimised; 0 where nothing is.
        entropies: of a policy, its mean entropy in nats at each decision, by name, 0 where the decision did not exist.
    """

    reward: float
    baseline: float
    entropy: float
    loss: float
    entropies: Mapping[str, float] = field(default_factory=dict)


class Controller(ABC):
    """Base class; subclasses are final.

    Attributes:
        space: the decisions.
        seed: derives every random stream of the controller (`nasforge.seeds.derive`); nothing else is used.
    """

    def __init__(self, space: SearchSpace, config: Any, *, seed: int, device: str = "cpu") -> None:
        self.space = space
        self.config = config
        self.seed = seed
        self.device = device

    @property
    def remembers(self) -> bool:
        """Whether it compares rewards of one update with those of others, so that all must be on one scale.

        It decides how several objectives become one reward (`nasforge.controllers.aiming`).
        """
        return True

    @abstractmethod
    def propose(self, count: int) -> list[Architecture]:
        """Draw `count` valid architectures from the current policy; repeats are allowed.

        Those outside the limits of the space are thrown away, and others are asked for.
        """

    def most_likely(self, count: int) -> list[Architecture]:
        """Up to `count` different architectures that the policy holds to be the most probable, the best first.

        Only controllers whose kind says so (`nasforge.components.ControllerKind.most_likely`) have it. As with
        `propose`, those outside the limits are thrown away. The next call gives the same, unless an update was between.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot say what is most likely")

    @abstractmethod
    def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
        """Learn from one group of scored proposals; higher rewards are better.

        Args:
            proposals: architectures of the space within its limits, at least one; not necessarily drawn by this
                controller.
            rewards: one finite number each.

        Raises:
            ValueError: lengths differ, nothing is given, or a reward is not finite.
        """

    @abstractmethod
    def state(self) -> Mapping[str, Any]:
        """Everything that `load_state` needs to go on exactly: tensors, numbers, strings, dicts and lists."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, bit for bit on the same machine type, torch version and thread count."""


class VectorController(Controller):
    """A controller that learns from several objectives at a time, too. Base class; subclasses are final."""

    @abstractmethod
    def update_on(self, proposals: Sequence[Architecture], values: Sequence[tuple[float, ...]]) -> ControllerReport:
        """As `update`, with a vector in place of each reward; in the report, `reward` is the mean of the first parts.

        One controller is told vectors of one length; `update` tells it those of length 1.

        Args:
            proposals: see `update`.
            values: a vector of finite numbers each, all of one length; higher is better in each part.

        Raises:
            ValueError: lengths differ, nothing is given, or a number is not finite.
        """
