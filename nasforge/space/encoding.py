"""Architectures as vectors, for predictors and controllers; the index vector is `SearchSpace.encode`.

Lengths, for a space of D decisions with n_1, ..., n_D options: a one-hot vector has n_1 + ... + n_D numbers, one block
for each decision in the order of the space; an existence mask has D; option masks have D rows of max(n_1, ..., n_D).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nasforge.errors import SpaceError
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace


def one_hot(space: SearchSpace, architecture: Mapping[str, str]) -> tuple[float, ...]:
    """The one-hot blocks of all decisions, one after the other: n_1 + ... + n_D numbers.

    The block of a decision has 1.0 at its option and 0.0 elsewhere; it is zero where the decision does not exist.

    Raises:
        SpaceError: `architecture` is not valid.
    """
    chosen = space.architecture(architecture)
    return tuple(
        float(option == chosen.get(decision.name)) for decision in space.decisions for option in decision.options
    )


def from_one_hot(space: SearchSpace, vector: Sequence[float]) -> Architecture:
    """The architecture of a one-hot vector; the inverse of `one_hot`.

    Raises:
        SpaceError: a wrong length, numbers other than 0 and 1, several ones in a block, or a block that is (not) zero
            where the decision does (not) exist.
    """
    length = sum(len(decision.options) for decision in space.decisions)
    if len(vector) != length:
        raise SpaceError(f"a one-hot vector of this space has {length} numbers, not {len(vector)}")
    indices: list[int] = []
    faults: list[str] = []
    start = 0
    for decision in space.decisions:
        block = list(vector[start : start + len(decision.options)])
        ones = [index for index, number in enumerate(block) if number == 1]
        if len(ones) > 1 or any(number not in (0, 1) for number in block):
            faults.append(f"the block of '{decision.name}' (from {start}) is neither one-hot nor zero: {block}")
        indices.append(ones[0] if ones else -1)
        start += len(block)
    if faults:
        raise SpaceError("not a one-hot vector: " + "; ".join(faults))
    return space.decode(indices)


def existence_mask(space: SearchSpace, architecture: Mapping[str, str]) -> tuple[bool, ...]:
    """For each of the D decisions of the space, whether it exists in `architecture`.

    Raises:
        SpaceError: `architecture` is not valid.
    """
    chosen = space.architecture(architecture)
    return tuple(decision.name in chosen for decision in space.decisions)


def option_masks(space: SearchSpace) -> tuple[tuple[bool, ...], ...]:
    """For each of the D decisions, which of max(n_1, ..., n_D) places are options of it.

    True stands first: row i holds n_i times True, then False up to the widest decision. A controller adds it to logits
    of one width.
    """
    widest = max((len(decision.options) for decision in space.decisions), default=0)
    return tuple(tuple(place < len(decision.options) for place in range(widest)) for decision in space.decisions)
