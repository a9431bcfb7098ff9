"""How long a step takes on 1, 2, 4 and so on threads: what ``--threads auto`` asks a worker before the first job."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from nasforge.executors.base import FromScratch
from nasforge.executors.training import Trainer
from nasforge.run.jobs import Workshop
from nasforge.run.searching import search_executor
from nasforge.run.threads import counts, usable_cores
from nasforge.seeds import stream

ROUNDS = 3
"""Timed steps on each number of threads, in turns: what else the machine does changes meanwhile."""

Step = Callable[[], object]


def step_seconds(shop: Workshop, beside: int) -> dict[int, float]:
    """Wall seconds of a weight step of the search plus one of the final training, for each number of threads.

    One architecture, drawn as of seed 0, on weights of its own that are thrown away: the jobs start as they would have.

    Args:
        shop: of this process.
        beside: worker processes of the run.
    """
    architecture = shop.untimed_graph.space.sample(stream(0, "threads"))
    executor = search_executor(shop)
    searched = (
        executor.begin(architecture, 0).network if isinstance(executor, FromScratch) else executor.network(architecture)
    )
    networks = [
        (searched, shop.spec.search_recipe),
        (shop.fresh(architecture), shop.spec.final_recipe),
    ]
    trainers = [(Trainer(shop.task, recipe, total_steps=1000, seed=0), network) for network, recipe in networks]

    def step() -> None:
        for trainer, network in trainers:
            trainer.step([network])

    return timed(step, counts(usable_cores(), beside))


def timed(
    step: Step,
    numbers: Sequence[int],
    *,
    clock: Callable[[], float] = time.perf_counter,
    use: Callable[[int], object] = torch.set_num_threads,
) -> dict[int, float]:
    """The median time of `step` on each number of threads, in turns; afterwards there are as many as before.

    Args:
        step: is called ``2 * ROUNDS`` times on each number; after a change of threads, the first call does not count.
        numbers: of threads.
        clock: reads seconds.
        use: sets the number of threads of this process.
    """
    before = torch.get_num_threads()
    seconds: dict[int, list[float]] = {number: [] for number in numbers}
    try:
        for _ in range(ROUNDS):
            for number in numbers:
                use(number)
                step()
                begin = clock()
                step()
                seconds[number].append(clock() - begin)
    finally:
        use(before)
    return {number: statistics.median(each) for number, each in seconds.items()}
