"""How successive halving spends its budget: plain numbers, known before it begins."""

from __future__ import annotations

from nasforge.strategies.options import SuccessiveHalvingOptions


def rungs(config: SuccessiveHalvingOptions, epochs: int) -> tuple[int, ...]:
    """The epochs that a child has made at the end of each rung, ascending; the last is `epochs`."""
    found = [config.first_epochs]
    while found[-1] < epochs:
        found.append(min(epochs, found[-1] * config.factor))
    return tuple(found)


def brackets(config: SuccessiveHalvingOptions, epochs: int) -> list[tuple[int, ...]]:
    """Of each bracket how many children enter each rung; together they cost at most ``queries * epochs`` epochs.

    All have ``proposals`` children in the first rung but the last one, which takes as many as what is left can pay.
    """
    levels = rungs(config, epochs)

    def cost(sizes: tuple[int, ...]) -> int:
        return sum(size * (to - since) for size, since, to in zip(sizes, (0, *levels), levels, strict=False))

    def sizes(children: int) -> tuple[int, ...]:
        return tuple(max(1, children // config.factor**rung) for rung in range(len(levels)))

    found, left = [], config.queries * epochs
    while left >= cost(sizes(1)):
        children = next(n for n in range(config.proposals, 0, -1) if cost(sizes(n)) <= left)
        found.append(sizes(children))
        left -= cost(found[-1])
    return found
