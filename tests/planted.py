"""Rewards whose best architecture is known, to see whether a controller learns what can be learnt."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from nasforge.controllers.base import Controller
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import LstmOptions
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.space.decision import Decision
from nasforge.space.search_space import SearchSpace

BLOCKS: Mapping[str, dict[str, Any]] = {
    "recurrent_cell": {
        "kind": "recurrent_cell",
        "nodes": 4,
        "each": {"op": {"choose": 1, "from": ["tanh", "relu", "sigmoid", "identity"]}},
    },
    "conv_cell": {
        "kind": "conv_cell",
        "nodes": 1,
        "each": {
            "branches": 2,
            "op": {"choose": 1, "from": ["identity", {"conv": {"kernel": 3}}, {"avg_pool": {"kernel": 3}}]},
        },
        "stack": {"normal": 1, "reductions": 1, "channels": 4},
    },
    "macro_network": {
        "kind": "macro_network",
        "layers": 4,
        "each": {
            "op": {"choose": 1, "from": ["identity", {"conv": {"kernel": 3}}, {"avg_pool": {"kernel": 3}}]},
            "skips": {"choose": "any", "from": "previous"},
        },
    },
}
"""A small space of each kind: few enough architectures to know the reward of every one."""

Reward = Callable[[Architecture], float]


def additive(space: SearchSpace, seed: int) -> Reward:
    """What each choice is worth by itself, N(0, 1) for each option of each decision."""
    rng = stream(seed, "planted", "additive")
    worth = {(decision.name, option): rng.gauss(0, 1) for decision in space.decisions for option in decision.options}
    return lambda architecture: sum(worth[choice] for choice in architecture.choices)


def interacting(space: SearchSpace, seed: int) -> Reward:
    """Beside that, what pairs of choices are worth together: of each two decisions in a row, N(0, 1) for each pair."""
    alone, rng = additive(space, seed), stream(seed, "planted", "pairs")
    together = {
        ((one.name, a), (other.name, b)): rng.gauss(0, 1)
        for one, other in itertools.pairwise(space.decisions)
        for a, b in itertools.product(one.options, other.options)
    }
    return lambda architecture: (
        alone(architecture) + sum(together.get(pair, 0.0) for pair in itertools.pairwise(architecture.choices))
    )


REWARDS: Mapping[str, Callable[[SearchSpace, int], Reward]] = {"additive": additive, "interacting": interacting}


@dataclass(frozen=True)
class Learned:
    """What a controller knows at the end.

    Attributes:
        better: of the best architecture that it proposed, the share of the space that is better; 0 for the optimum.
        mean: of its last 100 proposals, the mean share of the space that is better.
    """

    better: float
    mean: float


def learn(controller: Controller, reward: Reward, n_proposals: int, group: int) -> Learned:
    """Propose, score without noise, update."""
    everything = sorted(map(reward, controller.space.everything()))

    def better(value: float) -> float:
        return 1 - bisect_right(everything, value) / len(everything)

    seen: list[float] = []
    while len(seen) < n_proposals:
        proposals = controller.propose(group)
        rewards = [reward(each) for each in proposals]
        controller.update(proposals, rewards)
        seen += rewards
    return Learned(better(max(seen)), sum(map(better, seen[-100:])) / 100)


@dataclass(frozen=True)
class Reached:
    """After how many proposals a controller was near the optimum; None where it never was.

    Near is a share of the way from the mean reward of the space, which uniform proposals have, to its best: (R - mean) /
    (best - mean).

    Attributes:
        best: until its best proposal so far was near.
        mean: until its last ten proposals were, on average.
    """

    best: int | None
    mean: int | None


def reach(controller: Controller, reward: Reward, n_proposals: int, group: int, share: float = 0.95) -> Reached:
    """Propose, score without noise, update, until both are reached or `n_proposals` made."""
    everything = list(map(reward, controller.space.everything()))
    mean = sum(everything) / len(everything)
    near = mean + share * (max(everything) - mean)
    seen: list[float] = []
    best = average = None
    while len(seen) < n_proposals and (best is None or average is None):
        proposals = controller.propose(group)
        rewards = [reward(each) for each in proposals]
        controller.update(proposals, rewards)
        for value in rewards:
            seen.append(value)
            if best is None and value >= near:
                best = len(seen)
            if average is None and len(seen) >= 10 and sum(seen[-10:]) >= 10 * near:
                average = len(seen)
    return Reached(best, average)


# Conditioning --------------------------------------------------------------------------------------------------------

N_OPTIONS = 4
PAIR = SearchSpace(Decision(name, ("a", "b", "c", "d"), "op", name) for name in ("first", "second"))


class Learner(Protocol):
    """A policy over `PAIR`."""

    def second(self, first: Tensor, generator: torch.Generator) -> Tensor:
        """Samples of the second decision ``[count]``, where the first is ``[count]``."""

    def learn(self, first: Tensor, second: Tensor, rewards: list[float]) -> None:
        """Learn from a group."""

    def p_match(self) -> float:
        """The probability that the second equals the first, mean over the options of the first."""


class WithMemory:
    """The LSTM controller."""

    def __init__(self, options: LstmOptions, seed: int) -> None:
        self.controller = LstmController(PAIR, options, seed=seed)

    @torch.no_grad()
    def second(self, first: Tensor, generator: torch.Generator) -> Tensor:
        def choose(position: int, logits: Tensor) -> Tensor:
            return first if position == 0 else logits.softmax(1).multinomial(1, generator=generator).squeeze(1)

        indices: Tensor = self.controller.policy(len(first), choose).indices
        return indices[:, 1]

    def learn(self, first: Tensor, second: Tensor, rewards: list[float]) -> None:
        proposals = [PAIR.decode(pair) for pair in torch.stack([first, second], 1).tolist()]
        self.controller.update(proposals, rewards)

    def p_match(self) -> float:
        p = self.controller.log_prob(PAIR.everything()).exp().reshape(N_OPTIONS, N_OPTIONS)
        return float((p.diagonal() / p.sum(1)).mean())


class WithoutMemory:
    """One softmax for the second decision, whatever the first was; the same gradient."""

    def __init__(self, learning_rate: float) -> None:
        self.logits = torch.zeros(N_OPTIONS, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.logits], lr=learning_rate)

    @torch.no_grad()
    def second(self, first: Tensor, generator: torch.Generator) -> Tensor:
        return self.logits.softmax(0).multinomial(len(first), replacement=True, generator=generator)

    def learn(self, first: Tensor, second: Tensor, rewards: list[float]) -> None:
        advantage = torch.tensor(rewards) - sum(rewards) / len(rewards)
        self.optimizer.zero_grad()
        (-(advantage * self.logits.log_softmax(0)[second]).mean()).backward()
        self.optimizer.step()

    def p_match(self) -> float:
        return float(self.logits.detach().softmax(0).mean())


def match(
    learner: Learner, n_proposals: int, *, group: int = 10, seed: int = 0, until: float = 2.0
) -> tuple[float, int]:
    """The first decision is drawn uniformly from outside; the reward is 1 where the second equals it, else 0.

    Returns:
        The frequency of matches among 2,000 further proposals, and after how many proposals learning ended: where the
        probability of a match reached `until`, at the latest after `n_proposals`.
    """
    generator = torch.Generator().manual_seed(seed)
    done = 0
    while done < n_proposals and learner.p_match() < until:
        first = torch.randint(N_OPTIONS, (group,), generator=generator)
        second = learner.second(first, generator)
        learner.learn(first, second, (first == second).float().tolist())
        done += group
    first = torch.randint(N_OPTIONS, (2000,), generator=generator)
    return float((learner.second(first, generator) == first).float().mean()), done
