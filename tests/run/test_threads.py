"""How many threads a run gets: the table of the rule, what is measured, and that a run keeps its number."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import nasforge, write_toy

from nasforge.errors import UsageError
from nasforge.plugins import build_plugins
from nasforge.run import threads
from nasforge.run.directory import RunDirectory
from nasforge.run.measure import ROUNDS, timed
from nasforge.run.pool import MEASURE, Message
from nasforge.run.runner import Observer, Runner
from nasforge.run.threads import Choice, asked, by_rule, choose, counts, pick
from nasforge.spec.run_spec import load_run_spec
from nasforge.spec.specs import RunSpec

SPACES = Path(__file__).parents[2] / "spaces"
Toy = tuple[Path, subprocess.CompletedProcess[str]]


def spec_of(name: str, *overrides: str, profile: str | None = None) -> RunSpec:
    return load_run_spec(SPACES / f"{name}.yaml", build_plugins(), profile=profile, overrides=overrides)


LARGE = ("executor.hidden=512", "executor.recipe.batch_size=64", "train.hidden=512", "train.recipe.batch_size=64")
MACRO = ("space.image=[3,32,32]", "task.resize=null", "space.channels=16", "train.stack.channels=16")
WIDE = ("space.image=[3,32,32]", "task.resize=null", "space.stack.channels=16")


@pytest.mark.parametrize(
    ("name", "overrides", "number"),
    [
        ("ptb_rnn", (), 1),
        ("ptb_rnn", LARGE, 2),
        ("ptb_rnn", (*LARGE, "executor.recipe.batch_size=60"), 1),
        ("ptb_rnn", (*LARGE, "train.recipe.batch_size=60"), 1),
        ("ptb_rnn", (*LARGE, "executor.hidden=400"), 1),
        ("ptb_rnn", (*LARGE, "train.hidden=400"), 1),
        ("ptb_rnn", (*LARGE, "space.hidden={choose: 1, from: [512, 700]}"), 2),
        ("ptb_rnn", (*LARGE, "space.hidden={choose: 1, from: [100, 700]}"), 1),
        ("cifar10_macro", MACRO, 2),
        ("cifar10_macro", (*MACRO, "space.channels={choose: 1, from: [4, 16]}"), 1),
        ("cifar10_macro", (*MACRO, "train.stack.channels=4"), 1),
        ("cifar10_micro", WIDE, 2),
        ("cifar10_micro", (*WIDE, "space.stack.channels=7"), 1),
        ("cifar10_micro", (*WIDE, "executor.recipe.batch_size=32"), 1),
        ("cifar10_micro", (*WIDE, "train.stack.channels=4"), 1),
        ("cifar10_micro", (*WIDE, "space.image=[3,16,16]", "task.resize=16"), 1),
        ("cifar10_micro", (*WIDE, "space.stack.channels={choose: 1, from: [4, 16]}", "train.stack=null"), 1),
    ],
)
def test_the_rule_gives_two_threads_where_both_trainings_are_large(
    name: str, overrides: Sequence[str], number: int
) -> None:
    found = by_rule(spec_of(name, *overrides), cores=16, beside=1)
    assert (found.number, found.by) == (number, "rule")
    assert ("is below" in found.reason) == (number == 1)


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_spaces_stay_at_one_thread(path: Path) -> None:
    if path.stem == "rnn_activations":
        pytest.importorskip("nasforge_activations")
    if "kind: table" in path.read_text():
        return  # nothing is computed
    for profile in ("smoke", "quick"):
        found = by_rule(spec_of(path.stem, profile=profile), cores=64, beside=1)
        assert found.number == 1 and "is below" in found.reason


@pytest.mark.parametrize(
    ("cores", "beside", "number"), [(1, 1, 1), (2, 1, 2), (2, 2, 1), (3, 2, 1), (4, 2, 2), (64, 2, 2)]
)
def test_the_rule_gives_each_process_its_part_of_the_cores_at_most(cores: int, beside: int, number: int) -> None:
    found = by_rule(spec_of("ptb_rnn", *LARGE), cores, beside)
    assert found.number == number <= max(1, cores // beside)
    assert f"{cores} core" in found.reason


def test_the_rule_leaves_what_runs_elsewhere_or_is_not_known_at_one_thread() -> None:
    large = spec_of("ptb_rnn", *LARGE)
    assert by_rule(large, 16, 1, "cuda") == Choice(1, "rule", "networks run on cuda")
    unknown = spec_of("ptb_rnn", *LARGE)
    object.__setattr__(unknown, "space", unknown.compare)
    assert by_rule(unknown, 16, 1).number == 1


def test_equal_specs_give_equal_choices() -> None:
    for overrides in ((), LARGE):
        assert by_rule(spec_of("ptb_rnn", *overrides), 4, 2) == by_rule(spec_of("ptb_rnn", *overrides), 4, 2)


def test_ranks_count_as_processes_of_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 6)
    large = spec_of("ptb_rnn", *LARGE)
    assert [choose("rule", large, 1, ranks, "cpu").number for ranks in (1, 3, 4)] == [2, 2, 1]
    with pytest.raises(UsageError, match="auto measures one process by itself, and here are 3 ranks"):
        choose("auto", large, 1, 3, "cpu")


def test_what_is_told_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 1)
    assert choose(asked("3"), spec_of("ptb_rnn"), 2, 1, "cpu") == Choice(3, "user", "as told")
    assert (
        choose(asked("auto"), spec_of("ptb_rnn"), 1, 1, "cpu").reason
        == "nothing to measure: 1 core for 1 process side by side"
    )
    for text in ("0", "-1", "two", "1.5", ""):
        with pytest.raises(UsageError, match=f"--threads {text}: use a number from 1 to 1,024"):
            asked(text)


def test_threads_to_try_double_up_to_the_part_of_the_cores() -> None:
    assert counts(1, 1) == counts(3, 2) == [1]
    assert counts(8, 2) == counts(9, 2) == counts(8, 1)[:3] == [1, 2, 4]


@pytest.mark.parametrize(
    ("seconds", "number"),
    [
        ({1: 1.0, 2: 0.95}, 1),
        ({1: 1.0, 2: 0.6}, 2),
        ({1: 1.0, 2: 0.6, 4: 0.58}, 2),
        ({1: 1.0, 2: 1.2, 4: 0.5}, 4),
        ({1: 1.0}, 1),
    ],
)
def test_more_threads_are_picked_where_they_save_a_tenth(seconds: Mapping[int, float], number: int) -> None:
    found = pick(seconds)
    assert (found.number, found.by) == (number, "auto")
    assert "1e+03 ms a step on 1" in found.reason and "another run may measure otherwise" in found.reason


def test_steps_are_timed_in_turns_and_the_first_after_a_change_does_not_count() -> None:
    now, number, used, first = 0.0, 1, [], True

    def use(n: int) -> None:
        nonlocal number, first
        number, first = n, True
        used.append(n)

    def step() -> None:
        nonlocal now, first
        now += 100.0 if first else 6.0 / number
        first = False

    before = torch.get_num_threads()
    assert timed(step, [1, 2, 4], clock=lambda: now, use=use) == {1: 6.0, 2: 3.0, 4: 1.5}
    assert used == [1, 2, 4] * ROUNDS + [before]


class Notes(Observer):
    """What a runner notes."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def noted(self, text: str) -> None:
        self.lines.append(text)

    def started(self, jobs: Any, finished: Any) -> None: ...
    def job_started(self, job: Any) -> None: ...
    def ticked(self, job: Any, tick: Any) -> None: ...
    def happened(self, job: Any, event: Any) -> None: ...
    def job_finished(self, job: Any, seconds: float) -> None: ...


class FakePool:
    """A pool whose worker says that four threads are fastest."""

    asked: list[str]

    def __init__(self, run: Path, size: int, number: int) -> None:
        from queue import Queue

        self.inbox: Queue[Message] = Queue()
        self.workers = [self]

    def write(self, line: str) -> None:
        assert line == MEASURE
        self.inbox.put(Message(0, {"seconds": {"1": 0.9, "2": 0.6, "4": 0.4}}))

    def stop(self) -> None:
        return None


def again(run: Path, folder: Path, **changes: Any) -> RunDirectory:
    """A copy of a finished run whose ``run.json`` is changed."""
    shutil.copytree(run, folder / "again")
    directory = RunDirectory(folder / "again")
    directory.write_run({**directory.read_run(), "status": "failed", **changes})
    return directory


def test_what_was_measured_is_recorded_and_measured_once(
    toy_run: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = again(toy_run[0], tmp_path, threads_chosen={"by": "auto", "reason": ""})
    spec = load_run_spec(write_toy(tmp_path), build_plugins())
    monkeypatch.setattr("nasforge.run.runner.Pool", FakePool)
    first, second = Notes(), Notes()
    Runner(directory, spec, build_plugins(), first).run()
    run = directory.read_run()
    assert run["threads"] == 4 and run["threads_chosen"]["by"] == "auto"
    assert first.lines == [
        "threads of each worker process: measuring steps on 1, 2, 4 ...",
        "threads of each worker process: 4 (auto: measured 900 ms a step on 1, 600 ms a step on 2, 400 ms a step on 4; "
        "another run may measure otherwise and then differ in the last digits)",
    ]
    monkeypatch.setattr("nasforge.run.runner.Pool", None)
    Runner(directory, spec, build_plugins(), second).run()
    assert second.lines == first.lines[1:]
    assert directory.read_run()["threads"] == 4


def test_a_worker_measures_and_the_run_goes_on(tmp_path: Path) -> None:
    if threads.usable_cores() < 2:
        pytest.skip("there is one core: nothing to measure")
    write_toy(tmp_path)
    short = ("derive.shortlist=1", "compare.random=false", "compare.references=false", "strategy.epochs=1", "workers=1")
    done = nasforge("run", "toy.yaml", *short, "--threads", "auto", "--run-dir", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["arguments"]["threads"] == "auto" and run["threads_chosen"]["by"] == "auto"
    assert "ms a step on 1, " in run["threads_chosen"]["reason"]
    assert f"threads of each worker process: {run['threads']} (auto: measured" in done.stdout


def test_a_run_says_its_threads_and_resume_keeps_them(toy_run: Toy, tmp_path: Path) -> None:
    run, done = toy_run
    facts = json.loads((run / "run.json").read_text())
    assert facts["threads"] == 1 and facts["threads_chosen"]["by"] == "rule"
    assert f"threads of each worker process: 1 (rule: {facts['threads_chosen']['reason']})" in done.stdout
    # A run from before there was a rule has a number and no reason.
    old = again(run, tmp_path)
    facts = {**old.read_run(), "threads": 2}
    del facts["threads_chosen"]
    old.write_run(facts)
    (old.path / "result.json").unlink()
    resumed = nasforge("resume", old.path, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert "threads of each worker process: 2 (user: as told)" in resumed.stdout
    assert old.read_run()["threads"] == 2


def test_threads_that_are_no_number_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_toy(tmp_path)
    done = nasforge("run", "toy.yaml", "--threads", "many", "--run-dir", "run", cwd=tmp_path)
    assert done.returncode == 2 and "--threads many: use a number from 1 to 1,024" in done.stderr
    assert not (tmp_path / "run").exists()
