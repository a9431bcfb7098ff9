"""Whole runs on the digits, as small as they get: what they leave, and that equal seeds leave equal results."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")

ROOT = Path(__file__).parents[2]


def run(space: str, folder: Path, *more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "nasforge", "run", str(ROOT / "spaces" / f"{space}.yaml"), "--profile", "smoke"]
    done = subprocess.run([*command, "--run-dir", str(folder), *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout and "model.py" in done.stdout
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


@pytest.mark.parametrize("space", ["digits_cell", "digits_macro", "digits_standalone"])
def test_a_run_ends_with_a_trained_network_as_plain_torch(space: str, tmp_path: Path) -> None:
    result = run(space, tmp_path / "run")
    trained = result["best"]["trained"]
    assert trained["metric"] == "accuracy" and 0 < trained["test"] <= 100
    assert 0 < trained["test_standard_error"] < 5
    assert {reference["name"] for reference in result["references"]} == {"plain", "largest"}
    assert set(result["verdict"]) == {"text", "beats_random", "beats_plain", "beats_largest"}
    assert f"{trained['test']:.2f} ± {trained['test_standard_error']:.2f}" in result["verdict"]["text"]
    best = tmp_path / "run" / "best"
    weights = load_file(best / "weights.safetensors")
    learned = [name for name in weights if not name.endswith(("running_mean", "running_var"))]
    assert sum(weights[name].numel() for name in learned) == result["best"]["parameters"]
    code = (
        "import sys, torch\nfrom model import load\nnetwork = load()\n"
        "print(network(torch.zeros(2, 1, 8, 8)).shape, 'nasforge' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=best, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[0] == "torch.Size([2, 10]) False", done.stderr


def test_a_search_by_trainings_from_scratch_says_what_its_scores_are(tmp_path: Path) -> None:
    alone = ("compare.references=false", "compare.random=true", "derive.shortlist=1", "workers=1")
    halving = ("strategy={kind: successive_halving, queries: 3, proposals: 3, factor: 2}", "executor.epochs=2")
    for name, more in {"black_box": (), "halving": halving}.items():
        result = run("digits_standalone", tmp_path / name, *alone, *more)
        epochs = "1 epoch" if name == "black_box" else "2 epochs"
        assert result["best"]["proxy"]["scored_by"] == f"trained for {epochs}"
        assert "shared weights" not in json.dumps(result)
        assert result["policy"] is None
        # Random search has as much, and no score is asked of anything afterwards.
        mine, theirs = result["search"], result["baseline"]["search"]
        assert mine["child_steps"] == theirs["child_steps"] > 0
        assert mine["ranking_tokens"] == theirs["ranking_tokens"] == 0
        lines = [json.loads(line) for line in (tmp_path / name / "journal.jsonl").read_text().splitlines()]
        scored = [line for line in lines if line["event"] in ("evaluation", "rung") and line["job"] == "search"]
        assert len(scored) == mine["evaluations"]
        shown = subprocess.run(
            [sys.executable, "-m", "nasforge", "show", str(tmp_path / name)], capture_output=True, text=True, check=True
        )
        assert f"proxy (trained for {epochs}, not the result)" in shown.stdout


def test_equal_seeds_give_equal_journals_and_results(tmp_path: Path) -> None:
    equal_runs("digits_macro", tmp_path)


def test_equal_seeds_give_equal_trainings_from_scratch(tmp_path: Path) -> None:
    equal_runs("digits_standalone", tmp_path)


def equal_runs(space: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(space, tmp_path / name, "--seed", "3", "compare.references=false", "compare.random=false")
    for file in ("journal.jsonl", "result.json", "best/weights.safetensors", "best/model.py"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_images_of_another_shape_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nasforge", "run", str(ROOT / "spaces" / "digits_macro.yaml")]
    done = subprocess.run(
        [*command, "space.image=[3, 8, 8]", "--run-dir", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "write space.image: [1, 8, 8]" in done.stderr
    assert not (tmp_path / "run").exists()
