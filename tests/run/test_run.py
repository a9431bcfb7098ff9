"""A whole run, from the command line to the files that a user takes home."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors.numpy import load_file
from toy import nasforge, write_toy

from nasforge.run.directory import claim_next
from nasforge.run.start import git_commit

Done = tuple[Path, subprocess.CompletedProcess[str]]


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_a_run_leaves_everything_that_the_interface_names(toy_run: Done) -> None:
    run, _ = toy_run
    for name in ("run.json", "space.yaml", "resolved.yaml", "journal.jsonl", "timing.jsonl", "result.json"):
        assert (run / name).is_file(), name
    for name in ("architecture.json", "weights.safetensors", "model.py", "vocabulary.txt", "cell.svg", "cell.png"):
        assert (run / "best" / name).is_file(), name
    assert (run / "space.yaml").read_bytes() == (run.parent / "toy.yaml").read_bytes()
    assert read(run / "run.json")["status"] == "done"


def test_the_commit_of_the_repository_around_the_space_is_recorded(toy_run: Done, tmp_path: Path) -> None:
    assert read(toy_run[0] / "run.json")["git_commit"] is None
    assert git_commit(tmp_path) is None
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert git_commit(tmp_path) == head.stdout.strip()


def test_the_result_says_what_was_found_and_what_it_cost(toy_run: Done) -> None:
    result = read(toy_run[0] / "result.json")
    assert result["status"] == "done"
    assert result["space"] == {"name": "toy", "kind": "recurrent_cell", "size": str(3**3 * 2)}
    assert result["data"]["tokens"].keys() == {"train", "valid", "test"}
    assert len(result["data"]["sha256"]) == 64
    assert set(result["verdict"]) == {"text", "beats_random", "beats_lstm", "beats_one_node"}
    for arm in (result["best"], result["baseline"]):
        assert arm["proxy"]["split"] == "valid" and arm["proxy"]["direction"] == "min"
        assert arm["trained"]["epochs"] == 2 and arm["trained"]["metric"] == "perplexity"
        assert len(arm["decisions"]) == 5 and arm["parameters"] > 0
        assert len(arm["digest"]) == len(arm["canonical_digest"]) == 64
    assert result["baseline"]["kind"] == "random"
    assert [reference["name"] for reference in result["references"]] == ["lstm", "one_node"]
    cost, baseline = result["search"], result["baseline"]["search"]
    # Two controller phases (the first follows the one warm-up epoch), two steps each, three candidates a step.
    assert cost["evaluations"] == 12 and cost["controller_steps"] == 4
    assert cost["evaluated_tokens"] == 12 * 4 * 10
    assert baseline["child_steps"] == cost["child_steps"] and baseline["tokens"] == cost["tokens"]
    assert baseline["evaluations"] == 0
    extra = cost["evaluated_tokens"] // result["data"]["tokens"]["valid"]
    assert extra > 0 and baseline["candidates_ranked"] == 4 + extra


def test_no_clock_reading_and_no_place_is_in_result_or_journal(toy_run: Done) -> None:
    run, _ = toy_run
    text = (run / "result.json").read_text() + (run / "journal.jsonl").read_text()
    assert "seconds" not in text and str(run) not in text and str(os.getpid()) + "," not in text


def test_the_flags_of_the_verdict_are_those_of_the_figures(toy_run: Done) -> None:
    result = read(toy_run[0] / "result.json")
    mine = result["best"]["trained"]["test"]
    assert result["verdict"]["beats_random"] == (mine < result["baseline"]["trained"]["test"])
    for reference in result["references"]:
        assert result["verdict"][f"beats_{reference['name']}"] == (mine < reference["trained"]["test"])


def test_the_log_tells_proxies_from_results(toy_run: Done) -> None:
    _, done = toy_run
    assert "proxies: they rank candidates and are not the result" in done.stdout
    assert "trained from scratch" in done.stdout
    assert read(toy_run[0] / "result.json")["verdict"]["text"] in done.stdout


def test_equal_seeds_give_equal_journals_and_results_with_any_number_of_workers(toy_run: Done) -> None:
    run, _ = toy_run
    done = nasforge("run", "toy.yaml", "workers=1", "--run-dir", "again", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    again = run.parent / "again"
    assert (again / "journal.jsonl").read_bytes() == (run / "journal.jsonl").read_bytes()
    assert (again / "result.json").read_bytes() == (run / "result.json").read_bytes()
    assert (again / "best" / "weights.safetensors").read_bytes() == (run / "best" / "weights.safetensors").read_bytes()


def test_another_seed_gives_another_run(toy_run: Done) -> None:
    run, _ = toy_run
    overrides = ["compare.random=false", "compare.references=false"]
    done = nasforge("run", "toy.yaml", *overrides, "--seed", "1", "--run-dir", "other", cwd=run.parent)
    assert done.returncode == 0, done.stderr
    result = read(run.parent / "other" / "result.json")
    assert result["seed"] == 1 and result["baseline"] is None and result["references"] == []
    assert result["verdict"]["beats_random"] is None and "is not known" in result["verdict"]["text"]
    mine, theirs = result["best"], read(run / "result.json")["best"]
    assert mine["trained"] != theirs["trained"]


def test_resume_does_what_is_missing_and_nothing_else(toy_run: Done) -> None:
    run, _ = toy_run
    copy = run.parent / "resumed"
    shutil.copytree(run, copy)
    for job in ("search-train", "baseline-short-1", "baseline-train"):
        shutil.rmtree(copy / "checkpoints" / job)
    (copy / "result.json").unlink()
    shutil.rmtree(copy / "best")
    kept = (copy / "checkpoints" / "search" / "result.json").stat().st_mtime_ns
    done = nasforge("resume", copy, cwd=run.parent)
    assert done.returncode == 0, done.stderr
    assert (copy / "checkpoints" / "search" / "result.json").stat().st_mtime_ns == kept
    assert (copy / "journal.jsonl").read_bytes() == (run / "journal.jsonl").read_bytes()
    assert (copy / "result.json").read_bytes() == (run / "result.json").read_bytes()


def test_resume_of_a_finished_run_says_so(toy_run: Done) -> None:
    run, _ = toy_run
    done = nasforge("resume", run, cwd=run.parent)
    assert done.returncode == 2 and "this run is done" in done.stderr


def test_resume_names_a_damaged_file(toy_run: Done) -> None:
    run, _ = toy_run
    copy = run.parent / "damaged"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints" / "search-train")
    (copy / "result.json").unlink()
    target = copy / "checkpoints" / "search" / "result.json"
    target.write_bytes(target.read_bytes().replace(b"node0", b"node1", 1))
    done = nasforge("resume", copy, cwd=run.parent)
    assert done.returncode == 5
    assert str(target) in done.stderr and "sha256" in done.stderr and "Traceback" not in done.stderr


def test_a_run_directory_is_not_overwritten(toy_run: Done) -> None:
    run, _ = toy_run
    before = (run / "run.json").read_bytes()
    done = nasforge("run", "toy.yaml", "--run-dir", run, cwd=run.parent)
    assert done.returncode == 2
    assert f"nasforge resume {run}" in done.stderr
    assert (run / "run.json").read_bytes() == before


def test_ctrl_c_leaves_a_message_and_a_run_that_resumes(toy_run: Done) -> None:
    run, _ = toy_run
    folder = run.parent
    command = [sys.executable, "-m", "nasforge", "run", "toy.yaml", "train.epochs=40", "--run-dir", "stopped"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a script ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    stopped = folder / "stopped"
    deadline = time.monotonic() + 120
    while not (stopped / "checkpoints" / "search" / "manifest.json").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    second = nasforge("resume", stopped, cwd=folder)
    assert second.returncode == 3 and f"process {process.pid}" in second.stderr
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nasforge resume" in errors and "Traceback" not in errors
    assert read(stopped / "run.json")["status"] == "interrupted"
    shown = nasforge("show", stopped, cwd=folder)
    assert shown.returncode == 2 and "no result yet" in shown.stderr
    done = nasforge("resume", stopped, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert read(stopped / "result.json")["best"]["trained"]["epochs"] == 40


def test_the_exported_model_finds_the_reported_perplexity_without_nasforge(toy_run: Done, tmp_path: Path) -> None:
    run, _ = toy_run
    shutil.copytree(run / "best", tmp_path / "best")
    code = (
        "import importlib.util, sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'nasforge':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "spec = importlib.util.spec_from_file_location('model', 'best/model.py')\n"
        "model = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(model)\n"
        "words = {w: i for i, w in enumerate(open('best/vocabulary.txt').read().split('\\n')[:-1])}\n"
        "lines = open(sys.argv[1]).read().splitlines()\n"
        "ids = [words.get(w, words['<unk>']) for line in lines for w in [*line.split(), '<eos>']]\n"
        "print(repr(model.perplexity(model.load('best'), ids)))\n"
        "assert not any(name.startswith('nasforge') for name in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(run.parent / "test.txt")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reported = read(run / "result.json")["best"]["trained"]["test"]
    assert float(done.stdout) == pytest.approx(reported, abs=1e-4)
    assert load_file(tmp_path / "best" / "weights.safetensors")


def test_a_worker_that_dies_ends_the_run_with_a_message_and_it_resumes(toy_run: Done, tmp_path: Path) -> None:
    run, _ = toy_run
    folder = run.parent
    plugin = tmp_path / "deadly.py"
    flag = tmp_path / "armed"
    flag.touch()
    plugin.write_text(
        "import os, pathlib, sys\n"
        f"if 'nasforge.run.worker' in ' '.join(sys.orig_argv) and pathlib.Path({str(flag)!r}).exists():\n"
        "    os.abort()\n"
    )
    done = nasforge("run", "toy.yaml", "--plugin", plugin, "--run-dir", "dead", cwd=folder)
    assert done.returncode == 1
    assert "was ended by signal 6" in done.stderr and "worker-" in done.stderr and "Traceback" not in done.stderr
    assert read(folder / "dead" / "run.json")["status"] == "failed"
    flag.unlink()
    assert nasforge("resume", folder / "dead", cwd=folder).returncode == 0


def test_checkpoints_of_another_run_are_not_taken_over(toy_run: Done) -> None:
    run, _ = toy_run
    copy = run.parent / "headless"
    shutil.copytree(run, copy)
    (copy / "run.json").unlink()
    done = nasforge("run", "toy.yaml", "--run-dir", copy, cwd=run.parent)
    assert done.returncode == 2 and "checkpoints of another run" in done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", '{"format": 1}'),
        ("run.json", "[]"),
        ("run.json", "{"),
        ("result.json", "{}"),
        ("result.json", "no"),
        ("best/architecture.json", '{"space": {"kind": []}, "decisions": {}}'),
        ("best/architecture.json", '{"space": {"kind": "recurrent_cell"}, "decisions": {"node1.op": 3}}'),
    ],
)
def test_a_damaged_file_is_named_without_a_traceback(toy_run: Done, tmp_path: Path, name: str, content: str) -> None:
    run, _ = toy_run
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy" / name).write_text(content)
    done = nasforge("show", "copy", cwd=tmp_path)
    assert done.returncode in (2, 5) and name in done.stderr and "Traceback" not in done.stderr
    if name == "run.json":
        done = nasforge("resume", "copy", cwd=tmp_path)
        assert done.returncode == 5 and "Traceback" not in done.stderr


def test_resume_refuses_other_data(toy_run: Done, tmp_path: Path) -> None:
    run, _ = toy_run
    space = write_toy(tmp_path)
    shutil.copytree(run, tmp_path / "copy")
    facts = json.loads((tmp_path / "copy" / "run.json").read_text())
    facts |= {"base": str(tmp_path), "status": "interrupted"}
    (tmp_path / "copy" / "run.json").write_text(json.dumps(facts))
    (tmp_path / "copy" / "result.json").unlink()
    train = space.with_name("train.txt")
    text = train.read_text()
    train.write_text(text.replace("word1 ", "word2 "))
    done = nasforge("resume", "copy", cwd=tmp_path)
    assert done.returncode == 2 and "sha256 differs" in done.stderr
    train.write_text(text)
    assert nasforge("resume", "copy", cwd=tmp_path).returncode == 0


def test_each_arm_trains_the_candidate_that_did_best_when_trained_for_a_short_time(toy_run: Done) -> None:
    run, _ = toy_run
    result = read(run / "result.json")
    for arm, told in (("search", result["best"]), ("baseline", result["baseline"])):
        shortlist = read(run / "checkpoints" / arm / "result.json")["shortlist"]
        valid = [read(run / "checkpoints" / f"{arm}-short-{i}" / "result.json")["valid"] for i in range(len(shortlist))]
        assert told["digest"] == shortlist[valid.index(min(valid))]["digest"]
        assert told["short_training"]["valid"] == min(valid)


def test_everything_is_trained_on_equally_much_text(toy_run: Done) -> None:
    result = read(toy_run[0] / "result.json")
    trained = [each["trained"] for each in (result["best"], result["baseline"], *result["references"])]
    assert len({(each["items"], each["epochs"]) for each in trained}) == 1
    journal = [json.loads(line) for line in (toy_run[0] / "journal.jsonl").read_text().splitlines()]
    for job in ("search-train", "baseline-train", "reference-lstm", "reference-one_node"):
        assert sum(entry.get("job") == job and entry["event"] == "epoch" for entry in journal) == 2
    # Random search learns from nothing: no controller acts in its arm.
    acting = {entry["job"] for entry in journal if entry["event"] == "controller_step"}
    assert acting == {"search"}


def test_runs_that_begin_together_get_a_folder_each(tmp_path: Path) -> None:
    (tmp_path / "toy-0007").mkdir()
    (tmp_path / "other-0100").mkdir()
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: claim_next(tmp_path, "toy"), range(24)))
    names = sorted(directory.path.name for directory in claimed)
    for directory in claimed:
        directory.unlock()
    assert names == [f"toy-{number:04d}" for number in range(8, 32)]


def test_a_final_training_without_a_finite_score_fails_the_run(toy_run: Done, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_run[0], run)
    (run / "result.json").unlink()
    job = run / "checkpoints" / "search-train"
    found = read(job / "result.json")
    found["trained"]["test"] = None
    (job / "result.json").write_text(json.dumps(found))
    digest = hashlib.sha256((job / "result.json").read_bytes()).hexdigest()
    (job / "manifest.json").write_text(json.dumps({**read(job / "manifest.json"), "result.json": digest}))
    done = nasforge("resume", run, cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert "not finite" in done.stderr and "train.recipe.learning_rate" in done.stderr
    assert "Traceback" not in done.stderr
    assert read(run / "run.json")["status"] == read(run / "result.json")["status"] == "failed"
    assert read(run / "result.json")["best"]["decisions"]


def test_short_trainings_say_what_was_measured(toy_run: Done) -> None:
    result = read(toy_run[0] / "result.json")
    for network in (result["best"], result["baseline"]):
        assert network["short_training"].keys() == {"metric", "direction", "epochs", "valid"}
        assert network["short_training"]["direction"] == network["trained"]["direction"] == "min"


def test_a_run_whose_output_nobody_reads_any_more_goes_on(toy_run: Done) -> None:
    folder = toy_run[0].parent
    command = [sys.executable, "-m", "nasforge", "run", "toy.yaml", "--run-dir", "unread"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert (process.wait(timeout=120), errors) == (0, "")
    assert read(folder / "unread" / "run.json")["status"] == "done"
    # What it found does not depend on who looks on.
    assert (folder / "unread" / "journal.jsonl").read_bytes() == (toy_run[0] / "journal.jsonl").read_bytes()


def test_the_result_says_what_the_policy_prefers(toy_run: Done) -> None:
    run, done = toy_run
    policy = read(run / "result.json")["policy"]
    assert policy["gain"]["uniform"]["n"] == 12
    assert 1 <= policy["gain"]["policy"]["n"] <= 12
    assert policy["text"].startswith("With the same shared weights the policy's proposals have a mean reward of -")
    assert policy["text"] in done.stdout
    assert all(sum(counts.values()) == 100 for counts in policy["by_option"].values())
    # Uniform proposals are no candidates: neither told as such, nor counted as ranked.
    events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    ranked = [event for event in events if event["event"] == "candidate" and event["job"] == "search"]
    assert len(ranked) == read(run / "result.json")["search"]["candidates_ranked"] == 4
