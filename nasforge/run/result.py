"""``result.json``: what a run found, said plainly. Facts only; clock readings live elsewhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nasforge.run.correlation import correlation
from nasforge.run.directory import RunDirectory
from nasforge.run.pareto import hypervolume_of, metric_first, worst_of
from nasforge.run.plan import Job
from nasforge.spec.specs import RunSpec

PROXY_NOTE = (
    "Scores with shared weights are proxies: they rank candidates and say nothing about what a network reaches. "
    "The result is the score after training from scratch."
)

SHORT_NOTE = (
    "Scores of the search are those of short trainings from scratch: they rank candidates. The result is the score "
    "after the final training."
)

NOISE_PERCENT = 2.0
"""Below this difference two single trainings are not told apart: seeds alone move a trained perplexity by about 1 %."""

_TITLES = {
    "lstm": "an LSTM of about equal size",
    "one_node": "the one-node cell",
    "plain": "the plain 3x3 network",
    "largest": "the candidate with the most parameters",
}


def build_result(
    spec: RunSpec,
    jobs: Sequence[Job],
    directory: RunDirectory,
    *,
    size: int,
    data: Mapping[str, Any],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """The contents of ``result.json`` of a run whose jobs are all finished.

    Args:
        spec: the run's spec.
        jobs: its plan.
        directory: where the jobs left their results.
        size: number of architectures of the space.
        data: `Task.facts`.
        versions: of Python and of the libraries that numbers depend on.
    """
    arms = {job.arm: directory.read_job_result(job.name) for job in jobs if job.kind == "train"}
    references = [directory.read_job_result(job.name) for job in jobs if job.kind == "reference"]
    best, baseline = arms["search"], arms.get("baseline")
    names = [*spec.task_kind.references, *spec.space_kind.references(spec.space, spec.stack)]
    result: dict[str, Any] = {
        "status": "failed" if best["trained"]["test"] is None else "done",
        "name": spec.name,
        "space": {"name": spec.name, "kind": spec.space_kind.name, "size": str(size)},
        "data": dict(data),
        "verdict": verdict(best, baseline, references, names),
        "best": _network(best, spec),
        "baseline": None if baseline is None else {"kind": "random", **_network(baseline, spec)},
        "references": [{"name": r["name"], "parameters": r["parameters"], "trained": r["trained"]} for r in references],
        "search": _cost(directory, "search"),
        "policy": _policy(jobs, directory),
        "pareto": _pareto(spec, directory, list(arms), best) if len(spec.objectives) > 1 else None,
        "correlation": _correlation(spec, directory, list(arms), best["trained"]) if spec.compare.correlation else None,
        "seed": spec.seed,
        "profile": spec.profile,
        "versions": dict(versions),
        "note": PROXY_NOTE if spec.executor_kind.source == "shared" else SHORT_NOTE,
    }
    if baseline is not None:
        result["baseline"]["search"] = _cost(directory, "baseline")
    return result


def _policy(jobs: Sequence[Job], directory: RunDirectory) -> dict[str, Any] | None:
    """What the policy prefers; ``on_random_weights`` is the same on weights that it has not helped to train."""
    policy = directory.read_job_result("search").get("policy")
    if policy is None:
        return None
    found: dict[str, Any] = {key: value for key, value in policy.items() if key != "probes"}
    if any(job.kind == "policy" for job in jobs):
        found["on_random_weights"] = directory.read_job_result("policy")
    return found


def _network(arm: Mapping[str, Any], spec: RunSpec) -> dict[str, Any]:
    trained = arm["trained"]
    proxy = {"metric": trained["metric"], "direction": trained["direction"], "split": "valid", "value": arm["proxy"]}
    proxy |= {"scored_by": spec.scored_by}
    kept = {
        key: arm[key] for key in ("digest", "canonical_digest", "decisions", "parameters", "latency_ms") if key in arm
    }
    measured = {key: trained[key] for key in ("metric", "direction")}
    short = {"short_training": {**measured, **arm["short"]}} if "short" in arm else {}
    return {**kept, "proxy": proxy, **short, "trained": dict(trained)}


def _pareto(spec: RunSpec, directory: RunDirectory, arms: Sequence[str], best: Mapping[str, Any]) -> dict[str, Any]:
    """The front of what each arm scored on the whole validation split; what was trained of it is marked."""
    found = {arm: directory.read_job_result(arm) for arm in arms}
    objectives = metric_first(spec.objectives, best["trained"]["metric"])
    reference = worst_of(objectives, [each["pareto"]["worst"] for each in found.values()])
    fronts: dict[str, dict[str, Any]] = {}
    for arm, each in found.items():
        front = [dict(member) for member in each["pareto"]["front"]]
        volume = hypervolume_of(objectives, [member["values"] for member in front], reference)
        fronts[arm] = {"scored": each["pareto"]["scored"], "hypervolume": volume, "front": front}
        for index, candidate in enumerate(each["shortlist"] if spec.derive.shortlist > 1 else ()):
            short = {"short": directory.read_job_result(f"{arm}-short-{index}")}
            for member in front:
                member |= short if member["digest"] == candidate["digest"] else {}
    for member in fronts["search"]["front"]:
        if member["digest"] == best["digest"]:
            member["trained"] = {key: best["trained"][key] for key in ("valid", "test")}
    return {
        "objectives": [str(each) for each in objectives],
        "note": f"Scores of the search ({spec.scored_by}): `short` and `trained` say what was trained afterwards.",
        "reference": reference,
        "reference_is": "the worst value of each objective among all that the run scored",
        **fronts["search"],
        "baseline": fronts.get("baseline"),
    }


def _cost(directory: RunDirectory, arm: str) -> dict[str, int]:
    found = directory.read_job_result(arm)
    cost = found["cost"]
    return {
        "evaluations": cost["evaluations"],
        "evaluated_tokens": cost["evaluated_items"],
        "child_steps": cost["child_steps"],
        "controller_steps": cost["controller_steps"],
        "tokens": cost["items"],
        "candidates_ranked": found["ranked"],
        "ranking_tokens": found["ranked_items"],
    }


def _correlation(
    spec: RunSpec, directory: RunDirectory, arms: Sequence[str], trained: Mapping[str, Any]
) -> dict[str, Any]:
    return correlation(
        {arm: directory.read_job_result(arm)["sample"] for arm in arms},
        [directory.read_job_result(f"sample-{i}")["valid"] for i in range(spec.compare.correlation)],
        metric=trained["metric"],
        lower_is_better=trained["direction"] == "min",
        epochs=spec.derive.short_epochs,
    )


def verdict(
    best: Mapping[str, Any],
    baseline: Mapping[str, Any] | None,
    references: Sequence[Mapping[str, Any]],
    names: Sequence[str] = (),
) -> dict[str, Any]:
    """Whether the search was worth it, in words and flags.

    A flag is None where there is no score to compare with, or both are equal. Two scores are not told apart where they
    differ by less than `NOISE_PERCENT`, or, where standard errors are known, by less than twice that of the difference.

    Args:
        best: what was found.
        baseline: what random search found; None where there is none.
        references: what was trained beside it.
        names: of all references that such a run may have: each has a flag.
    """
    trained = best["trained"]
    mine, metric, lower = trained["test"], trained["metric"], trained["direction"] == "min"
    rivals = [("beats_random", "random search on the same budget", baseline)] if baseline is not None else []
    rivals += [
        (f"beats_{reference['name']}", _TITLES.get(reference["name"], f"'{reference['name']}'"), reference)
        for reference in references
    ]
    flags: dict[str, bool | None] = dict.fromkeys(("beats_random", *(f"beats_{name}" for name in names)))
    flags |= {flag: None for flag, _, _ in rivals}
    if mine is None:
        return {"text": "The final training of the searched network failed: its test score is not finite.", **flags}
    parts = [f"The searched network, trained from scratch, reaches a test {metric} of {_shown(trained)}."]
    outcome: dict[str, list[str]] = {"won": [], "close": [], "lost": []}
    for flag, title, rival in rivals:
        theirs = rival["trained"]["test"]
        if theirs is None:
            parts.append(f"The training of {title} failed: its score is not finite.")
            continue
        if mine == theirs:
            outcome["close"].append(title)
            parts.append(f"It equals {title} ({_shown(rival['trained'])}).")
            continue
        won = mine < theirs if lower else mine > theirs
        by, close = _difference(trained, rival["trained"])
        flags[flag] = won
        outcome["close" if close else "won" if won else "lost"].append(title)
        relation = "beats" if won else "is beaten by"
        noise = ", which one training each cannot tell from noise" if close else ""
        parts.append(f"It {relation} {title} ({_shown(rival['trained'])}) by {by}{noise}.")
    return {"text": " ".join([*parts, _conclusion(outcome)]), **flags}


def _shown(trained: Mapping[str, Any]) -> str:
    error = trained.get("test_standard_error")
    return f"{trained['test']:.2f}" if error is None else f"{trained['test']:.2f} ± {error:.2f}"


def _difference(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, bool]:
    """How far two scores are apart, in words, and whether that is too little to tell them apart."""
    apart = abs(mine["test"] - theirs["test"])
    mine_error, their_error = mine.get("test_standard_error"), theirs.get("test_standard_error")
    if mine_error is not None and their_error is not None:
        return f"{apart:.2f} points", apart < 2 * math.hypot(mine_error, their_error)
    percent = apart / theirs["test"] * 100
    return f"{percent:.1f} %", percent < NOISE_PERCENT


def _conclusion(outcome: Mapping[str, list[str]]) -> str:
    if not any(outcome.values()):
        return "Nothing was trained beside it, so whether the search was worth it is not known."
    said = []
    if outcome["won"]:
        said.append(f"the search was worth it against {_and(outcome['won'])}")
    if outcome["close"]:
        said.append(f"it is not told apart from {_and(outcome['close'])}")
    if outcome["lost"]:
        said.append(f"it was not worth it against {_and(outcome['lost'])}")
    return f"So {'; '.join(said)}."


def _and(titles: Sequence[str]) -> str:
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def to_json(result: Mapping[str, Any]) -> str:
    """The text of ``result.json``."""
    return json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
