"""Two objectives in runs that train: the reported front is that of all that was scored, and is trained from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy import nasforge, write_toy

from nasforge.controllers.pareto import dominates, hypervolume
from nasforge.graph.count import Meter
from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space, input_shapes
from nasforge.spec.run_spec import load_run_spec

OBJECTIVES = "objectives: [min flops, min perplexity]\n"
ONE_SHOT = "strategy={kind: evolution, epochs: 2, evaluations: 12}"


def flops_of(space: Path) -> dict[str, int]:
    """By digest, counted anew."""
    plugins = build_plugins()
    spec = load_run_spec(space, plugins)
    final = compile_space(spec, "final", plugins.catalogue.operations)
    shapes = input_shapes(spec, final, spec.train.hidden)
    assert shapes is not None
    meter = Meter(final, plugins.catalogue.operations, shapes)
    return {each.digest: meter.count(each).flops for each in final.space.everything()}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        (ONE_SHOT, "controller={kind: evolution, population: 4, sample: 2}"),
        ("strategy={kind: reinforce, epochs: 2, evaluations: 10}", "controller={kind: lstm, units: 8}"),
    ],
)
def test_the_front_is_that_of_all_that_was_scored_and_the_best_is_of_it(
    overrides: tuple[str, ...], tmp_path: Path
) -> None:
    space = write_toy(tmp_path)
    space.write_text(space.read_text() + OBJECTIVES)
    arguments = ("run", space, *overrides, "compare.references=false", "derive.shortlist=3", "--run-dir")
    done = nasforge(*arguments, "made", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    result, flops = read(tmp_path / "made" / "result.json"), flops_of(space)
    found = result["pareto"]
    assert found["objectives"] == ["min perplexity", "min flops"]
    journal = [json.loads(line) for line in (tmp_path / "made" / "journal.jsonl").read_text().splitlines()]
    for job, arm in (("search", found), ("baseline", found["baseline"])):
        # Isomorphic copies are one; whole splits only: what ENAS reads for rewards are minibatches.
        proxies = {
            event["digest"]: event["proxy"]
            for event in journal
            if event.get("job") == job and event["event"] in ("evaluation", "candidate")
        }
        points = {digest: (-proxy, -flops[digest]) for digest, proxy in proxies.items()}
        expected = {one for digest, one in points.items() if not any(dominates(each, one) for each in points.values())}
        values = [(-each["values"]["perplexity"], -each["values"]["flops"]) for each in arm["front"]]
        assert set(values) == expected
        assert values == sorted(values, reverse=True)
        reference = (-found["reference"]["perplexity"], -found["reference"]["flops"])
        assert arm["hypervolume"] == pytest.approx(hypervolume(list(points.values()), reference))
        shortlist = read(tmp_path / "made" / "checkpoints" / job / "result.json")["shortlist"]
        chosen = {each["digest"] for each in shortlist}
        assert len(chosen) == min(3, len(points))
        front = [each["digest"] for each in arm["front"]]
        assert front[0] in chosen and (front[-1] in chosen)
        assert [each for each in front if each not in chosen] == [] or chosen <= set(front)
        assert {each["digest"] for each in arm["front"] if "short" in each} == chosen & set(front)
    trained = [each for each in found["front"] if "trained" in each]
    assert [each["digest"] for each in trained] in ([result["best"]["digest"]], [])
    assert "Pareto front: " in done.stdout and (tmp_path / "made" / "pareto.png").read_bytes()[:4] == b"\x89PNG"
    if not overrides:
        done = nasforge(*arguments, "again", cwd=tmp_path)
        for name in ("result.json", "journal.jsonl", "pareto.png"):
            assert (tmp_path / "made" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_metric_alone_is_what_it_was(tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    for name, objectives in (("plain", ""), ("said", "objectives=[min perplexity]")):
        arguments = [objectives] if objectives else []
        done = nasforge("run", space, *arguments, "compare.references=false", "--run-dir", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert read(tmp_path / "plain" / "result.json")["pareto"] is None
    for name in ("result.json", "journal.jsonl"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "said" / name).read_bytes()
    assert not (tmp_path / "said" / "pareto.png").exists()


def test_tasks_measure_what_they_declare() -> None:
    from nasforge.resolve import resolve

    for name, kind in build_plugins().catalogue.tasks.items():
        if kind.trains:
            metric = resolve(kind.build).metric
            assert kind.metric == (metric.name, metric.direction), name
