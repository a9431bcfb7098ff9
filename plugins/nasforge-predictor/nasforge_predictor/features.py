"""Architectures as numbers: 1 for each choice that was made, 0 for each that was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nasforge.space.search_space import SearchSpace

Table = NDArray[np.float64]


class Choices:
    """The columns of a space: one for each option of each decision; a decision that does not exist is all zeros.

    Attributes:
        width: how many columns there are.
    """

    def __init__(self, space: SearchSpace) -> None:
        pairs = [(decision.name, option) for decision in space.decisions for option in decision.options]
        self._columns = {pair: column for column, pair in enumerate(pairs)}
        self.width = len(pairs)

    def table(self, architectures: Sequence[Mapping[str, str]]) -> Table:
        """One row for each architecture, `[n, width]`."""
        rows = np.zeros((len(architectures), self.width))
        for row, architecture in enumerate(architectures):
            rows[row, [self._columns[choice] for choice in architecture.items()]] = 1.0
        return rows
