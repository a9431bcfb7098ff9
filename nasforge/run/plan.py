"""The plan of a run: its jobs and what each waits for.

::

    search            search-short-0..K-1      search-train
    baseline          baseline-short-0..K-1    baseline-train
                                               reference-lstm, reference-one_node
                                               sample-0..N-1

An arm is one search and what comes of it. Jobs read only what the jobs before them left in the run directory, so that
they may run in any process, and a resumed run repeats nothing that is finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nasforge.spec.specs import RunSpec

Arm = Literal["search", "baseline"]

LARGEST = "largest"
"""The reference that is the candidate of the search with the most parameters."""


@dataclass(frozen=True)
class Job:
    """One piece of work of one process.

    Attributes:
        name: unique in the run; names its folder.
        kind: ``search``, ``short`` (a short training from scratch), ``train`` (the final one), ``reference``,
            ``sample`` (a short training of an architecture that no search has chosen), or ``policy`` (its proposals on
            the weights of random search).
        arm: which search it belongs to; empty for all others.
        index: which of the shortlist, for ``short``; which of the sample, for ``sample``.
        needs: jobs that must be finished before.
        cost: expected passes over the training data, for the time left.
        title: what a user reads.
    """

    name: str
    kind: Literal["search", "short", "train", "reference", "sample", "policy"]
    arm: str
    needs: tuple[str, ...]
    cost: float
    title: str
    index: int = 0


def plan_jobs(
    *,
    strategy: str,
    search_epochs: float,
    shortlist: int,
    short_epochs: int,
    train_epochs: int,
    baseline: bool,
    references: Sequence[str],
    sample: int,
    policy: bool,
) -> tuple[Job, ...]:
    """All jobs of a run, in the order in which the journal tells them."""
    arms: list[tuple[Arm, str]] = [("search", strategy)]
    if baseline:
        arms.append(("baseline", "random"))
    jobs = [Job(arm, "search", arm, (), search_epochs, f"search ({title})") for arm, title in arms]
    # A shortlist of one needs no short training: there is nothing to choose from.
    shortlist = shortlist if shortlist > 1 else 0
    for arm, title in arms:
        jobs += [
            Job(f"{arm}-short-{i}", "short", arm, (arm,), short_epochs, f"short training {i + 1} ({title})", i)
            for i in range(shortlist)
        ]
    for arm, title in arms:
        needs = tuple(f"{arm}-short-{i}" for i in range(shortlist))
        jobs.append(Job(f"{arm}-train", "train", arm, (arm, *needs), train_epochs, f"final training ({title})"))
    for name in references:
        needs = ("search",) if name == LARGEST else ()
        jobs.append(Job(f"reference-{name}", "reference", "", needs, 0.5 * train_epochs, f"reference ({name})"))
    jobs += [
        Job(f"sample-{i}", "sample", "", (), short_epochs, f"short training {i + 1} (sample)", i) for i in range(sample)
    ]
    if policy:
        jobs.append(Job("policy", "policy", "", ("search", "baseline"), 0.1, "proposals on weights of random search"))
    return tuple(jobs)


def judges_policy(spec: RunSpec) -> bool:
    """Whether a run of `spec` scores proposals of its policy with the weights of random search, too."""
    learns = spec.controller_kind.policy and spec.strategy_kind.group(spec.strategy) > 0
    return learns and spec.executor_kind.source == "shared" and spec.compare.random and spec.derive.probes > 0


def ready(jobs: Sequence[Job], finished: set[str], taken: set[str]) -> list[Job]:
    """The jobs that may start now, in the order of the plan."""
    return [job for job in jobs if job.name not in finished | taken and finished.issuperset(job.needs)]
