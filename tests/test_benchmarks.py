"""Benchmarks run and print tables, and their references compute what they are compared with; times are no gate."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import OPERATIONS, cell, language_model, shapes

from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.executors.network import GraphCore, Network
from nasforge.graph.plan import plan_architecture
from nasforge.seeds import derive
from tests.benchmarks import recurrent
from tests.benchmarks.hard_coded import TreeCell, WordModel

ROOT = Path(__file__).parents[1]
ROW = re.compile(r"^  .{44} *\d+\.\d{3} +\d+% +\d+\.\d{3}(  (<= [\d.]+( ms)? (met|MISSED))?)?$")


@pytest.mark.slow
def test_every_benchmark_runs_and_prints_its_table() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--tiny"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    names = {path.stem for path in (ROOT / "tests" / "benchmarks").glob("*.py")}
    expected = names & {"recurrent", "conv", "optimiser", "controller", "growth"}
    blocks = re.split(r"^== ", done.stdout, flags=re.MULTILINE)[1:]
    assert "recurrent" in expected and {block.split("\n")[0] for block in blocks} == expected
    for block in blocks:
        lines = [line for line in block.split("\n")[1:] if line]
        groups = [line for line in lines if not line.startswith("  ")]
        heads = [line for line in lines if line.startswith("  design")]
        rows = [line for line in lines if line.startswith("  ") and line not in heads]
        assert groups and len(heads) == len(groups) and len(rows) >= 2 * len(groups)
        assert all(ROW.match(line) for line in rows), rows


@pytest.mark.parametrize("spread", [0.9, 6.0], ids=["short states", "long states"])
def test_the_recurrent_network_by_hand_is_the_child(spread: float, corpus_folder: Path) -> None:
    width = 7
    task = language_model(corpus_folder)
    recipe = recurrent.recipe_of(recurrent.Case("test", 4, width, 0, 5, 0, 0.0))
    core = GraphCore(
        Program(
            plan_architecture(cell(12), recurrent.architecture()),
            OPERATIONS,
            WeightBank(3, dtype=torch.float64, init_range=spread),
            shapes(width),
        )
    )
    shell = task.shell(width, recipe, 0).double()
    with torch.no_grad():
        shell.decoder_bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
        core.parameters["cell/node0.x.bias"].uniform_(-1, 1, generator=torch.Generator().manual_seed(2))
    network = Network(shell, core)
    hand = WordModel(len(task.corpus.vocabulary), width, TreeCell(width)).double()
    pairs = {name: f"shell.{name}" for name in ("embedding", "decoder_bias")}
    pairs |= {"cell.from_x": "core.cell/node0.x.weight", "cell.bias": "core.cell/node0.x.bias"}
    pairs |= {f"cell.weights.{node}": f"core.cell/node{node}.h.weight" for node in range(12)}
    own = dict(hand.named_parameters())
    assert pairs.keys() == own.keys() and set(pairs.values()) == network.parameters.keys()
    with torch.no_grad():
        for name, other in pairs.items():
            own[name].copy_(network.parameters[other])
    table = recurrent.columns_of(task, recipe.batch_size)
    state = hand_state = None
    longest = 0.0
    for step in range(3):
        result = task.loss(network, recipe, step, state, seed=0)
        generator = torch.Generator().manual_seed(derive(0, "dropout", step))
        masks = [mask.double() for mask in recurrent.drawn_masks(recipe, width, generator)]
        window = slice(step * recipe.bptt, (step + 1) * recipe.bptt)
        loss, hand_state = hand(table[:-1][window], table[1:][window], hand_state, masks)
        torch.testing.assert_close(loss, result.total, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(hand_state[0], result.state, rtol=1e-12, atol=1e-12)
        expected = torch.autograd.grad(result.total, [network.parameters[other] for other in pairs.values()])
        found = torch.autograd.grad(loss, [own[name] for name in pairs])
        for name, one, other in zip(pairs, found, expected, strict=True):
            assert float(other.abs().max()) > 0, name
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11, msg=name)
        state = result.state
        longest = max(longest, float(state.norm(dim=1).max()))
    # The norm of the state is limited in one case and not in the other.
    assert (longest > TreeCell.LIMIT - 1e-9) == (spread > 1)
