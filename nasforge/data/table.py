"""Tables of trained networks: for every architecture of a space the scores that it reached. See docs/search.md.

A table is one NumPy archive (``.npz``) with

* ``architectures``, integers ``[n, decisions]``: for each row the number of the option of every decision, from 0 on;
* ``scores``, floats ``[n, runs]``: what each of the independent trainings of that row reached;
* any number of further columns ``[n]``, numbers: parameters, FLOPs, seconds;
* any number of further floats ``[n, r]``: other scores, which may be read in place of ``scores``;
* ``meta``, one text: a JSON object.

The keys of ``meta`` that are read are ``name``; ``architectures`` and ``scores``, the names of these arrays where they
are others; ``metric``, what the scores are (default: the name of their array); ``direction``, ``max`` or ``min``; and
``options``, the number of options of each decision (default: as many as occur). Others are kept as they are.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nasforge.data.files import sha256_of, write_bytes_atomically
from nasforge.data.npz import npz_bytes, read_npz
from nasforge.data.table_faults import architecture_faults, score_faults
from nasforge.errors import DataError, suggest

Direction = Literal["max", "min"]


@dataclass(frozen=True, eq=False)
class Table:
    """Scores of architectures, to search in without training.

    Attributes:
        name: of the table.
        metric: what the scores are.
        direction: whether higher (``max``) or lower (``min``) scores are better.
        options: how many options each decision has.
        architectures: int64 ``[n, decisions]``, distinct rows.
        scores: float64 ``[n, runs]``, finite.
        columns: further numbers of each row, ``[n]``, by name.
        meta: the whole JSON object.
        sha256: of the file, in hex digits.
    """

    name: str
    metric: str
    direction: Direction
    options: tuple[int, ...]
    architectures: NDArray[np.int64]
    scores: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]]
    meta: Mapping[str, Any] = field(repr=False)
    sha256: str

    def __len__(self) -> int:
        return len(self.architectures)

    @property
    def n_runs(self) -> int:
        """Trainings of each architecture."""
        return int(self.scores.shape[1])

    @cached_property
    def _rows(self) -> dict[tuple[int, ...], int]:
        return {tuple(indices): row for row, indices in enumerate(self.architectures.tolist())}

    @cached_property
    def truths(self) -> NDArray[np.float64]:
        """``[n]``: of each row the mean of its runs."""
        truths: NDArray[np.float64] = self.scores.mean(axis=1)
        return truths

    def row(self, indices: Sequence[int]) -> int:
        """The row of an architecture, given by the number of the option of each decision (`SearchSpace.encode`).

        Raises:
            DataError: it is not in the table.
        """
        try:
            return self._rows[tuple(indices)]
        except KeyError:
            raise DataError(f"{self.name}: {self._absence(indices)}") from None

    def _absence(self, indices: Sequence[int]) -> str:
        if len(indices) != len(self.options):
            return f"an architecture has {len(self.options)} decisions, not {len(indices)}"
        for place, (index, n) in enumerate(zip(indices, self.options, strict=True)):
            if not 0 <= index < n:
                return f"decision {place} has the options 0 to {n - 1}, not {index}"
        return f"the architecture {', '.join(map(str, indices))} is not in the table, which has {len(self):,}"

    def truth(self, row: int) -> float:
        """The mean score over the runs of a row."""
        return float(self.truths[row])

    def draw(self, row: int, rng: random.Random) -> float:
        """The score of one of the runs of a row, each with equal probability: what one training would have given."""
        return float(self.scores[row, rng.randrange(self.n_runs)])

    def reward(self, score: float) -> float:
        """The score, or its negative where lower scores are better: higher rewards are always better."""
        return score if self.direction == "max" else -score

    @cached_property
    def best(self) -> float:
        """The best truth of the table."""
        return float(self.truths.max() if self.direction == "max" else self.truths.min())

    def regret(self, row: int) -> float:
        """How much worse the truth of a row is than the best one, in the unit of the score; 0 for the best."""
        return abs(self.best - self.truth(row))


def load_table(
    path: Path,
    *,
    architectures: str | None = None,
    scores: str | None = None,
    metric: str | None = None,
    direction: Direction | None = None,
) -> Table:
    """Read a table; nothing pickled is read.

    Args:
        path: the file.
        architectures: the name of the array of option numbers; by default what ``meta`` says, else ``architectures``.
        scores: the name of the array of scores; by default what ``meta`` says, else ``scores``.
        metric: what the scores are; by default what ``meta`` says, else the name of the array.
        direction: whether higher or lower is better; by default what ``meta`` says, which then must say it.

    Raises:
        DataError: the file is missing, damaged or not as described; it says what and where, all faults at once.
    """
    arrays = read_npz(path)
    meta = _meta(arrays.pop("meta", None), path)
    architectures = architectures or _text(meta, "architectures", path) or "architectures"
    scores = scores or _text(meta, "scores", path) or "scores"
    return _checked(
        arrays,
        meta,
        path,
        architectures=architectures,
        scores=scores,
        metric=metric or _text(meta, "metric", path) or scores,
        direction=direction or _direction(meta, path),
        sha256=sha256_of(path),
    )


def save_table(
    path: Path,
    *,
    architectures: ArrayLike,
    scores: ArrayLike,
    name: str,
    metric: str,
    direction: Direction,
    options: Sequence[int] | None = None,
    columns: Mapping[str, ArrayLike] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Table:
    """Write a table and return it as `load_table` reads it; a file at `path` is replaced at once or not at all.

    Args:
        path: where; the folder must exist.
        architectures: integers ``[n, decisions]``.
        scores: floats ``[n, runs]``.
        name: of the table.
        metric: what the scores are.
        direction: whether higher or lower is better.
        options: how many options each decision has; by default as many as occur.
        columns: further numbers ``[n]`` by name.
        meta: further keys of the JSON object, such as where the scores come from.

    Raises:
        DataError: what would be written could not be read again; nothing is written then.
        StorageError: the file system refuses it.
    """
    about = {**(meta or {}), "name": name, "metric": metric, "direction": direction}
    if options is not None:
        about["options"] = list(options)
    arrays = {name: np.asarray(each) for name, each in (columns or {}).items()}
    reserved = sorted(set(arrays) & {"architectures", "scores", "meta"})
    if reserved:
        raise DataError(f"{path}: a column cannot be named {', '.join(reserved)}")
    arrays = {"architectures": np.asarray(architectures), "scores": np.asarray(scores), **arrays}
    names = {"architectures": "architectures", "scores": "scores"}
    _checked(arrays, about, path, **names, metric=metric, direction=_direction(about, path), sha256="")
    text = json.dumps(about, allow_nan=False)
    write_bytes_atomically(path, npz_bytes({**arrays, "meta": np.array(text)}), hint="")
    return load_table(path)


# Checks ---------------------------------------------------------------------------------------------------------------


def _meta(array: NDArray[Any] | None, path: Path) -> dict[str, Any]:
    if array is None:
        raise DataError(f"{path}: holds no array meta; expected one text, a JSON object")
    if array.dtype.kind != "U" or array.ndim != 0:
        raise DataError(f"{path}: meta: of type {array.dtype} and shape {array.shape}, expected one text")
    try:
        meta = json.loads(str(array))
    except ValueError as error:
        raise DataError(f"{path}: meta: is not JSON: {error}") from None
    if not isinstance(meta, dict):
        raise DataError(f"{path}: meta: is JSON, but no object")
    return meta


def _text(meta: Mapping[str, Any], key: str, path: Path) -> str | None:
    said = meta.get(key)
    if said is not None and (not isinstance(said, str) or not said):
        raise DataError(f"{path}: meta: {key} is {said!r}, expected a text")
    return said


def _direction(meta: Mapping[str, Any], path: Path) -> Direction:
    said = meta.get("direction")
    if said == "max" or said == "min":
        return "max" if said == "max" else "min"
    what = "does not say the direction" if said is None else f"direction is {said!r}"
    raise DataError(f"{path}: meta: {what}; expected max (higher scores are better) or min")


def _checked(
    arrays: Mapping[str, NDArray[Any]],
    meta: Mapping[str, Any],
    path: Path,
    *,
    architectures: str,
    scores: str,
    metric: str,
    direction: Direction,
    sha256: str,
) -> Table:
    problems: list[str] = []
    for name in (architectures, scores):
        if name not in arrays:
            known = ", ".join(sorted(arrays)) or "nothing"
            problems.append(f"holds no array {name}.{suggest(name, arrays)} It holds {known}")
    if problems:
        raise DataError("\n".join(f"{path}: {problem}" for problem in problems))
    options = architecture_faults(arrays[architectures], architectures, meta.get("options"), problems)
    n = len(arrays[architectures]) if arrays[architectures].ndim else 0
    score_faults(arrays[scores], scores, n, problems)
    columns = {}
    for name, array in arrays.items():
        if name in (architectures, scores) or (array.ndim == 2 and len(array) == n and array.dtype.kind == "f"):
            continue
        if array.shape != (n,) or array.dtype.kind not in "iuf":
            problems.append(f"{name}: of type {array.dtype} and shape {array.shape}, expected numbers ({n},)")
        elif not np.isfinite(array).all():
            problems.append(f"{name}: row {int(np.flatnonzero(~np.isfinite(array))[0])} is not finite")
        else:
            columns[name] = array
    if problems:
        raise DataError("\n".join(f"{path}: {problem}" for problem in problems))
    return Table(
        name=_text(meta, "name", path) or path.stem,
        metric=metric,
        direction=direction,
        options=options,
        architectures=arrays[architectures].astype(np.int64),
        scores=arrays[scores].astype(np.float64),
        columns=columns,
        meta=meta,
        sha256=sha256,
    )
