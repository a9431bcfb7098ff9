"""What a group of rewards says about each proposal: the checks, the baselines and the advantages of REINFORCE.

Plain numbers, no torch: a group has tens of rewards, and double precision keeps their small differences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_ALONE = "update '{}' needs at least two proposals, not 1; score more at a time or use update 'reinforce_ema'"

_ROUNDING = 1e-9
"""Rewards that differ by less than this fraction of their size are taken for equal: float32 rewards round at 6e-8."""


def check_group(proposals: Sequence[object], rewards: Sequence[float]) -> None:
    """Refuse a group that no controller can learn from.

    Raises:
        ValueError: lengths differ, nothing is given, or a reward is not finite.
    """
    if len(proposals) != len(rewards):
        raise ValueError(f"{len(proposals)} proposals come with {len(rewards)} rewards; one each is needed")
    if not proposals:
        raise ValueError("an update needs at least one proposal")
    for place, reward in enumerate(rewards):
        if not math.isfinite(reward):
            raise ValueError(f"the reward of proposal {place} is {reward}; rewards must be finite numbers")


def mean(values: Sequence[float]) -> float:
    """The mean; finite for all finite values, because each is divided before they are added."""
    return math.fsum(value / len(values) for value in values)


def moving_average(previous: float | None, reward: float, decay: float) -> float:
    """b <- decay * b + (1 - decay) * R; the first R starts it."""
    return reward if previous is None else decay * previous + (1 - decay) * reward


def leave_one_out(rewards: Sequence[float]) -> list[float]:
    """For each reward the mean of the others, a baseline that does not depend on it.

    Raises:
        ValueError: there are no others.
    """
    if len(rewards) < 2:
        raise ValueError(_ALONE.format("rloo"))
    return [mean([*rewards[:place], *rewards[place + 1 :]]) for place in range(len(rewards))]


def group_mean(rewards: Sequence[float], update: str) -> list[float]:
    """For each reward the mean of the group, itself included.

    Args:
        rewards: of the group.
        update: the name of the update, for the message.

    Raises:
        ValueError: one reward is its own mean, and its advantage always 0.
    """
    if len(rewards) < 2:
        raise ValueError(_ALONE.format(update))
    return [mean(rewards)] * len(rewards)


def normalized(advantages: Sequence[float], rewards: Sequence[float]) -> list[float]:
    """Divide `advantages` by the (population) standard deviation of `rewards`; all zero where the rewards are equal.

    Raises:
        ValueError: one reward has no deviation.
    """
    if len(rewards) < 2:
        raise ValueError(
            "normalize_advantage needs at least two proposals in an update, not 1; score more at a time or set "
            "normalize_advantage: false"
        )
    centre = mean(rewards)
    # hypot scales before it squares, so tiny and huge rewards neither vanish nor overflow.
    deviation = math.hypot(*(reward - centre for reward in rewards)) / math.sqrt(len(rewards))
    if deviation <= _ROUNDING * max(map(abs, rewards)):
        return [0.0] * len(advantages)
    return [advantage / deviation for advantage in advantages]
