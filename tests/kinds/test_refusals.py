"""What a kind refuses is shown at its line, and numbers that cannot be trained are refused before training."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from random_specs import CATALOGUE, supergraph_of
from typer.testing import CliRunner

from nasforge.catalogue import Catalogue
from nasforge.cli.main import app
from nasforge.components import Operation
from nasforge.errors import PluginError, SpecError, UsageError
from nasforge.graph.canonical import canonical_digest
from nasforge.graph.count import Meter
from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space, refuse_what_cannot_be_trained
from nasforge.spec.run_spec import load_space_spec
from nasforge.spec.specs import SpaceSpec

ROOT = Path(__file__).parents[2]
HEAD = "nasforge: 1\nname: x\n"
MACRO = (
    HEAD
    + "space:\n  kind: macro_network\n  layers: 3\n  each: {op: {choose: 1, from: [conv: {kernel: 3}, identity]}}\n"
)
CELL = HEAD + "space:\n  kind: conv_cell\n  nodes: 2\n  each: {op: {choose: 1, from: [identity, conv: {kernel: 3}]}}\n"
RECURRENT = HEAD + "space:\n  kind: recurrent_cell\n  each: {op: {choose: 1, from: [tanh, relu]}}\n"

REFUSED = {
    "one channel cannot be halved": (MACRO + "  reduce_after: [1]\n  channels: 1\n", 8, "at least 2 where"),
    "nor can one of several": (MACRO + "  reduce_after: [1]\n  channels: {choose: 1, from: [4, 1]}\n", 8, "at least 2"),
    "nor one of the final network": (
        MACRO + "  reduce_after: [1]\n  channels: 4\ntrain: {stack: {channels: 1}}\n",
        9,
        "train.stack.channels must be at least 2",
    ),
    "nothing follows the last layer": (MACRO + "  reduce_after: [1, 3]\n", 7, "nothing follows layer 3"),
    "a stack without normal cells": (
        CELL + "  stack: {normal: 0}\n",
        7,
        "`normal` must be a whole number of at least 1",
    ),
    "reduction cells without a reduction": (CELL + "  stack: {reductions: 0}\n", 7, "`reductions` must be at least 1"),
    "nor in the final network": (
        CELL + "  stack: {normal: 1}\ntrain: {stack: {reductions: 0}}\n",
        8,
        "train.stack.reductions must be at least 1",
    ),
    "images too small for the reductions of cells": (
        CELL + "  image: [1, 4, 9]\n  stack: {reductions: 3}\n",
        8,
        "`reductions` can be at most 2 for images of 4x9 pixels, found 3",
    ),
    "nor for those of the final network": (
        CELL + "  image: [1, 4, 9]\ntrain: {stack: {reductions: 3}}\n",
        8,
        "at most 2 for images of 4x9 pixels",
    ),
    "images too small for the reductions of macro networks": (
        MACRO + "  image: [1, 2, 2]\n  reduce_after: [1, 2]\n",
        8,
        "`reduce_after` can name at most 1 layers for images of 2x2 pixels, found 2",
    ),
    "channels that are searched and said": (
        CELL + "  stack: {channels: {choose: 1, from: [4, 8]}}\ntrain: {stack: {channels: 8}}\n",
        8,
        "leave it out",
    ),
    "a width that is searched and said": (
        RECURRENT + "  nodes: 2\n  hidden: {choose: 1, from: [4, 8]}\ntrain: {hidden: 8}\n",
        3,
        "train.hidden would mean nothing",
    ),
}


def loaded(text: str, folder: Path) -> SpaceSpec:
    path = folder / "space.yaml"
    path.write_text(text, encoding="utf-8")
    return load_space_spec(path, build_plugins())


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_kind_refuses_is_shown_at_its_line(what: str, tmp_path: Path) -> None:
    text, line, message = REFUSED[what]
    with pytest.raises(SpecError) as caught:
        compile_space(loaded(text, tmp_path), "final", CATALOGUE.operations)
    (problem,) = caught.value.problems
    assert (problem.line_number, message in problem.message) == (line, True), problem
    done = CliRunner().invoke(app, ["check", str(ROOT / "spaces" / "digits_cell.yaml"), str(tmp_path / "space.yaml")])
    assert done.exit_code != 0 and isinstance(done.exception, SpecError | SystemExit)
    assert "digits_cell is a conv_cell" in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        RECURRENT + "  nodes: 2\n  hidden: {choose: 1, from: [4, 8]}\n",
        RECURRENT + "  let: {k: {choose: 1, from: [3, 5]}}\n  nodes: {use: k}\n  hidden: {use: k}\n",
        MACRO.replace("kernel: 3", "kernel: {choose: 1, from: [1, 3]}"),
        MACRO + "  channels: {choose: 1, from: [4, 8]}\n",
        CELL.replace("nodes: 2", "let: {k: {choose: 1, from: [1, 3]}}\n  nodes: {use: k}").replace(
            "kernel: 3", "kernel: {use: k}"
        ),
    ],
)
def test_numbers_are_refused_before_training_whatever_names_them(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="trained where the executor offers 'slices'"):
        refuse_what_cannot_be_trained(loaded(text, tmp_path), CATALOGUE.operations)


@pytest.mark.parametrize("text", [RECURRENT + "  nodes: {choose: 1, from: [2, 3]}\n", MACRO, CELL])
def test_numbers_of_nodes_and_layers_are_not(text: str, tmp_path: Path) -> None:
    refuse_what_cannot_be_trained(loaded(text, tmp_path), CATALOGUE.operations)


TASK = "task: {kind: image_classification, data: digits}\n"
TEXT = "task: {kind: language_model, corpus: pydocs}\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (MACRO + TASK + "train: {recipe: {drop_path: 0.2}}\n", 8, "`drop_path` would drop nothing"),
        (
            CELL.replace("each: {", "each: {branches: 1, ")
            + TASK
            + "executor:\n  kind: shared_weights\n  recipe:\n    drop_path: 0.2\n",
            11,
            "`drop_path` would drop nothing",
        ),
        (RECURRENT + "  nodes: 2\n" + TEXT + "executor: {kind: shared_weights, norms: running}\n", 8, "no batch norms"),
        (MACRO + TASK + "executor: {kind: shared_weights, backend: interpreter}\n", 8, "no recurrent cell"),
        (CELL + TASK + "controller:\n  kind: lstm\n  skip_target: 0.4\n", 10, "nothing that can be skipped"),
        (MACRO + TASK + "controller:\n  kind: lstm\n  prior:\n    bits: {yes: 1}\n", 11, "Did you mean 'bit'?"),
        (MACRO + TASK + "controller:\n  kind: lstm\n  prior:\n    bit:\n      yess: 1\n", 12, "Did you mean 'yes'?"),
    ],
)
def test_what_would_mean_nothing_is_refused_before_training(text: str, line: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        refuse_what_cannot_be_trained(loaded(text, tmp_path), CATALOGUE.operations)
    (problem,) = caught.value.problems
    assert (problem.line_number, message in problem.message) == (line, True), problem


def test_what_means_something_is_not(tmp_path: Path) -> None:
    asked = "{drop_path: 0.2, auxiliary_weight: 0.4}"
    text = CELL + TASK + f"executor: {{kind: shared_weights, norms: running}}\ntrain: {{recipe: {asked}}}\n"
    refuse_what_cannot_be_trained(loaded(text, tmp_path), CATALOGUE.operations)


def test_the_bank_holds_the_largest_set_of_every_searched_parameter() -> None:
    """A larger ratio of squeeze and excitation means fewer weights."""

    def bank(ratio: object) -> int:
        operation = {"se": {"ratio": ratio}}
        block = {"kind": "macro_network", "image": [3, 8, 8], "layers": 2, "channels": 32}
        graph = supergraph_of({**block, "each": {"op": {"choose": 1, "from": [operation]}}})
        return Meter(graph, CATALOGUE.operations, lambda choices: {"image": (3, 8, 8)}).bank()

    assert bank({"choose": 1, "from": [2, 8]}) == bank({"choose": 1, "from": [8, 2]}) == bank(2) > bank(8)


def test_an_operation_on_images_must_take_a_stride() -> None:
    operation = Operation("neg", "minus x", "a:b", lambda *given: "", families=("image",))
    with pytest.raises(PluginError, match="must have the field 'stride', 1 or 2, in 'given'"):
        Catalogue().extended("mine", {"operations": [operation]})


def test_two_thousand_architectures_of_the_micro_space_are_drawn_checked_and_digested_in_time() -> None:
    """A fifth of the promise of 10,000 in 10 s, with three times the time for a busy machine."""
    spec = load_space_spec(ROOT / "spaces" / "cifar10_micro.yaml", build_plugins())
    supergraph = compile_space(spec, "search", CATALOGUE.operations)
    rng, begun = random.Random(0), time.process_time()
    for _ in range(2000):
        architecture = supergraph.space.sample(rng)
        supergraph.space.architecture(architecture)
        canonical_digest(supergraph, architecture)
    assert time.process_time() - begun < 6


@pytest.mark.parametrize(
    ("name", "override"),
    [("ptb_rnn", "space.nodes=45"), ("cifar10_micro", "space.nodes=14"), ("cifar10_macro", "space.layers=22")],
)
def test_check_of_a_huge_space_is_quick_and_imports_no_torch(name: str, override: str) -> None:
    """The promise is 1.5 s on a quiet machine; here the processor's time, with twice that for a slow one."""
    code = (
        "import sys\nfrom nasforge.cli.main import app\n"
        f"app(['check', {str(ROOT / 'spaces' / name) + '.yaml'!r}, {override!r}], standalone_mode=False)\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3
    exponent = float(done.stdout.partition("of about 10^")[2].partition(" ")[0])
    assert exponent > 80
