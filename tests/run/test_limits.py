"""A run under limits: everything that is trained, searched and reported is within them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy import nasforge, write_toy

from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.spec.run_spec import load_run_spec

LIMITS = "limits: {depth: 2, count: {tanh: 1, identity: {min: 1}}, flops: {max: 1k}}\n"


@pytest.mark.parametrize("controller", ["{kind: lstm, units: 8}", "{kind: random}"])
def test_the_winner_the_baseline_and_every_candidate_are_within_the_limits(controller: str, tmp_path: Path) -> None:
    space = write_toy(tmp_path)
    text = space.read_text().replace("{kind: lstm, units: 8}", controller)
    space.write_text(text.replace("candidates_per_step: 3", "candidates_per_step: 4") + LIMITS)
    done = nasforge("run", space, "compare.references=false", "--run-dir", "made", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    plugins = build_plugins()
    spec = load_run_spec(space, plugins)
    limited = compile_space(spec, "final", plugins.catalogue.operations).space
    result = json.loads((tmp_path / "made" / "result.json").read_text())
    for arm in (result["best"], result["baseline"]):
        assert limited.admits(limited.unlimited.architecture(arm["decisions"]))
        assert list(arm["decisions"].values()).count("tanh") <= 1
        assert "identity" in arm["decisions"].values() and arm["decisions"]["node2.input"] == "node0"
    within = {each.digest for each in limited.everything()}
    assert 2 < len(within) < 54
    journal = [json.loads(line) for line in (tmp_path / "made" / "journal.jsonl").read_text().splitlines()]
    candidates = [event["digest"] for event in journal if event["event"] == "candidate"]
    assert len(candidates) >= 4 and set(candidates) <= within
    # What the run is resumed from says the same limits.
    assert load_run_spec(tmp_path / "made" / "resolved.yaml", plugins).limits == spec.limits
