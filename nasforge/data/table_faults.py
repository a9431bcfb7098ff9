"""What can be wrong with the arrays of a table, in sentences that name the place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_OPTIONS = 2**31
"""Numbers of options are smaller than this where ``meta`` does not say how many there are."""


def architecture_faults(array: NDArray[Any], name: str, options: object, problems: list[str]) -> tuple[int, ...]:
    """Adds to `problems` what is wrong with option numbers that must be distinct integers ``[n, decisions]``.

    Args:
        array: the array.
        name: of it, for the messages.
        options: what ``meta`` says of the number of options of each decision; None for nothing.
        problems: is added to.

    Returns:
        The number of options of each decision; nothing where something is wrong.
    """
    if array.dtype.kind not in "iu":
        problems.append(f"{name}: of type {array.dtype}, expected integers")
        return ()
    if array.ndim != 2 or array.size == 0:
        problems.append(f"{name}: of shape {array.shape}, expected (n, decisions), at least one of each")
        return ()
    counts = np.minimum(array.max(axis=0).astype(object) + 1, MOST_OPTIONS)
    if options is not None:
        if not isinstance(options, list) or [type(each) for each in options] != [int] * array.shape[1]:
            problems.append(f"meta: options is {options!r}, expected {array.shape[1]} integers, one for each decision")
            return ()
        counts = np.array(options, dtype=object)
    wrong = np.argwhere((array < 0) | (array.astype(object) >= counts))
    if len(wrong):
        row, place = map(int, wrong[0])
        most = MOST_OPTIONS if options is None else counts[place]
        problems.append(f"{name}: row {row}, decision {place} is {array[row, place]}, expected 0 to {most - 1}")
        return ()
    _, first, inverse = np.unique(array, axis=0, return_index=True, return_inverse=True)
    repeated = np.flatnonzero(first[inverse.reshape(-1)] != np.arange(len(array)))
    if len(repeated):
        row = int(repeated[0])
        problems.append(f"{name}: rows {int(first[inverse.reshape(-1)[row]])} and {row} are equal")
    return tuple(int(count) for count in counts)


def score_faults(array: NDArray[Any], name: str, n: int, problems: list[str]) -> None:
    """Adds to `problems` what is wrong with scores that must be finite floats ``[n, runs]``."""
    if array.dtype.kind != "f":
        problems.append(f"{name}: of type {array.dtype}, expected floats")
    elif array.ndim != 2 or len(array) != n or array.size == 0:
        problems.append(f"{name}: of shape {array.shape}, expected ({n}, runs), at least one run")
    elif not np.isfinite(array).all():
        row, run = map(int, np.argwhere(~np.isfinite(array))[0])
        problems.append(f"{name}: row {row}, run {run} is {array[row, run]}, expected finite numbers")
