"""Strategies side by side: what finished runs of the same file and budget found, over seeds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nasforge.errors import CorruptRunError
from nasforge.run import diagnoses
from nasforge.run.correlation import PARAMETERS
from nasforge.run.directory import RunDirectory
from nasforge.run.statistics import Mean, Paired, mean_of, mean_ranks, paired

RANDOM = "random"
"""The arm with which every run compares its search: the same weight steps, nothing learned from rewards."""

_ARMS = ("search", "baseline")

SIGNIFICANT = 0.05

MOST_SEEDS = 10
"""Seeds that are listed."""

UNEQUAL = 1.1
"""Budgets that differ by more are told."""


@dataclass(frozen=True)
class Outcome:
    """What one strategy found with one seed.

    Attributes:
        strategy: its name.
        seed: of the run.
        test: the test score of the derived network after training from scratch, None where it is not finite; in a table
            the truth.
        proxy: the proxy score of that network; in a table the mean of the scores that were asked for.
        cost: what the search spent, as ``result.json`` has it.
        curve: (items read by scores, best proxy so far) of every candidate that was ranked; in a table (queries, truth
            of what would have been the answer).
        policy: ``policy`` of ``result.json``; None where there is none.
        correlation: ``n``, ``epochs`` and ``tau`` of ``correlation`` in ``result.json``: that of the strategy's
            weights as ``proxy``, and of the parameters; None where there is none.
    """

    strategy: str
    seed: int
    test: float | None
    proxy: float
    cost: Mapping[str, int]
    curve: tuple[tuple[float, float], ...]
    policy: Mapping[str, Any] | None = None
    correlation: Mapping[str, Any] | None = None


def outcomes(run: Path, strategy: str, seed: int) -> list[Outcome]:
    """What a finished run found: its search, and its random arm where it has one.

    Raises:
        CorruptRunError: what it left is damaged.
    """
    directory, result = RunDirectory(run), _result(run)
    try:
        found = [_outcome(directory, "search", strategy, seed, result["best"], result["search"])]
        if result["baseline"] is not None:
            own = result["baseline"]
            found.append(_outcome(directory, "baseline", RANDOM, seed, own, own["search"]))
        found = [replace(each, correlation=_own(result, arm)) for each, arm in zip(found, _ARMS, strict=False)]
        found[0] = replace(found[0], policy=result.get("policy"))
    except (KeyError, TypeError, ValueError):
        raise CorruptRunError(f"{run / 'result.json'}: damaged; it is not a result") from None
    return found


def _own(result: Mapping[str, Any], arm: str) -> dict[str, Any] | None:
    """The rank correlations of an arm; None where the run has none."""
    said = result.get("correlation")
    if not said:
        return None
    tau = {"proxy": said["tau"][arm], PARAMETERS: said["tau"][PARAMETERS]}
    return {"n": said["n"], "epochs": said["epochs"], "tau": tau}


def metric_of(run: Path) -> tuple[str, str]:
    """What a finished run measured, and whether ``min`` or ``max`` is better."""
    trained = _result(run)["best"]["trained"]
    return str(trained["metric"]), str(trained["direction"])


def _result(run: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads((run / "result.json").read_bytes())
    except (OSError, ValueError):
        raise CorruptRunError(f"{run / 'result.json'}: damaged; delete {run} to do this run again") from None
    return result


def _outcome(
    directory: RunDirectory, arm: str, strategy: str, seed: int, network: Mapping[str, Any], cost: Mapping[str, int]
) -> Outcome:
    lines = directory.read_job_file(arm, "journal.jsonl").decode().splitlines()
    events = [json.loads(line) for line in lines]
    # What was scored on the whole validation split: proposals of a search that does so, else candidates.
    scored = [e for e in events if e["event"] == "evaluation"] or [e for e in events if e["event"] == "candidate"]
    searched = scored and scored[0]["event"] == "evaluation"
    spent = 0 if searched else cost["evaluated_tokens"]
    each = (cost["evaluated_tokens"] if searched else cost["ranking_tokens"]) / max(1, len(scored))
    lower = network["trained"]["direction"] == "min"
    curve, best = [], None
    for number, event in enumerate(scored, 1):
        proxy = event["proxy"]
        if proxy is not None:
            best = proxy if best is None else (min if lower else max)(best, proxy)
        if best is not None:
            curve.append((spent + number * each, best))
    return Outcome(strategy, seed, network["trained"]["test"], network["proxy"]["value"], dict(cost), tuple(curve))


@dataclass(frozen=True)
class Comparison:
    """Strategies over the seeds that all of them finished.

    Attributes:
        metric: what is compared, on the test split.
        lower_is_better: its direction.
        seeds: those that count.
        left_out: seeds for which a run failed or has no finite score.
        test: by strategy.
        proxy: by strategy.
        rank: mean rank by strategy.
        cost: mean of each kind of cost, by strategy.
        pairs: each strategy against each later one.
        curves: by strategy: (items read by scores, mean of the best proxy so far, its standard error).
        in_table: whether scores were looked up, not trained for.
        correlation: what proxies are worth; None where no run has a sample.
        policies: what policies prefer, by strategy, of those that have one.
        budget: a sentence about what was equal, where it is not plain; empty where it is.
    """

    metric: str
    lower_is_better: bool
    seeds: tuple[int, ...]
    left_out: tuple[int, ...]
    test: Mapping[str, Mean]
    proxy: Mapping[str, Mean]
    rank: Mapping[str, float]
    cost: Mapping[str, Mapping[str, float]]
    pairs: Mapping[tuple[str, str], Paired]
    curves: Mapping[str, tuple[tuple[float, float, float], ...]]
    in_table: bool = False
    correlation: diagnoses.Agreement | None = None
    policies: Mapping[str, diagnoses.Preference] = field(default_factory=dict)
    budget: str = ""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        found = asdict(self)
        found["pairs"] = [{"first": a, "second": b, **asdict(pair)} for (a, b), pair in self.pairs.items()]
        return found


def compared(
    found: Sequence[Outcome],
    *,
    metric: str,
    lower_is_better: bool,
    in_table: bool = False,
    budget: str = "",
    wanted: Sequence[int] = (),
) -> Comparison | None:
    """The comparison; None where no seed was finished by all strategies.

    Args:
        found: what was found.
        metric: what is compared.
        lower_is_better: its direction.
        in_table: whether scores were looked up.
        budget: see `Comparison`.
        wanted: seeds that were asked for, of which some may not be among `found`.
    """
    strategies = list(dict.fromkeys(each.strategy for each in found))
    by = {(each.strategy, each.seed): each for each in found}
    seeds = sorted({*wanted, *(each.seed for each in found)})
    whole = [s for s in seeds if all((n, s) in by and by[n, s].test is not None for n in strategies)]
    if not whole:
        return None
    tests = {name: [float(by[name, seed].test or 0.0) for seed in whole] for name in strategies}
    costs = {name: [by[name, seed].cost for seed in whole] for name in strategies}
    preferences = {name: diagnoses.of_policy({seed: by[name, seed].policy for seed in whole}) for name in strategies}
    return Comparison(
        metric=metric,
        lower_is_better=lower_is_better,
        seeds=tuple(whole),
        left_out=tuple(seed for seed in seeds if seed not in whole),
        test={name: mean_of(values) for name, values in tests.items()},
        proxy={name: mean_of([by[name, seed].proxy for seed in whole]) for name in strategies},
        rank=mean_ranks(tests, lower_is_better=lower_is_better),
        cost={name: {key: mean_of([each[key] for each in own]).value for key in own[0]} for name, own in costs.items()},
        pairs={(a, b): paired(tests[a], tests[b]) for a, b in itertools.combinations(strategies, 2)},
        curves={name: _band([by[name, seed].curve for seed in whole]) for name in strategies},
        in_table=in_table,
        correlation=diagnoses.over_seeds({n: {seed: by[n, seed].correlation for seed in whole} for n in strategies}),
        policies={name: said for name, said in preferences.items() if said is not None},
        budget=budget,
    )


def _band(curves: Sequence[Sequence[tuple[float, float]]]) -> tuple[tuple[float, float, float], ...]:
    """Mean and standard error of step curves, at every step of any of them from where all have begun."""
    if not all(curves):
        return ()
    begin = max(curve[0][0] for curve in curves)
    places = sorted({x for curve in curves for x, _ in curve if x >= begin})
    band = []
    for x in places:
        mean = mean_of([max((step for step in curve if step[0] <= x), key=lambda step: step[0])[1] for curve in curves])
        band.append((x, mean.value, mean.error or 0.0))
    return tuple(band)


# In words ------------------------------------------------------------------------------------------------------------


def table(comparison: Comparison) -> str:
    """The comparison as text: a table, what it cost, and a sentence for each pair."""
    n = len(comparison.seeds)
    better = "lower" if comparison.lower_is_better else "higher"
    seeds = ", ".join(map(str, comparison.seeds[:MOST_SEEDS])) + (", ..." if n > MOST_SEEDS else "")
    title, asked = (f"test {comparison.metric}", "proxy")
    if comparison.in_table:
        title, asked = (f"{comparison.metric} in the table", "mean of its scores")
    lines = [
        f"{n} seed{'s' * (n != 1)}: {seeds}; {better} is better; ± is the standard error of a mean",
        "",
        f"{'strategy':<16}{title:>24}{'rank':>7}{asked:>20}"
        + (f"{'queries':>13}" if comparison.in_table else f"{'child steps':>13}{'scored items':>14}"),
    ]
    for name in sorted(comparison.rank, key=lambda each: comparison.rank[each]):
        cost = comparison.cost[name]
        scored = cost["evaluated_tokens"] + cost["ranking_tokens"]
        lines.append(
            f"{name:<16}{_shown(comparison.test[name]):>24}{comparison.rank[name]:>7.2f}"
            f"{_shown(comparison.proxy[name]):>20}"
            + (f"{scored:>13,.0f}" if comparison.in_table else f"{cost['child_steps']:>13,.0f}{scored:>14,.0f}")
        )
    lines += ["", *(_sentence(a, b, pair, comparison) for (a, b), pair in comparison.pairs.items())]
    read = [cost["evaluated_tokens"] + cost["ranking_tokens"] for cost in comparison.cost.values()]
    if max(read) > UNEQUAL * min(read):
        lines.append(
            "Their scores did not read equally much (scored items), so that those that read more had a better chance."
        )
    if comparison.budget:
        lines.append(comparison.budget)
    for name, policy in comparison.policies.items():
        lines += ["", *diagnoses.preference_lines(name, policy)]
    if comparison.correlation is not None:
        lines += ["", *diagnoses.agreement_lines(comparison.correlation)]
    if comparison.left_out:
        lines.append(
            f"Left out, since not every strategy has a score: seeds {', '.join(map(str, comparison.left_out))}."
        )
    return "\n".join(lines)


def _shown(mean: Mean) -> str:
    if mean.error is None:
        return f"{mean.value:.2f}"
    digits = _digits(mean.error)
    return f"{mean.value:.{digits}f} ± {mean.error:.{digits}f}"


def _digits(error: float) -> int:
    """Digits after the point: two, or three where an error would be next to nothing."""
    return 2 if error >= 0.05 or error == 0 else 3


def _sentence(a: str, b: str, pair: Paired, comparison: Comparison) -> str:
    difference = pair.difference
    scale = max(abs(comparison.test[a].value), abs(comparison.test[b].value))
    if abs(difference.value) <= 1e-9 * scale:  # rounding
        return f"{a} and {b} have the same mean (p = {pair.p:.3g})."
    first_wins = (difference.value < 0) == comparison.lower_is_better
    winner, loser = (a, b) if first_wins else (b, a)
    by = _shown(Mean(abs(difference.value), difference.error, difference.n))
    if by.startswith("0.00") and difference.value:
        by = f"{abs(difference.value):.2g}" + ("" if difference.error is None else f" ± {difference.error:.2g}")
    said = f"{winner} is better than {loser} by {by}, seed by seed (sign-flip test, p = {pair.p:.3g})"
    if pair.p < SIGNIFICANT:
        return f"{said}."
    if pair.smallest_p >= SIGNIFICANT:
        return (
            f"{said}; {difference.n} seed{'s' * (difference.n != 1)} cannot reach p < {SIGNIFICANT:g}, the smallest "
            f"possible is {pair.smallest_p:.3g}: take 6 or more."
        )
    return f"{said}, which chance explains as well."
