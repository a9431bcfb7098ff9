"""What proxies are worth: the sample, the rank correlation and its words, in one run and over seeds."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers import cell
from scipy.stats import kendalltau
from toy import nasforge, write_toy

from nasforge.graph.canonical import canonical_digest
from nasforge.run.correlation import correlation
from nasforge.run.diagnoses import agreement_lines, of_policy, over_seeds, preference_lines
from nasforge.run.sampling import stratified


def members(proxies: list[float | None], sizes: list[int]) -> list[dict[str, Any]]:
    return [
        {"digest": f"d{i}", "canonical_digest": f"c{i}", "decisions": {}, "parameters": size, "proxy": proxy}
        for i, (proxy, size) in enumerate(zip(proxies, sizes, strict=True))
    ]


def test_tau_is_positive_where_proxies_and_sizes_agree_with_training() -> None:
    sizes = [1, 2, 3, 4]
    for lower, trained in ((True, [9.0, 8.0, 7.0, 6.0]), (False, [6.0, 7.0, 8.0, 9.0])):
        good, bad = list(trained), trained[::-1]
        found = correlation(
            {"search": members([*good], sizes), "baseline": members([*bad], sizes)},
            [*trained],
            metric="m",
            lower_is_better=lower,
            epochs=2,
        )
        taus = {name: tau["value"] for name, tau in found["tau"].items()}
        assert taus == {"search": 1.0, "baseline": -1.0, "parameters": 1.0}
        assert (
            "after 2 epochs from scratch is 1.00 with the weights of the search, -1.00 with those of random search; "
            "that of the number of parameters is 1.00."
        ) in found["text"]


def test_architectures_with_a_score_that_is_not_finite_are_left_out_of_all_and_counted() -> None:
    search, baseline = members([1.0, 2.0, 3.0, 4.0, None], [1] * 5), members([4.0, None, 1.0, 3.0, 2.0], [1] * 5)
    found = correlation(
        {"search": search, "baseline": baseline}, [1.0, 2.0, 3.0, 4.0, 5.0], metric="m", lower_is_better=True, epochs=1
    )
    assert (found["n"], found["left_out"]) == (3, 2)
    assert found["tau"]["search"]["value"] == 1.0
    # Of 4, 1, 3 beside 1, 3, 4 one pair of three is in order.
    assert found["tau"]["baseline"]["value"] == pytest.approx(-1 / 3)
    assert found["tau"]["parameters"] is None
    assert "; 2 left out, whose scores are not finite" in found["text"] and "is undefined." in found["text"]
    few = correlation({"search": search}, [1.0, 2.0, None, None, 5.0], metric="m", lower_is_better=True, epochs=1)
    assert (few["n"], few["left_out"], few["tau"]) == (2, 3, {"search": None, "parameters": None})
    assert "too few for a rank correlation" in few["text"]


def test_results_of_more_trainings_than_the_sample_holds_are_of_no_architecture() -> None:
    found = correlation(
        {"search": members([1.0, 2.0, 3.0], [3, 2, 1])},
        [1.0, 2.0, 3.0, None],
        metric="m",
        lower_is_better=True,
        epochs=1,
    )
    assert (found["n"], found["left_out"]) == (3, 0)


def test_a_sample_has_one_of_each_stratum_and_no_isomorphic_copies() -> None:
    graph = cell(3)
    space = graph.space

    def size(architecture: Any) -> int:
        return int(architecture.digest[:6], 16)

    def draw(seed: int, count: int) -> list[Any]:
        return stratified(graph, size, count, random.Random(seed))

    found = draw(0, 5)
    assert draw(0, 5) == found != draw(1, 5)
    rng, drawn = random.Random(0), {}
    for _ in range(100):
        architecture = space.sample(rng)
        drawn.setdefault(canonical_digest(graph, architecture), size(architecture))
    ordered = sorted(drawn.values())
    n = len(ordered)
    for i, member in enumerate(found):
        assert member.parameters == size(member.architecture)
        assert member.parameters in ordered[n * i // 5 : n * (i + 1) // 5]
        assert member.canonical_digest == canonical_digest(graph, member.architecture)
    # A space that holds fewer gives all that it has.
    every = draw(0, 200)
    assert len({member.canonical_digest for member in every}) == len(every) < 200
    assert [m.parameters for m in every] == sorted(m.parameters for m in every)


SHORT = ("derive.shortlist=1", "train.epochs=1", "compare.references=false")


def test_a_run_correlates_the_proxies_of_both_arms_with_trainings(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    plain = nasforge("run", space, *SHORT, "--run-dir", "plain", cwd=tmp_path)
    done = nasforge("run", space, *SHORT, "compare.correlation=4", "--run-dir", "with", cwd=tmp_path)
    assert plain.returncode == 0 and done.returncode == 0, plain.stderr + done.stderr
    without, result = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("plain", "with"))
    said = result.pop("correlation")
    assert without.pop("correlation") is None
    # Nothing else of a run depends on it.
    assert result == without
    assert said["text"] in done.stdout
    assert (said["n"], said["left_out"], said["epochs"]) == (4, 0, 1)
    architectures = said["architectures"]
    assert len({each["canonical_digest"] for each in architectures}) == 4
    trained = [each["trained"] for each in architectures]
    for i, each in enumerate(architectures):
        job = json.loads((tmp_path / "with" / "checkpoints" / f"sample-{i}" / "result.json").read_text())
        assert job["valid"] == each["trained"]
    for arm in ("search", "baseline"):
        proxies = [each["proxy"][arm] for each in architectures]
        assert said["tau"][arm]["value"] == pytest.approx(kendalltau(proxies, trained).statistic)
    assert [each["proxy"]["search"] for each in architectures] != [each["proxy"]["baseline"] for each in architectures]

    # What was trained is not trained again, and a run without its result goes on to the same.
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "with", copy)
    for gone in (copy / "checkpoints" / "sample-2", copy / "best"):
        shutil.rmtree(gone)
    (copy / "result.json").unlink()
    assert nasforge("resume", copy, cwd=tmp_path).returncode == 0
    assert (copy / "result.json").read_bytes() == (tmp_path / "with" / "result.json").read_bytes()
    assert (copy / "journal.jsonl").read_bytes() == (tmp_path / "with" / "journal.jsonl").read_bytes()


def test_a_run_from_before_there_were_samples_goes_on(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    arguments = (*SHORT, "compare.random=false", "--run-dir", "old")
    assert nasforge("run", space, *arguments, cwd=tmp_path).returncode == 0
    old = tmp_path / "old"
    result = (old / "result.json").read_bytes()
    resolved = (old / "resolved.yaml").read_text()
    assert "  correlation: 0\n" in resolved
    (old / "resolved.yaml").write_text(resolved.replace("  correlation: 0\n", ""))
    shutil.rmtree(old / "checkpoints" / "search-train")
    (old / "result.json").unlink()
    done = nasforge("resume", old, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (old / "result.json").read_bytes() == result


def test_a_space_of_fewer_architectures_than_are_asked_for_gives_what_it_has(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    arguments = (*SHORT, "space.nodes=1", "compare.random=false", "derive.candidates=1", "compare.correlation=5")
    done = nasforge("run", space, *arguments, "--run-dir", "few", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "few" / "result.json").read_text())["correlation"]
    assert (said["n"], said["left_out"], len(said["architectures"])) == (3, 0, 3)
    reason = json.loads((tmp_path / "few" / "checkpoints" / "sample-3" / "result.json").read_text())["reason"]
    assert reason == "the sample holds fewer distinct architectures"


# Over seeds ----------------------------------------------------------------------------------------------------------


def tau(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.5, "high": value + 0.5, "n": 12}


def test_taus_are_told_by_seed_with_their_mean() -> None:
    def of(own: float, size: float | None) -> dict[str, Any]:
        return {"n": 12, "epochs": 1, "tau": {"proxy": tau(own), "parameters": size and tau(size)}}

    found = over_seeds(
        {"enas": {0: of(0.4, 0.1), 3: of(0.6, None)}, "random": {0: of(0.2, 0.1), 3: of(0.3, None)}, "other": {0: None}}
    )
    assert found is not None
    assert list(found.tau) == ["enas", "random", "parameters"]
    assert found.mean["enas"] is not None
    assert (found.mean["enas"].value, found.mean["enas"].error) == (pytest.approx(0.5), pytest.approx(0.1))
    lines = [line.split("  ") for line in agreement_lines(found)]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert "after 1 epoch from scratch, of 12 architectures" in cells[0][0]
    assert cells[1:] == [
        ["seed", "proxies, enas", "proxies, random", "parameters alone"],
        ["0", "0.40 [-0.10, 0.90]", "0.20 [-0.30, 0.70]", "0.10 [-0.40, 0.60]"],
        ["3", "0.60 [0.10, 1.10]", "0.30 [-0.20, 0.80]", "undefined"],
        ["mean", "0.50 ± 0.10", "0.25 ± 0.05", "0.10"],
    ]
    assert over_seeds({"enas": {0: None}, "random": {0: None}}) is None


def policy(difference: float, error: float | None, **more: Any) -> dict[str, Any]:
    return {
        "gain": {"difference": difference, "standard_error": error},
        "proxy": {"policy": {"value": 90.0 + difference}, "uniform": {"value": 100.0}},
        "trained_by_policy": True,
        "alarms": [],
        "by_role": {"op": {"tanh": 3, "relu": 1}},
        **more,
    }


def test_gains_alarms_and_options_of_policies_are_told() -> None:
    found = of_policy({0: policy(0.4, 0.1), 1: policy(0.2, 0.15, alarms=["it fell"]), 2: policy(0.6, None), 3: None})
    assert found is not None
    assert (found.clear, list(found.gains), found.alarms) == (1, [0, 1, 2], {1: ["it fell"]})
    assert found.options == {"op": {"tanh": 9, "relu": 3}}
    assert found.gain is not None and found.gain.value == pytest.approx(0.4)
    first, *rest = preference_lines("enas", found)
    assert "a mean reward of +0.40 ± 0.12; they are better by 2 standard errors or more in 1 of 3 seeds" in first
    assert "(+4.0, +1.3, -)" in first and "Mean proxy: 90.40 ± 0.12, uniform 100." in first
    assert first.endswith("The weights were trained where the policy went, which favours it.")
    assert rest == ["enas proposes at the end (op): tanh 75%, relu 25%", "warning: enas, seed 1: it fell"]
    assert of_policy({0: None}) is None
    silent = of_policy({0: policy(0.0, None, gain={}, by_role={}, proxy={})})
    assert silent is not None and preference_lines("enas", silent) == []
