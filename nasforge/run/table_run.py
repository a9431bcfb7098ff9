"""A search in a table, from the first query to the verdict: one process, seconds, nothing trained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nasforge.controllers.advantage import mean
from nasforge.controllers.aiming import AimingController
from nasforge.controllers.base import Controller
from nasforge.data.files import make_folder, write_bytes_atomically, write_json_atomically, write_text_atomically
from nasforge.data.table import Table
from nasforge.graph.canonical import canonical_digest
from nasforge.graph.supergraph import Supergraph
from nasforge.plugins import Plugins
from nasforge.resolve import resolve
from nasforge.run.comparison import Outcome
from nasforge.run.directory import RunDirectory
from nasforge.run.pareto_picture import pareto_png
from nasforge.run.start import now, versions
from nasforge.run.table_front import fronts_of, within
from nasforge.seeds import derive, stream
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.spec.objectives import Objective
from nasforge.spec.specs import TableSpec
from nasforge.strategies.black_box import AskAgain, BlackBox, default_batch
from nasforge.strategies.options import BlackBoxOptions


@dataclass(frozen=True)
class Found:
    """What one arm found.

    Attributes:
        architecture: the answer: the best mean of the scores that were asked for.
        mean: of its scores, in the table's unit.
        scores: how many there are.
        distinct: how many different architectures were asked for.
        means: of the scores of each architecture that was asked for, in the table's unit, and how many there are.
        journal: one entry for each query.
        truths: after each query the truth of what would have been the answer then; the search knows nothing of it.
    """

    architecture: Architecture
    mean: float
    scores: int
    distinct: int
    means: Mapping[Architecture, tuple[float, int]]
    journal: list[dict[str, Any]]
    truths: tuple[float, ...]


def run_table(
    directory: RunDirectory, spec: TableSpec, plugins: Plugins, graph: Supergraph, table: Table
) -> dict[str, Any]:
    """Search, compare with random sampling, and leave the files of a run in `directory`, which this process owns.

    Args:
        directory: of the run.
        spec: what is searched.
        plugins: for controllers.
        graph: the space within the limits.
        table: what it is searched in.

    Returns:
        The contents of ``result.json``.
    """
    directory.write_run({**directory.read_run(), "status": "running"})
    arms = {"search": search_table(spec, plugins, graph.space, table, uniform=False)}
    if spec.compare.random:
        arms["baseline"] = search_table(spec, plugins, graph.space, table, uniform=True)
    lines = [{"event": "run", "name": spec.name, "seed": spec.seed, "profile": spec.profile}]
    lines += [{"job": arm, **entry} for arm, found in arms.items() for entry in found.journal]
    text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
    write_bytes_atomically(directory.path / "journal.jsonl", text.encode())
    result = _result(spec, graph, table, arms)
    make_folder(directory.path / "best")
    described = {
        "nasforge": 1,
        "digest": result["best"]["digest"],
        "canonical_digest": result["best"]["canonical_digest"],
        "decisions": result["best"]["decisions"],
        "space": spec.space_block(),
    }
    write_json_atomically(directory.path / "best" / "architecture.json", described)
    if result["pareto"] is not None:
        title = f"{spec.name}: mean scores of the architectures that were asked for"
        picture = pareto_png(result["pareto"], title, f"mean {table.metric}")
        write_bytes_atomically(directory.path / "pareto.png", picture)
    write_text_atomically(
        directory.path / "result.json", json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )
    directory.write_run({**directory.read_run(), "status": "done", "ended": now()})
    return result


def search_table(spec: TableSpec, plugins: Plugins, space: SearchSpace, table: Table, *, uniform: bool) -> Found:
    """One arm: the controller of the spec, or uniform sampling with as many queries."""
    config = spec.strategy
    assert isinstance(config, BlackBoxOptions)
    kind = plugins.catalogue.controllers["random"] if uniform else spec.controller_kind
    options = kind.config() if uniform else spec.controller
    seed = derive(spec.seed, "baseline" if uniform else "search")
    controller: Controller = resolve(kind.build)(space, options, seed=derive(seed, "controller"))
    smallest = kind.smallest_group(options)
    others = [each for each in spec.objectives if each.name != table.metric]
    if others:
        controller = AimingController(
            controller,
            lambda architecture: tuple(
                each.toward_higher(_column(table, space, architecture, each)) for each in others
            ),
        )

    def score(architecture: Architecture, query: int) -> float:
        row = table.row(space.encode(architecture))
        return table.reward(table.draw(row, stream(seed, "query", query)))

    search = BlackBox(
        controller,
        score,
        budget=config.queries,
        batch=config.batch or default_batch(smallest),
        ask_again=_again(config, table),
        smallest_group=smallest,
    )
    journal, truths = [], []
    for query in search.queries():
        truths.append(table.truth(table.row(space.encode(search.answer().architecture))))
        journal.append(
            {
                "event": "query",
                "number": query.number,
                "digest": query.architecture.digest,
                "score": table.reward(query.score),
                "again": query.again,
            }
        )
    answer = search.answer()
    return Found(
        answer.architecture,
        table.reward(answer.mean),
        len(answer.scores),
        len(search.archive),
        {each: (table.reward(mean(scores)), len(scores)) for each, scores in search.archive.items()},
        journal,
        tuple(truths),
    )


def _column(table: Table, space: SearchSpace, architecture: Architecture, objective: Objective) -> float:
    value: float = table.columns[objective.name][table.row(space.encode(architecture))].item()
    return value


def compare_in_table(
    spec: TableSpec,
    plugins: Plugins,
    space: SearchSpace,
    table: Table,
    controllers: Sequence[str],
    seeds: Iterable[int],
) -> Iterator[Outcome]:
    """What each controller finds with each seed and as many queries; those of the spec with its options."""
    for seed in seeds:
        for name in controllers:
            own = replace(spec, seed=seed)
            if name != spec.controller_kind.name:
                kind = plugins.catalogue.controllers[name]
                own = replace(own, controller=kind.config(), controller_kind=kind)
            found = search_table(own, plugins, space, table, uniform=False)
            truth = table.truth(table.row(space.encode(found.architecture)))
            cost = {"child_steps": 0, "evaluated_tokens": len(found.journal), "ranking_tokens": 0}
            curve = tuple((float(number), each) for number, each in enumerate(found.truths, 1))
            yield Outcome(name, seed, truth, found.mean, cost, curve)


def _again(config: BlackBoxOptions, table: Table) -> AskAgain | None:
    if config.ask_again is None:
        # Where there is one run, every answer is the same again.
        return AskAgain.for_budget(config.queries) if table.n_runs > 1 else None
    return AskAgain(config.ask_again) if config.ask_again else None


def _result(spec: TableSpec, graph: Supergraph, table: Table, arms: Mapping[str, Found]) -> dict[str, Any]:
    means = {arm: found.means for arm, found in arms.items()}
    kept = [truth for row, truth in enumerate(table.truths.tolist()) if within(spec, table, row)]
    top = max(kept) if table.direction == "max" else min(kept)
    best = _facts(graph, table, arms["search"], top)
    baseline = _facts(graph, table, arms["baseline"], top) if "baseline" in arms else None
    return {
        "status": "done",
        "name": spec.name,
        "space": {"name": spec.name, "kind": spec.space_kind.name, "size": str(graph.space.size)},
        "data": {
            "name": table.name,
            "sha256": table.sha256,
            "metric": table.metric,
            "direction": table.direction,
            "rows": len(table),
            "runs": table.n_runs,
            "best": top,
        },
        "verdict": verdict(table, best, baseline, top),
        "pareto": fronts_of(spec, graph.space, table, means) if len(spec.objectives) > 1 else None,
        "best": best,
        "baseline": None if baseline is None else {"kind": "random", **baseline},
        "search": {"queries": len(arms["search"].journal), "distinct": arms["search"].distinct},
        "seed": spec.seed,
        "profile": spec.profile,
        "versions": versions(),
    }


def _facts(graph: Supergraph, table: Table, found: Found, top: float) -> dict[str, Any]:
    row = table.row(graph.space.encode(found.architecture))
    return {
        "digest": found.architecture.digest,
        "canonical_digest": canonical_digest(graph, found.architecture),
        "decisions": dict(found.architecture),
        "mean": found.mean,
        "scores": found.scores,
        "truth": table.truth(row),
        "regret": abs(top - table.truth(row)),
        "columns": {name: column[row].item() for name, column in table.columns.items()},
    }


def verdict(table: Table, best: Mapping[str, Any], baseline: Mapping[str, Any] | None, top: float) -> dict[str, Any]:
    """Whether the search was worth it, in words and a flag; None where both are equal, or nothing was compared.

    Args:
        table: what was searched.
        best: what was found.
        baseline: what random search found; None where there is none.
        top: the best truth within the limits.
    """
    said = (
        f"The table gives the architecture found {best['truth']:.2f} {table.metric} (mean of {table.n_runs} runs), "
        f"{best['regret']:.2f} from the best of all{' within the limits' if top != table.best else ''}, {top:.2f}."
    )
    if baseline is None:
        return {"text": said, "beats_random": None}
    theirs = baseline["regret"]
    if best["regret"] == theirs:
        return {"text": f"{said} Random search with as many queries finds one that is as good.", "beats_random": None}
    won = best["regret"] < theirs
    how = "worse" if won else "better"
    said += (
        f" Random search with as many queries finds one that is {abs(theirs - best['regret']):.2f} {how} "
        f"({baseline['truth']:.2f}); one seed each says little."
    )
    return {"text": said, "beats_random": won}
