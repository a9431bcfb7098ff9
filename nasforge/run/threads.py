"""How many threads each worker process computes with: as told, by a fixed rule on the sizes in the spec, or measured.

The rule gives one file on machines of one type one number, so that runs can be repeated: sums that are split among
threads differ in their last digits. It never gives more than one thread to a small network. There a second thread
saves little more than a third at best, and where another process takes its core, every product waits for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nasforge.errors import UsageError
from nasforge.kinds.conv_options import ConvCellSpec
from nasforge.kinds.conv_options import FinalStack as CellStack
from nasforge.kinds.macro_network import FinalStack as MacroStack
from nasforge.kinds.macro_network import MacroNetworkSpec
from nasforge.kinds.recurrent_cell import RecurrentCellSpec
from nasforge.recipe import Recipe
from nasforge.spec.choices import ChooseWidth
from nasforge.spec.specs import RunSpec
from nasforge.tasks.image_options import ImageRecipe
from nasforge.tasks.options import LanguageModelRecipe

SEQUENCES = 16_000_000
"""From which ``batch_size * hidden ** 2`` on a recurrent cell gets two threads. Measured, wall time of a step with two
threads over that with one (12 nodes, 35 words): 0.57 at 64 x 512^2, 0.52 at 64 x 748^2. From 20 x 128^2 to 64 x 300^2
it was 0.63 to 0.75 where nothing else ran, and between 5 and 58 in turns in which something did."""

IMAGES = 1_000_000
"""From which ``batch_size * channels * height * width`` on a network of images gets two threads. Measured as above:
0.58 at 64 x 16 x 32 x 32, 0.73 and 0.91 beyond it; from 0.78 to 1.48 below it."""

MOST = 1024
"""Threads that can be asked for; torch takes no number of any size."""

PAYS = 0.9
"""What more threads must bring a step to, at most, before `pick` takes them; less is within what measuring varies by.
"""

By = Literal["rule", "auto", "user"]


@dataclass(frozen=True)
class Choice:
    """A number of threads and where it comes from.

    Attributes:
        number: of each worker process, at least 1.
        by: ``rule``, ``auto`` (measured) or ``user``.
        reason: a few words; empty while ``auto`` has not measured yet.
    """

    number: int
    by: By
    reason: str


def asked(text: str) -> int | Literal["rule", "auto"]:
    """What ``--threads`` says.

    Raises:
        UsageError: it is none of the three.
    """
    if text == "rule":
        return "rule"
    if text == "auto":
        return "auto"
    if text.isascii() and text.isdigit() and 0 < int(text) <= MOST:
        return int(text)
    raise UsageError(
        f"--threads {text}: use a number from 1 to {MOST:,}, `rule` (by the sizes in the file) or `auto` (measured)"
    )


def choose(wanted: int | Literal["rule", "auto"], spec: RunSpec, workers: int, ranks: int, device: str) -> Choice:
    """The number of a run; for ``auto`` 1, until `nasforge.run.measure` has measured where there is something to.

    Args:
        wanted: see `asked`.
        spec: what is run.
        workers: processes that train side by side.
        ranks: processes that train together; several of them are counted as if all shared one machine.
        device: where networks run.

    Raises:
        UsageError: ``auto`` for several ranks.
    """
    if isinstance(wanted, int):
        return Choice(wanted, "user", "as told")
    beside = max(workers, ranks)
    if wanted == "rule":
        return by_rule(spec, usable_cores(), beside, device)
    if ranks > 1:
        raise UsageError(
            f"--threads auto measures one process by itself, and here are {ranks} ranks; give a number, or `rule`"
        )
    if len(counts(usable_cores(), beside)) == 1:
        return Choice(1, "auto", f"nothing to measure: {_cores(usable_cores(), beside)}")
    return Choice(1, "auto", "")


def usable_cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def by_rule(spec: RunSpec, cores: int, beside: int, device: str = "cpu") -> Choice:
    """One thread, or two where the networks of search and final training are both large enough.

    A pure function: equal arguments, equal choice. More than two threads were not measured and are never chosen.

    Args:
        spec: the sizes.
        cores: that the run may use.
        beside: processes that compute side by side; there are never more threads than cores for all of them.
        device: where networks run.
    """
    if device != "cpu":
        return Choice(1, "rule", f"networks run on {device}")
    if cores < 2 * beside:
        return Choice(1, "rule", _cores(cores, beside))
    found = _smallest(spec)
    if found is None:
        return Choice(1, "rule", f"the rule knows no sizes of {spec.space_kind.name} with {spec.task_kind.name}")
    size, words, enough = found
    if size < enough:
        return Choice(1, "rule", f"{words} is below {enough:,}")
    return Choice(2, "rule", f"{words} is {enough:,} or more, {_cores(cores, beside)}")


def counts(cores: int, beside: int) -> list[int]:
    """The numbers of threads that ``auto`` tries: 1, 2, 4 and so on, never more than each process's part of the cores.

    Args:
        cores: that the run may use.
        beside: processes that compute side by side.
    """
    found = [1]
    while 2 * found[-1] * beside <= cores:
        found.append(2 * found[-1])
    return found


def pick(seconds: Mapping[int, float]) -> Choice:
    """The choice of ``auto``: more threads only where they save at least a tenth.

    Args:
        seconds: wall time of a step for each number of threads, 1 included.
    """
    best = 1
    for number in sorted(seconds):
        if seconds[number] <= PAYS * seconds[best]:
            best = number
    measured = ", ".join(f"{1000 * seconds[n]:.3g} ms a step on {n}" for n in sorted(seconds))
    reason = f"measured {measured}; another run may measure otherwise and then differ in the last digits"
    return Choice(best, "auto", reason)


def said(run: Mapping[str, Any]) -> str:
    """One line about the threads of a run, of its ``run.json``."""
    chosen = run.get("threads_chosen", {"by": "user", "reason": "as told"})
    return f"threads of each worker process: {run['threads']} ({chosen['by']}: {chosen['reason']})"


def _cores(cores: int, beside: int) -> str:
    return f"{cores} core{'s' * (cores > 1)} for {beside} process{'es' * (beside > 1)} side by side"


def _smallest(spec: RunSpec) -> tuple[int, str, int] | None:
    """The smaller size of the two stages, in words, and what is enough; None where nothing is known of them."""
    stages = (_search_widths(spec), spec.search_recipe), (_final_widths(spec), spec.final_recipe)
    sizes = [_size(spec, min(widths), recipe) for widths, recipe in stages if widths]
    known = [size for size in sizes if size is not None]
    return min(known) if len(known) == len(stages) else None


def _size(spec: RunSpec, width: int, recipe: Recipe) -> tuple[int, str, int] | None:
    space = spec.space
    if isinstance(recipe, LanguageModelRecipe) and isinstance(space, RecurrentCellSpec):
        words = f"batch_size {recipe.batch_size} x hidden {width}^2"
        return recipe.batch_size * width**2, words, SEQUENCES
    if isinstance(recipe, ImageRecipe) and isinstance(space, ConvCellSpec | MacroNetworkSpec):
        _, height, across = space.image
        words = f"batch_size {recipe.batch_size} x channels {width} x {height} x {across}"
        return recipe.batch_size * width * height * across, words, IMAGES
    return None


def _search_widths(spec: RunSpec) -> Sequence[int]:
    space = spec.space
    if isinstance(space, RecurrentCellSpec):
        return (spec.executor.hidden,) if space.hidden is None else space.hidden.from_
    if isinstance(space, ConvCellSpec):
        return _options(space.stack.channels)
    return _options(space.channels) if isinstance(space, MacroNetworkSpec) else ()


def _final_widths(spec: RunSpec) -> Sequence[int]:
    if isinstance(spec.space, RecurrentCellSpec) and spec.space.hidden is None:
        return (spec.train.hidden,)
    if isinstance(spec.stack, CellStack | MacroStack) and spec.stack.channels is not None:
        return (spec.stack.channels,)
    return _search_widths(spec)


def _options(width: int | ChooseWidth) -> Sequence[int]:
    return width.from_ if isinstance(width, ChooseWidth) else (width,)
