"""A search in a table, from the first query to the verdict: one process, seconds, nothing trained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nasforge.controllers.base import Controller
from nasforge.data.files import make_folder, write_bytes_atomically, write_json_atomically, write_text_atomically
from nasforge.data.table import Table
from nasforge.errors import DataError, SpecError
from nasforge.graph.canonical import canonical_digest
from nasforge.graph.supergraph import Supergraph
from nasforge.plugins import Plugins
from nasforge.resolve import resolve
from nasforge.run.comparison import Outcome
from nasforge.run.compile import compile_space, controller_faults
from nasforge.run.directory import RunDirectory
from nasforge.run.start import now, versions
from nasforge.seeds import derive, stream
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
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
        journal: one entry for each query.
        truths: after each query the truth of what would have been the answer then; the search knows nothing of it.
    """

    architecture: Architecture
    mean: float
    scores: int
    distinct: int
    journal: list[dict[str, Any]]
    truths: tuple[float, ...]


def load_table_of(spec: TableSpec, space: SearchSpace, base: Path) -> Table:
    """The table that a spec names.

    Raises:
        SpecError: it is missing, wrong, or of another space; shown at the line that names it.
    """
    faults = controller_faults(spec, space)
    if faults:
        raise SpecError(faults)
    try:
        table: Table = resolve(spec.task_kind.build)(spec.task, base, space)
    except DataError as error:
        raise SpecError([spec.fault(("task", spec.task_kind.data_key), str(error), key=False)]) from error
    return table


def run_table(directory: RunDirectory, spec: TableSpec, plugins: Plugins, table: Table) -> dict[str, Any]:
    """Search, compare with random sampling, and leave the files of a run in `directory`, which this process owns.

    Returns:
        The contents of ``result.json``.
    """
    graph = compile_space(spec, "search", plugins.catalogue.operations)
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
        answer.architecture, table.reward(answer.mean), len(answer.scores), len(search.archive), journal, tuple(truths)
    )


def compare_in_table(
    spec: TableSpec, plugins: Plugins, table: Table, controllers: Sequence[str], seeds: Iterable[int]
) -> Iterator[Outcome]:
    """What each controller finds with each seed and as many queries; those of the spec with its options."""
    space = compile_space(spec, "search", plugins.catalogue.operations).space
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
    best = _facts(graph, table, arms["search"])
    baseline = _facts(graph, table, arms["baseline"]) if "baseline" in arms else None
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
            "best": table.best,
        },
        "verdict": verdict(table, best, baseline),
        "best": best,
        "baseline": None if baseline is None else {"kind": "random", **baseline},
        "search": {"queries": len(arms["search"].journal), "distinct": arms["search"].distinct},
        "seed": spec.seed,
        "profile": spec.profile,
        "versions": versions(),
    }


def _facts(graph: Supergraph, table: Table, found: Found) -> dict[str, Any]:
    row = table.row(graph.space.encode(found.architecture))
    return {
        "digest": found.architecture.digest,
        "canonical_digest": canonical_digest(graph, found.architecture),
        "decisions": dict(found.architecture),
        "mean": found.mean,
        "scores": found.scores,
        "truth": table.truth(row),
        "regret": table.regret(row),
        "columns": {name: column[row].item() for name, column in table.columns.items()},
    }


def verdict(table: Table, best: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> dict[str, Any]:
    """Whether the search was worth it, in words and a flag; None where both are equal, or nothing was compared."""
    said = (
        f"The table gives the architecture found {best['truth']:.2f} {table.metric} (mean of {table.n_runs} runs), "
        f"{best['regret']:.2f} from the best of all, {table.best:.2f}."
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
