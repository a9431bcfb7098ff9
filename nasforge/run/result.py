"""``result.json``: what a run found, said plainly. Facts only; clock readings live elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nasforge.run.directory import RunDirectory
from nasforge.run.plan import Job
from nasforge.spec.run_spec import RunSpec

PROXY_NOTE = (
    "Scores with shared weights are proxies: they rank candidates and say nothing about what a network reaches. "
    "The result is the score after training from scratch."
)


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
    result: dict[str, Any] = {
        "status": "done",
        "name": spec.name,
        "space": {"name": spec.name, "kind": spec.space_kind.name, "size": str(size)},
        "data": dict(data),
        "verdict": verdict(best, baseline, references),
        "best": _network(best),
        "baseline": None if baseline is None else {"kind": "random", **_network(baseline)},
        "references": [
            {"name": r["name"], "parameters": r["parameters"], "trained": r["trained"]} for r in references
        ],
        "search": _cost(directory, "search"),
        "seed": spec.seed,
        "profile": spec.profile,
        "versions": dict(versions),
        "note": PROXY_NOTE,
    }
    if baseline is not None:
        result["baseline"]["search"] = _cost(directory, "baseline")
    return result


def _network(arm: Mapping[str, Any]) -> dict[str, Any]:
    trained = arm["trained"]
    proxy = {"metric": trained["metric"], "direction": trained["direction"], "split": "valid", "value": arm["proxy"]}
    kept = {key: arm[key] for key in ("digest", "canonical_digest", "decisions", "parameters")}
    short = {"short_training": arm["short"]} if "short" in arm else {}
    return {**kept, "proxy": proxy, **short, "trained": dict(trained)}


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
    }


def verdict(
    best: Mapping[str, Any], baseline: Mapping[str, Any] | None, references: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Whether the search was worth it, in words and flags; a flag is None where there is nothing to compare with.

    One training each is one draw: differences are of the size of seed noise below about two per cent, which the text
    says.
    """
    trained = best["trained"]
    mine, metric, lower = trained["test"], trained["metric"], trained["direction"] == "min"
    flags: dict[str, Any] = {"beats_random": None}
    if mine is None:
        return {"text": "The searched network's final training failed: its test score is not finite.", **flags}
    rivals: list[tuple[str, str, float | None]] = []
    if baseline is not None:
        rivals.append(("beats_random", "random search on the same budget", baseline["trained"]["test"]))
    for reference in references:
        title = {"lstm": "an LSTM of about equal size", "one_node": "the one-node cell"}.get(
            reference["name"], f"the reference '{reference['name']}'"
        )
        rivals.append((f"beats_{reference['name']}", title, reference["trained"]["test"]))
    parts = [f"The searched network, trained from scratch, reaches a test {metric} of {mine:.2f}."]
    for flag, title, theirs in rivals:
        won = theirs is None or (mine < theirs if lower else mine > theirs)
        flags[flag] = won
        if theirs is None:
            parts.append(f"The training of {title} failed (its score is not finite).")
            continue
        difference = abs(mine - theirs) / theirs * 100
        relation = "beats" if won else "is beaten by"
        close = " (within the noise of one training each)" if difference < 2 else ""
        parts.append(f"It {relation} {title} ({theirs:.2f}) by {difference:.1f} %{close}.")
    lost = [title for flag, title, _ in rivals if flags[flag] is False]
    if not rivals:
        parts.append("Nothing was trained beside it, so whether the search was worth it is not known.")
    elif lost:
        parts.append(f"So this search was not worth it against {' and '.join(lost)}.")
    else:
        parts.append("So this search was worth it against everything it was compared with.")
    return {"text": " ".join(parts), **flags}


def to_json(result: Mapping[str, Any]) -> str:
    """The text of ``result.json``."""
    return json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
