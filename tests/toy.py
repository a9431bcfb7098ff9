"""A run small enough to be made a few times: a toy corpus, three nodes, widths of a few features."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SPACE = """\
nasforge: 1
name: toy
space:
  kind: recurrent_cell
  nodes: 3
  each:
    op: {choose: 1, from: [tanh, relu, identity]}
task:
  kind: language_model
  corpus: {train: train.txt, valid: valid.txt, test: test.txt}
  reward_batch_size: 4
  reward_bptt: 10
  streams: 4
strategy: {kind: enas, epochs: 2, controller_steps: 2, candidates_per_step: 3}
controller: {kind: lstm, units: 8}
executor: {hidden: 6, recipe: {batch_size: 8, bptt: 10}}
derive: {candidates: 4, shortlist: 2}
train: {hidden: 6, epochs: 2, recipe: {batch_size: 8, bptt: 10}}
"""


def write_toy(folder: Path) -> Path:
    """Write the toy space and its corpus into `folder`; returns the space's path."""
    rng = random.Random(0)
    words = [f"word{i}" for i in range(30)]
    for name, lines in (("train", 150), ("valid", 30), ("test", 30)):
        text = "".join(" ".join(rng.choices(words, k=rng.randint(4, 9))) + "\n" for _ in range(lines))
        (folder / f"{name}.txt").write_text(text)
    space = folder / "toy.yaml"
    space.write_text(SPACE)
    return space


Done = subprocess.CompletedProcess[str]


def nasforge(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> Done:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "nasforge", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=300, check=False
    )
