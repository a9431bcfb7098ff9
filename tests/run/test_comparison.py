"""Strategies side by side: what counts, what is said, and a comparison from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy import nasforge, write_toy

from nasforge.run.comparison import Comparison, Outcome, compared, table

COST = {"child_steps": 100, "evaluated_tokens": 20, "ranking_tokens": 30}


def outcome(strategy: str, seed: int, test: float | None, **more: Any) -> Outcome:
    given: dict[str, Any] = {"proxy": 9.0, "cost": COST, "curve": ((10.0, 5.0), (20.0, 4.0)), **more}
    return Outcome(strategy, seed, test, **given)


def of(enas: list[float | None], random: list[float | None], *, lower: bool = True) -> Comparison | None:
    found = [outcome("enas", seed, test) for seed, test in enumerate(enas)]
    found += [outcome("random", seed, test) for seed, test in enumerate(random)]
    return compared(found, metric="perplexity", lower_is_better=lower)


def test_only_seeds_that_all_finished_count() -> None:
    comparison = of([10.0, None, 12.0, 14.0], [11.0, 3.0, 13.0])
    assert comparison is not None
    assert (comparison.seeds, comparison.left_out) == ((0, 2), (1, 3))
    assert comparison.test["enas"].value == 11.0
    assert comparison.pairs["enas", "random"].difference.value == -1.0
    assert comparison.rank == {"enas": 1.0, "random": 2.0}
    assert "Left out, since not every strategy has a score: seeds 1, 3." in table(comparison)
    assert of([None], [1.0]) is None


@pytest.mark.parametrize(
    ("enas", "random", "lower", "said"),
    [
        ([9.0] * 6, [10.0] * 6, True, "enas is better than random by 1.00 ± 0.00, seed by seed (sign-flip test, p = 0.0312)."),
        ([9.0] * 6, [10.0] * 6, False, "random is better than enas by 1.00 ± 0.00, seed by seed (sign-flip test, p = 0.0312)."),
        ([9.0] * 5, [10.0] * 5, True, "5 seeds cannot reach p < 0.05, the smallest possible is 0.0625: take 6 or more."),
        ([9.0], [10.0], True, "1 seed cannot reach p < 0.05, the smallest possible is 1: take 6 or more."),
        ([9.0, 10.0] * 3, [10.0, 9.5] * 3, True, "(sign-flip test, p = 0.625), which chance explains as well."),
        ([9.0, 8.0], [9.0, 8.0], True, "enas and random have the same mean (p = 1)."),
        ([0.1 + 0.2, 0.5], [0.5, 0.3], True, "enas and random have the same mean (p = 1)."),
        ([9.001, 8.0], [9.0, 8.0], True, "random is better than enas by 0.0005 ± 0.0005"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_pair(enas: list[float | None], random: list[float | None], lower: bool, said: str) -> None:
    comparison = of(enas, random, lower=lower)
    assert comparison is not None
    assert said in table(comparison)


def test_budgets_that_differ_are_told() -> None:
    for scored, told in ((54, False), (57, True)):
        cost = {**COST, "evaluated_tokens": scored - 30}
        found = [outcome("enas", 0, 1.0), outcome("evolution", 0, 1.0, cost=cost)]
        comparison = compared(found, metric="perplexity", lower_is_better=True)
        assert comparison is not None
        assert ("did not read equally much" in table(comparison)) == told


def test_strategies_other_than_the_files_own_get_their_controllers_and_its_weight_steps(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    space.write_text(space.read_text().replace("epochs: 2, controller_steps", "epochs: 1, controller_steps", 1))
    names = "evolution,local_search"
    done = nasforge(
        "compare", space, "derive.shortlist=1", "train.epochs=1", "--strategies", names, "--seeds", "1", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert list(told["test"]) == ["evolution", "local_search"]
    resolved = (tmp_path / "runs" / "toy-compare" / "evolution-seed0" / "resolved.yaml").read_text()
    assert "kind: evolution" in resolved and "kind: lstm" not in resolved
    enas = nasforge("run", space, "derive.shortlist=1", "train.epochs=1", "--run-dir", "enas", cwd=tmp_path)
    assert enas.returncode == 0, enas.stderr
    steps = json.loads((tmp_path / "enas" / "result.json").read_text())["search"]["child_steps"]
    assert {cost["child_steps"] for cost in told["cost"].values()} == {steps}


def test_bands_begin_where_all_curves_have_begun_and_step_with_each() -> None:
    found = [
        outcome("enas", 0, 1.0, curve=((10.0, 5.0), (30.0, 3.0))),
        outcome("enas", 1, 1.0, curve=((20.0, 7.0), (25.0, 4.0))),
        outcome("random", 0, 1.0),
        outcome("random", 1, 1.0),
    ]
    comparison = compared(found, metric="perplexity", lower_is_better=True)
    assert comparison is not None
    assert comparison.curves["enas"] == ((20.0, 6.0, 1.0), (25.0, 4.5, 0.5), (30.0, 3.5, 0.5))


def test_compare_runs_resumes_and_tells(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    first = nasforge("compare", space, "derive.shortlist=1", "train.epochs=1", "--seeds", "1", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "1 seed: 0; lower is better" in first.stdout
    assert "of 12 architectures of all sizes" in first.stdout
    assert "With the same shared weights at the end, proposals of enas differ" in first.stdout
    folder = tmp_path / "runs" / "toy-compare"
    kept = (folder / "enas-seed0" / "run.json").read_bytes()
    again = ("compare", space, "derive.shortlist=1", "train.epochs=1", "--seeds", "2", "--json")
    second = nasforge(*again, cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert (folder / "enas-seed0" / "run.json").read_bytes() == kept
    told = json.loads(second.stdout)
    results = [json.loads((folder / f"enas-seed{n}" / "result.json").read_text()) for n in (0, 1)]
    for name, arm in (("enas", "best"), ("random", "baseline")):
        values = [result[arm]["trained"]["test"] for result in results]
        assert told["test"][name]["value"] == pytest.approx(sum(values) / 2)
    correlation, policies = told["correlation"], told["policies"]
    assert correlation["n"] == {"0": 12, "1": 12} and set(policies) == {"enas"}
    for name, arm in (("enas", "search"), ("random", "baseline"), ("parameters", "parameters")):
        taus = [result["correlation"]["tau"][arm] for result in results]
        assert [correlation["tau"][name][seed] for seed in ("0", "1")] == taus
        mean = correlation["mean"][name]
        assert (mean is None) == (taus == [None, None])
        assert mean is None or mean["value"] == pytest.approx(sum(tau["value"] for tau in taus) / 2)
    gains = [result["policy"]["gain"]["difference"] for result in results]
    assert policies["enas"]["gain"]["value"] == pytest.approx(sum(gains) / 2)
    proposed = [result["policy"]["proxy"]["policy"]["value"] for result in results]
    assert policies["enas"]["proxy"]["value"] == pytest.approx(sum(proposed) / 2)
    # 100 proposals of each seed, three operations each.
    assert sum(policies["enas"]["options"]["op"].values()) == 2 * 100 * 3
    assert told == json.loads((folder / "comparison.json").read_text())
    rows = list(csv.DictReader((folder / "curve.csv").read_text().splitlines()))
    assert {row["strategy"] for row in rows} == {"enas", "random"}
    last = [float(row["best_proxy_mean"]) for row in rows if row["strategy"] == "enas"][-1]
    proxies = [result["best"]["proxy"]["value"] for result in results]
    assert last == pytest.approx(sum(proxies) / 2, rel=1e-4)
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")

    for arguments, said in (
        (("compare", space, "train.epochs=2", "--seeds", "2"), "was begun there with other arguments"),
        (("compare", space, "--strategies", "enas,randm"), "Did you mean 'random'?"),
        (("compare", space, "--strategies", "random"), "name at least two"),
        (("compare", space, "seed=7"), "--first-seed and --seeds say which seeds are run"),
        (("compare", space, "compare.random=false"), "name random among --strategies"),
        (("compare", space, "compare.references=true"), "trains no references"),
        (("compare", space, "compare.correlation=5"), "--correlation says how many architectures"),
        (("compare", space, "--correlation", "2"), "a rank correlation needs 3 or more; 0 for none"),
    ):
        done = nasforge(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert said in done.stderr
    space.write_text(space.read_text() + "# changed\n")
    done = nasforge(*again, cwd=tmp_path)
    assert (done.returncode, "another content of the file" in done.stderr) == (2, True)


def test_who_is_correlated_is_said_by_the_option_else_by_the_file(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    space.write_text(space.read_text() + "compare: {correlation: 3}\n")
    common = ("compare", space, "derive.shortlist=1", "train.epochs=1", "--seeds", "1", "--json")
    for more, wanted in (((), 3), (("--correlation", "0"), 0), (("--correlation", "4"), 4)):
        done = nasforge(*common, *more, "--dir", f"of-{wanted}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        correlation = json.loads(done.stdout)["correlation"]
        assert (correlation and correlation["n"]) == ({"0": wanted} if wanted else None)
    # The runs of other strategies would train the same architectures again.
    names = ("--strategies", "enas,reinforce", "--dir", "two")
    done = nasforge(*common, *names, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["correlation"]["tau"]) == ["enas", "parameters"]
    assert not (tmp_path / "two" / "reinforce-seed0" / "checkpoints" / "sample-0").exists()


def test_other_strategies_get_the_budget_of_the_files_own(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    names = "enas,evolution,reinforce,random"
    done = nasforge(
        "compare", space, "derive.shortlist=1", "train.epochs=1", "--strategies", names, "--seeds", "1", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)["cost"]
    per_score = cost["enas"]["ranking_tokens"] / cost["enas"]["candidates_ranked"]
    wanted = cost["enas"]["evaluated_tokens"] + cost["enas"]["ranking_tokens"]
    for name in ("evolution", "reinforce"):
        assert cost[name]["child_steps"] == cost["enas"]["child_steps"]
        assert abs(cost[name]["evaluations"] * per_score - wanted) <= per_score / 2
        # Architectures that are proposed again are computed once.
        assert cost[name]["evaluated_tokens"] + cost[name]["ranking_tokens"] <= wanted + per_score / 2


def test_strategies_with_and_without_shared_weights_make_as_many_child_steps(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    names = "enas,black_box,successive_halving,random"
    sizes = ("derive.shortlist=1", "derive.short_epochs=2", "strategy.epochs=4", "train.epochs=1")
    done = nasforge("compare", space, *sizes, "--strategies", names, "--seeds", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "toy-compare"
    told = json.loads((folder / "comparison.json").read_text())
    cost = told["cost"]
    assert {cost[name]["child_steps"] for name in names.split(",")} == {cost["enas"]["child_steps"]}
    # 4 epochs: two trainings of 2; or 3 children of 1 epoch, one of which gets another.
    assert (cost["black_box"]["evaluations"], cost["successive_halving"]["evaluations"]) == (2, 4)
    assert "All make as many child steps (weight steps) as enas does" in told["budget"]
    assert told["budget"] in (folder / "comparison.txt").read_text()
    for name in ("black_box", "successive_halving"):
        executor = yaml.safe_load((folder / f"{name}-seed0" / "resolved.yaml").read_text())["executor"]
        assert (executor["kind"], executor["epochs"], executor["hidden"]) == ("standalone", 2, 6)
        assert (executor["recipe"]["bptt"], executor["recipe"]["batch_size"]) == (10, 8)


def test_shared_weights_get_the_child_steps_of_trainings_from_scratch(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    text = space.read_text().replace("strategy: {kind: enas, epochs: 2, controller_steps: 2, candidates_per_step: 3}",
        "strategy: {kind: black_box, queries: 3}").replace("executor: {hidden: 6", "executor: {kind: standalone, epochs: 2, hidden: 6")  # fmt: skip
    space.write_text(text.replace("controller: {kind: lstm, units: 8}", "controller: evolution"))
    done = nasforge(
        "compare", space, "derive.shortlist=1", "train.epochs=1", "--strategies", "evolution,black_box", "--seeds", "1",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cost = json.loads(done.stdout)["cost"]
    assert cost["evolution"]["child_steps"] == cost["black_box"]["child_steps"] > 0


def test_a_comparison_without_rungs_is_refused_before_the_first_run(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    done = nasforge("compare", space, "--strategies", "enas,successive_halving", cwd=tmp_path)
    assert done.returncode == 2
    assert "`first_epochs` must be below" in done.stderr and "derive.short_epochs" in done.stderr
    assert not any((tmp_path / "runs" / "toy-compare").iterdir())


def test_runs_that_fail_or_are_damaged_are_told_with_the_seeds_that_count(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    arguments = ("compare", space, "derive.shortlist=1", "train.epochs=1", "--seeds", "2")
    folder = tmp_path / "runs" / "toy-compare"
    done = nasforge(*arguments, "--first-seed", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # Seed 0 cannot run: its place is taken by a file.
    (folder / "enas-seed0").write_text("")
    done = nasforge(*arguments, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning: enas, seed 0 failed" in done.stderr
    told = json.loads(done.stdout)
    assert (told["seeds"], told["left_out"]) == ([1], [0])
    (folder / "enas-seed1" / "result.json").write_text("{")
    done = nasforge(*arguments, "--first-seed", "1", cwd=tmp_path)
    assert done.returncode == 5
    assert "result.json: damaged" in done.stderr and "Traceback" not in done.stderr
    torchrun = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    done = nasforge(*arguments, cwd=tmp_path, env=torchrun)
    assert done.returncode == 2 and "call it without torchrun" in done.stderr


def test_runs_that_fail_are_left_out_and_told(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    done = nasforge(
        "compare", space, "executor.recipe.learning_rate=1e30", "executor.recipe.optimizer=sgd", "--seeds", "1",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "warning: enas, seed 0 failed" in done.stderr
    assert "no seed was finished by all strategies" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_files_own_strategy_is_compared_with_random_search_unless_told_otherwise(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    own = [
        "strategy={kind: black_box, queries: 2}",
        "controller=random",
        "executor={kind: standalone, hidden: 6, epochs: 1}",
    ]
    done = nasforge(
        "compare", space, *own, "derive.shortlist=1", "train.epochs=1", "--seeds", "1", "--json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["test"]) == {"black_box", "random"}
