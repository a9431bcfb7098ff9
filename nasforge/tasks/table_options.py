"""What users write about tables of scores, and what is checked of them before a search begins. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nasforge.components import Options, TaskKind
from nasforge.data.table import Table, load_table
from nasforge.errors import DataError
from nasforge.recipe import Recipe
from nasforge.space.search_space import SearchSpace


class TableOptions(Options):
    """Scores that are looked up in a file (docs/search.md says how one is made).

    Attributes:
        kind: ``table``.
        file: path of the table (``.npz``), relative to the YAML file.
        architectures: its array of option numbers; null for what the file says.
        scores: its array of scores; null for what the file says.
        metric: what the scores are called; null for what the file says.
        direction: whether higher (``max``) or lower (``min``) scores are better; null for what the file says.
    """

    kind: Literal["table"] = "table"
    file: str
    architectures: str | None = None
    scores: str | None = None
    metric: str | None = None
    direction: Literal["max", "min"] | None = None


def load(config: TableOptions, base: Path, space: SearchSpace) -> Table:
    """The table of a ``task`` block.

    Args:
        config: the block.
        base: the folder that relative paths start from.
        space: whose architectures are looked up.

    Raises:
        DataError: the file is missing or wrong, or has other decisions than the space.
    """
    table = load_table(
        base / config.file,
        architectures=config.architectures,
        scores=config.scores,
        metric=config.metric,
        direction=config.direction,
    )
    wanted = [len(decision.options) for decision in space.decisions]
    if len(table.options) != len(wanted):
        raise DataError(
            f"{config.file}: its architectures have {len(table.options)} decisions, the space {len(wanted)}"
        )
    for decision, held, options in zip(space.decisions, table.options, wanted, strict=True):
        if held != options:
            raise DataError(f"{config.file}: '{decision.name}' has {held} options in the table, {options} in the space")
    return table


TABLE = TaskKind(
    name="table",
    summary="scores that are looked up in a file; nothing is trained",
    build="nasforge.tasks.table_options:load",
    config=TableOptions,
    recipe=Recipe,
    prepare="nasforge.tasks.table_options:load",
    kinds=("choices",),
    data_key="file",
    trains=False,
)
