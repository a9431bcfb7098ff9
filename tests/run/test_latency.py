"""Latency: medians after a warm-up, one reading for each network, limits on it, and what is refused before training."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from helpers import cell
from toy import nasforge, write_toy

from nasforge.errors import CorruptRunError, PluginError, RunFailedError, UsageError
from nasforge.executors.network import Network
from nasforge.graph.canonical import canonical_digest
from nasforge.graph.limits import Bound
from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.run.directory import RunDirectory
from nasforge.run.group import Group, refuse_for_ranks
from nasforge.run.jobs import Workshop
from nasforge.run.latency import FEW, MOST_REFUSED, PROBES, LatencyMeter, LatencyRule, median_ms, probe
from nasforge.spec.run_spec import load_run_spec
from nasforge.spec.sections import LatencyOptions
from nasforge.tasks.base import Task

GRAPH = cell(4, ops=("tanh", "relu"))
ALL = GRAPH.space.everything()


def test_the_reading_is_the_median_of_the_calls_after_the_warm_up() -> None:
    seconds = [0.1, 0.2, 0.003, 0.001, 0.0021234]
    ticks = itertools.chain.from_iterable((10.0 * n, 10.0 * n + each) for n, each in enumerate(seconds))
    calls: list[int] = []
    reading = median_ms(lambda: calls.append(0), LatencyOptions(warm_up=2, calls=3), clock=lambda: next(ticks))
    assert reading == 2.123 and len(calls) == 5


class FakeTask:
    """Counts evaluations."""

    def __init__(self) -> None:
        self.calls = 0

    def evaluation(self, network: Network, batch: int) -> Any:
        self.calls += 1
        return lambda: None


def meter(path: Path, task: FakeTask) -> LatencyMeter:
    return LatencyMeter(
        cast(Task, task), GRAPH, lambda architecture: cast(Network, architecture), LatencyOptions(), path
    )


def test_isomorphic_architectures_have_one_reading_and_so_has_who_comes_later(tmp_path: Path) -> None:
    task, path = FakeTask(), tmp_path / "latency.jsonl"
    first = meter(path, task)
    readings = {each: first(each) for each in ALL}
    n_distinct = len({canonical_digest(GRAPH, each) for each in ALL})
    assert task.calls == n_distinct < len(ALL) and len(path.read_text().splitlines()) == n_distinct
    later = meter(path, task)
    assert {each: later(each) for each in ALL} == readings and task.calls == n_distinct


def test_a_torn_reading_is_measured_again_and_a_damaged_file_is_told(tmp_path: Path) -> None:
    task, path = FakeTask(), tmp_path / "latency.jsonl"
    meter(path, task)(ALL[0])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"canonical_digest": "ab')
    again = meter(path, task)
    again(ALL[0])
    assert task.calls == 1 and path.read_bytes() == whole
    path.write_bytes(b"nothing\n" + whole)
    with pytest.raises(CorruptRunError, match=r"latency\.jsonl: damaged"):
        meter(path, task)(ALL[0])


class Others:
    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        return () if architecture["node0.op"] == "tanh" else ("first: no tanh",)


def test_only_what_keeps_the_other_limits_is_measured() -> None:
    asked: list[Mapping[str, str]] = []

    def reading(architecture: Mapping[str, str]) -> float:
        asked.append(architecture)
        return 2.5 if architecture["node1.op"] == "tanh" else 3.5

    rule = LatencyRule(Bound(most=3), Others(), reading)
    said = {rule.violations(each) for each in ALL}
    assert said == {(), ("first: no tanh",), ("latency_ms: 3.5 are more than 3",)}
    assert all(each["node0.op"] == "tanh" for each in asked)


def test_a_search_that_finds_nothing_but_slow_networks_ends() -> None:
    rule = LatencyRule(Bound(most=1.0), None, lambda architecture: float(architecture["n"]))
    for n in range(2, MOST_REFUSED + 1):
        for _ in range(3):
            rule.violations({"n": str(n)})
    with pytest.raises(RunFailedError, match=f"of {MOST_REFUSED} different .* from 2.0 to 501.0 ms, median 251.5"):
        rule.violations({"n": str(MOST_REFUSED + 1)})


def test_probing_ends_when_enough_is_known() -> None:
    space = GRAPH.space
    fast = probe(space, Bound(most=3), lambda architecture: 1.0)
    assert (len(fast.readings), fast.within) == (FEW, FEW)
    slow = probe(space, Bound(most=3), lambda architecture: 4.0)
    assert (len(slow.readings), slow.within) == (PROBES, 0)
    numbers = itertools.count()
    late = probe(space, Bound(most=3), lambda architecture: 4.0 if next(numbers) < 20 else 1.0)
    assert (len(late.readings), late.within) == (21, 1)


def test_what_is_timed_is_the_final_network_on_as_many_examples_as_told(tmp_path: Path) -> None:
    plugins = build_plugins()
    spec = load_run_spec(write_toy(tmp_path), plugins, overrides=["train.hidden=7"])
    shop = Workshop(spec, plugins, RunDirectory(tmp_path), base=tmp_path, device="cpu", backend=None)
    network = shop.fresh(shop.final_graph.space.everything()[0])
    scores = shop.task.evaluation(network, 3)()
    assert isinstance(scores, torch.Tensor)
    # `reward_bptt` words of three sequences; 30 words and the marks of ends and of unknown words.
    assert scores.shape[0] == 3 * 10 and 30 <= scores.shape[1] <= 32 and not scores.requires_grad
    assert network.core.width == 7


def test_a_task_that_does_not_say_what_an_evaluation_is_is_named() -> None:
    with pytest.raises(PluginError, match="FakeTask has no 'evaluation'"):
        Task.evaluation(cast(Task, FakeTask()), cast(Network, None), 1)


def test_ranks_do_not_measure(tmp_path: Path) -> None:
    spec = load_run_spec(write_toy(tmp_path), build_plugins(), overrides=["limits={latency_ms: 3}"])
    refuse_for_ranks(Group(0, 1, 0, 1.0), spec, "cpu")
    with pytest.raises(UsageError, match="latency_ms is measured by one process, and here are 2 ranks"):
        refuse_for_ranks(Group(0, 2, 0, 1.0), spec, "cpu")


def digests(run: Path, event: str) -> list[str]:
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [line["digest"] for line in lines if line["event"] == event]


@pytest.mark.parametrize(
    "strategy", ["enas, epochs: 2, controller_steps: 2, candidates_per_step: 4", "evolution, epochs: 2, evaluations: 8"]
)
def test_nothing_slower_than_the_limit_is_scored_or_reported_and_a_resumed_run_is_the_same(
    strategy: str, tmp_path: Path
) -> None:
    space = write_toy(tmp_path)
    first = nasforge("run", space, "limits={latency_ms: 1000}", "--run-dir", "free", cwd=tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "latency: of 5 architectures that were drawn uniformly and measured, 5 are within" in first.stdout
    controller = "{kind: lstm, units: 8}" if strategy.startswith("enas") else "evolution"
    arguments = (f"strategy={{kind: {strategy}}}", f"controller={controller}", "compare.references=false")
    limit = ("limits={latency_ms: 2.5, count: {tanh: 2}}", "latency={calls: 1, warm_up: 0}")
    plugins = build_plugins()
    spec = load_run_spec(space, plugins, overrides=[*arguments, *limit])
    graph = compile_space(spec, "search", plugins.catalogue.operations)
    # Every other network is slow, by readings that are there already.
    made = {canonical_digest(graph, each): each for each in graph.space.unlimited.everything()}
    readings = {digest: 1.0 + 2 * (number % 2) for number, digest in enumerate(sorted(made))}
    text = "".join(json.dumps({"canonical_digest": d, "ms": ms}) + "\n" for d, ms in readings.items())
    run = tmp_path / "made"
    begun = nasforge("run", space, *arguments, *limit, "--run-dir", "begun", cwd=tmp_path)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    # The same run from its start, with other readings.
    facts = json.loads((tmp_path / "begun" / "run.json").read_text())
    results = []
    for name in ("made", "again"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file in ("space.yaml", "resolved.yaml"):
            (folder / file).write_bytes((tmp_path / "begun" / file).read_bytes())
        (folder / "run.json").write_text(json.dumps({**facts, "status": "interrupted"}))
        (folder / "latency.jsonl").write_text(text)
        done = nasforge("resume", name, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (folder / "latency.jsonl").read_text() == text
        results.append((folder / "result.json").read_bytes())
    assert results[0] == results[1]
    result = json.loads(results[0])
    for arm in (result["best"], result["baseline"]):
        assert arm["latency_ms"] == 1.0 == readings[arm["canonical_digest"]]
    by_digest = {each.digest: each for each in graph.space.unlimited.everything()}
    scored = digests(run, "candidate") + digests(run, "evaluation")
    assert scored
    for digest in scored:
        assert readings[canonical_digest(graph, by_digest[digest])] == 1.0
        assert list(by_digest[digest].values()).count("tanh") <= 2


def test_a_limit_that_nothing_keeps_is_an_error_before_training(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    space.write_text(space.read_text() + "limits: {latency_ms: 0.001}\n")
    done = nasforge("run", space, "--run-dir", "made", cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    line = len(space.read_text().splitlines())
    assert (
        f"toy.yaml:{line}:9: of 50 architectures that were drawn uniformly and measured, none is within" in done.stderr
    )
    assert " ms, median " in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "made").glob("checkpoints/*"))
    checked = nasforge("check", space, cwd=tmp_path)
    assert checked.returncode == 0 and "limits.latency_ms is not counted: it is measured when a run" in checked.stdout


def test_latency_can_be_the_second_objective(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    space.write_text(
        space.read_text() + "objectives: [min perplexity, min latency_ms]\nlatency: {batch: 2, calls: 3}\n"
    )
    done = nasforge("run", space, "compare.references=false", "--run-dir", "made", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "made" / "result.json").read_text())
    lines = (tmp_path / "made" / "latency.jsonl").read_text().splitlines()
    readings = {entry["canonical_digest"]: entry for entry in map(json.loads, lines)}
    for each in result["pareto"]["front"]:
        entry = readings[each["canonical_digest"]]
        assert each["values"]["latency_ms"] == each["latency_ms"] == entry["ms"] > 0
        assert entry["threads"] == 1 and entry["device"] == "cpu"
