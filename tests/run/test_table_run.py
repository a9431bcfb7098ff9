"""A search in a table: from the file to the verdict, what is refused, and comparisons of controllers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy import nasforge

from nasforge.controllers.pareto import dominates, hypervolume
from nasforge.data.table import save_table
from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.space.search_space import SearchSpace
from nasforge.spec.run_spec import load_spec

SPACE = """\
nasforge: 1
name: small
space:
  kind: choices
  decisions:
    depth: [2, 4, 8]
    op: [conv, pool]
    skip: [true, false]
    width: [thin, wide, wider]
task: {kind: table, file: small.npz}
strategy: {kind: black_box, queries: 24}
controller: local_search
"""
OPTIONS = (3, 2, 2, 3)


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """A space of 36 architectures and its table: additive scores, three runs each, the best is the last."""
    rng = np.random.default_rng(0)
    architectures = np.array(list(np.ndindex(*OPTIONS)))
    truth = 50 + architectures @ np.array([3.0, 2.0, 1.0, 4.0])
    scores = truth[:, None] + rng.normal(0, 0.5, (len(truth), 3))
    columns = {"params": architectures.sum(axis=1) * 100}
    save_table(
        tmp_path / "small.npz", architectures=architectures, scores=scores, name="small table", metric="accuracy",
        direction="max", columns=columns,
    )  # fmt: skip
    path = tmp_path / "small.yaml"
    path.write_text(SPACE)
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("controller", ["local_search", "evolution", "random", "lstm"])
def test_a_run_finds_looks_up_and_compares(space: Path, controller: str) -> None:
    folder = space.parent
    for name in ("first", "second"):
        done = nasforge("run", space, f"controller={controller}", "--run-dir", name, "--seed", "1", cwd=folder)
        assert done.returncode == 0, done.stderr
    result = read(folder / "first" / "result.json")
    table = np.load(folder / "small.npz")
    best = result["best"]
    indices = [
        [str(o).lower() for o in options].index(best["decisions"][name])
        for name, options in zip(
            ("depth", "op", "skip", "width"),
            ([2, 4, 8], ["conv", "pool"], [True, False], ["thin", "wide", "wider"]),
            strict=True,
        )
    ]
    (row,) = np.flatnonzero((table["architectures"] == indices).all(axis=1))
    assert best["truth"] == pytest.approx(table["scores"][row].mean())
    assert best["regret"] == pytest.approx(table["scores"].mean(axis=1).max() - best["truth"])
    assert best["columns"] == {"params": int(table["params"][row])}
    journal = [json.loads(line) for line in (folder / "first" / "journal.jsonl").read_text().splitlines()]
    queries = [line for line in journal if line["event"] == "query"]
    assert [line["job"] for line in queries] == ["search"] * 24 + ["baseline"] * 24
    for line in queries:
        assert np.isclose(table["scores"], line["score"]).any()
    # Equal runs leave equal files, but for clock readings.
    for name in ("journal.jsonl", "result.json", "best/architecture.json"):
        assert (folder / "first" / name).read_bytes() == (folder / "second" / name).read_bytes()
    assert read(folder / "first" / "run.json")["status"] == "done"
    assert f"{best['truth']:.2f} accuracy (mean of 3 runs)" in done.stdout
    shown = nasforge("show", "first", cwd=folder)
    assert shown.returncode == 0 and result["verdict"]["text"] in shown.stdout
    again = nasforge("run", space, "--run-dir", "first", cwd=folder)
    assert again.returncode == 2 and "there is a run already" in again.stderr


def test_resume_does_it_from_the_start_and_wants_the_same_table(space: Path) -> None:
    folder = space.parent
    done = nasforge("run", space, "--run-dir", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    whole = (folder / "run" / "result.json").read_bytes()
    (folder / "run" / "result.json").unlink()
    run = read(folder / "run" / "run.json")
    (folder / "run" / "run.json").write_text(json.dumps({**run, "status": "running"}))
    done = nasforge("resume", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "result.json").read_bytes() == whole
    (folder / "run" / "run.json").write_text(json.dumps({**run, "status": "running", "data": "0" * 64}))
    done = nasforge("resume", "run", cwd=folder)
    assert done.returncode == 2 and "the table is not what this run began with" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("file: small.npz", "file: none.npz", 10, "no such file"),
        ("[conv, pool]", "[conv, pool, none]", 10, "'op' has 2 options in the table, 3 in the space"),
        ("    skip: [true, false]\n", "", 9, "have 4 decisions, the space 3"),
        ("[conv, pool]", "[conv, conv]", 7, "the option 'conv' stands there twice"),
        ("[conv, pool]", "[]", 7, "op"),
        ("op: [", "1op: [", 7, "a decision is named by a letter"),
        ("[conv, pool]", "[conv, {a: 1}]", 7, "must be a text"),
        ("kind: black_box", "kind: enas", 11, "does not fit the task 'table', which trains nothing"),
        ("queries: 24", "queries: 0", 11, "queries"),
        ("queries: 24", "queries: 24, ask_again: 24", 11, "nothing is left to search"),
        ("controller: local_search", "controller: lstm\ntrain: {epochs: 2}", 13, "`train` would mean nothing"),
        ("controller: local_search", "derive: {candidates: 2}", 12, "`derive` would mean nothing"),
        ("controller: local_search", "executor: shared_weights", 12, "`executor` would mean nothing"),
        ("controller: local_search", "compare: {correlation: 5}", 12, "but the task 'table' trains nothing"),
        ("controller: local_search", "limits: {parms: 5M}", 12, "no column 'parms'. Did you mean 'params'?"),
        ("controller: local_search", "limits: {params: 5m}", 12, "`params` must be a number, also with k, M or G"),
        ("controller: local_search", "limits: {params: {mx: 5}}", 12, "unknown key 'mx' in a bound. Did you mean"),
        ("controller: local_search", "limits: 5M", 12, "`limits` must be a mapping, or null, found '5M'"),
        ("controller: local_search", "limits: {params: {min: 701}}", 12, "of all 36 rows of the table none is within"),
        ("controller: local_search", "limits: {params: {min: 701}}", 12, "from 0 to 600, median 300, and within its"),
        ("controller: local_search", "objectives: [max accuracy, min parms]", 12, "Did you mean 'params'?"),
        ("controller: local_search", "objectives: [min accuracy, min params]", 12, "higher accuracy is better"),
        ("controller: local_search", "objectives: [min params]", 12, "metric is missing among the objectives"),
        ("controller: local_search", "latency: {batch: 2}", 12, "`latency` would mean nothing"),
        ("controller: local_search", "controller: {kind: lstm, learning_rate: 5}", 12, "learning_rate"),
        ("black_box, queries: 24}\ncontroller: local_search", "black_box, batch: 1}\ncontroller: lstm", 11, "strategy.batch"),
    ],
)  # fmt: skip
def test_faults_are_shown_at_their_line(space: Path, old: str, new: str, line: int, said: str) -> None:
    assert old in SPACE
    space.write_text(SPACE.replace(old, new))
    done = nasforge("run", space, "--run-dir", "run", cwd=space.parent)
    assert done.returncode == 2, done.stdout
    assert said in done.stderr
    assert f"small.yaml:{line}:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (space.parent / "run").exists()


@pytest.mark.parametrize("option", [("--threads", "2"), ("--device", "cuda")])
def test_what_a_look_up_does_not_have_is_refused(space: Path, option: tuple[str, str]) -> None:
    done = nasforge("run", space, *option, "--run-dir", "run", cwd=space.parent)
    assert done.returncode == 2
    assert f"{option[0]} means nothing" in done.stderr
    assert not (space.parent / "run").exists()


def test_check_sample_and_show_know_the_space(space: Path) -> None:
    folder = space.parent
    checked = nasforge("check", space, "--json", cwd=folder)
    assert checked.returncode == 0, checked.stderr
    (report,) = json.loads(checked.stdout)
    assert (report["size"], report["distinct"], report["parameters"]) == (36, 36, None)
    sampled = nasforge("sample", space, "-n", "40", cwd=folder)
    drawn = [json.loads(line) for line in sampled.stdout.splitlines()]
    assert len({d["canonical_digest"] for d in drawn}) == len({json.dumps(d["decisions"]) for d in drawn}) > 10
    shown = nasforge("show", space, "--seed", "1", cwd=folder)
    assert shown.returncode == 0 and "choice=depth" in shown.stdout


def test_compare_takes_controllers(space: Path) -> None:
    folder = space.parent
    done = nasforge("compare", space, "--strategies", "local_search,random", "--seeds", "12", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["in_table"] and told["seeds"] == list(range(12))
    one = nasforge("run", space, "--seed", "3", "--run-dir", "three", cwd=folder)
    assert one.returncode == 0
    curve = told["curves"]["local_search"]
    assert [x for x, _, _ in curve] == list(range(1, 25))
    assert curve[-1][1] == pytest.approx(told["test"]["local_search"]["value"])
    assert told["test"]["local_search"]["value"] > told["test"]["random"]["value"]
    done = nasforge("compare", space, "--strategies", "enas,random", cwd=folder)
    assert done.returncode == 2 and "there is no strategy 'enas'" in done.stderr
    done = nasforge("compare", space, "--correlation", "0", cwd=folder)
    assert done.returncode == 2 and "--correlation means nothing for a table" in done.stderr
    text = nasforge("compare", space, "--strategies", "local_search,random", "--seeds", "2", cwd=folder)
    assert "accuracy in the table" in text.stdout and "queries" in text.stdout


@pytest.mark.parametrize(("runs", "again"), [(1, 0), (3, 30)])
def test_the_best_are_asked_again_only_where_answers_differ(space: Path, runs: int, again: int) -> None:
    folder = space.parent
    table = dict(np.load(folder / "small.npz"))
    save_table(
        folder / "small.npz", architectures=table["architectures"], scores=table["scores"][:, :runs], name="t",
        metric="accuracy", direction="max",
    )  # fmt: skip
    done = nasforge("run", space, "strategy.queries=150", "--run-dir", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (folder / "run" / "journal.jsonl").read_text().splitlines()]
    assert sum(line["again"] for line in lines if line.get("job") == "search") == again


def test_limits_on_columns_hold_for_every_query_the_answer_and_what_is_sampled(space: Path) -> None:
    folder = space.parent
    space.write_text(SPACE + "limits: {params: {min: 150, max: 450}}\n")
    done = nasforge("run", space, "--run-dir", "run", cwd=folder)
    assert done.returncode == 0, done.stderr
    result = read(folder / "run" / "result.json")
    table = np.load(folder / "small.npz")
    within = (table["params"] >= 150) & (table["params"] <= 450)
    assert 0 < within.sum() < len(within)
    scores = set(table["scores"][within].round(9).ravel())
    for line in (folder / "run" / "journal.jsonl").read_text().splitlines()[1:]:
        assert round(json.loads(line)["score"], 9) in scores
    best = table["scores"].mean(axis=1)[within].max()
    assert result["data"]["best"] == pytest.approx(best) and result["best"]["columns"]["params"] <= 450
    assert result["best"]["regret"] == pytest.approx(best - result["best"]["truth"])
    assert "of all within the limits" in result["verdict"]["text"] and result["pareto"] is None
    sampled = nasforge("sample", space, "-n", "30", cwd=folder)
    for line in sampled.stdout.splitlines():
        d = json.loads(line)["decisions"]
        indices = [
            [2, 4, 8].index(int(d["depth"])),
            ["conv", "pool"].index(d["op"]),
            ["true", "false"].index(d["skip"]),
        ]
        assert 150 <= 100 * (sum(indices) + ["thin", "wide", "wider"].index(d["width"])) <= 450
    (report,) = json.loads(nasforge("check", space, "--json", cwd=folder).stdout)
    assert (report["within"], report["limits"]) == (within.sum(), {"params": {"min": 150, "max": 450}})
    resolved = nasforge(
        "check", folder / "run" / "resolved.yaml", f"task.file={folder}/small.npz", "--json", cwd=folder
    )
    assert json.loads(resolved.stdout)[0]["limits"] == report["limits"]


def test_limits_on_columns_need_a_table(space: Path) -> None:
    text = SPACE[: SPACE.index("task:")] + SPACE[SPACE.index("strategy:") :]
    space.write_text(text + "limits: {params: 5M}\n")
    done = nasforge("check", space, cwd=space.parent)
    assert done.returncode == 2 and "limits on columns need the task that names the table" in done.stderr


@pytest.mark.parametrize("controller", ["evolution", "local_search", "random", "lstm"])
def test_the_reported_front_is_that_of_all_that_was_asked_for(space: Path, controller: str) -> None:
    folder = space.parent
    space.write_text(SPACE + "objectives: [min params, max accuracy]\n")
    for name in ("run", "again"):
        done = nasforge("run", space, f"controller={controller}", "--run-dir", name, cwd=folder)
        assert done.returncode == 0, done.stderr
    for name in ("result.json", "journal.jsonl", "pareto.png"):
        assert (folder / "run" / name).read_bytes() == (folder / "again" / name).read_bytes()
    found = read(folder / "run" / "result.json")["pareto"]
    assert found["objectives"] == ["max accuracy", "min params"]
    journal = [json.loads(line) for line in (folder / "run" / "journal.jsonl").read_text().splitlines()]
    space_of = load_spec_space(space)
    params = {each.digest: 100 * sum(space_of.encode(each)) for each in space_of.everything()}
    for job, arm in (("search", found), ("baseline", found["baseline"])):
        asked: dict[str, list[float]] = {}
        for line in journal:
            if line.get("job") == job:
                asked.setdefault(line["digest"], []).append(line["score"])
        points = {digest: (float(np.mean(scores)), -params[digest]) for digest, scores in asked.items()}
        expected = {
            digest for digest, one in points.items() if not any(dominates(each, one) for each in points.values())
        }
        assert {each["digest"] for each in arm["front"]} == expected
        for each in arm["front"]:
            assert each["values"] == {
                "accuracy": pytest.approx(points[each["digest"]][0]), "params": params[each["digest"]]
            }  # fmt: skip
        reference = (found["reference"]["accuracy"], -found["reference"]["params"])
        assert arm["hypervolume"] == pytest.approx(hypervolume(list(points.values()), reference))
        assert 0 < arm["truth"]["share"] <= 1
    assert "Pareto front of" in done.stdout and (folder / "run" / "pareto.png").read_bytes()[:4] == b"\x89PNG"


def load_spec_space(path: Path) -> SearchSpace:
    plugins = build_plugins()
    return compile_space(load_spec(path, plugins), "search", plugins.catalogue.operations).space
