"""A step of a word-level language model with a recurrent cell: a child of the space against the cell written by hand.

By hand, the loss has the logits of all words at once, as one writes it; a task's has them in chunks. What being general
costs is told by the same loss on both sides.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from nasforge.executors.loops import PythonLoops
from nasforge.executors.native import NativeLoops
from nasforge.executors.native_build import NativeUnavailable, build
from nasforge.executors.recurrent import RecurrentBackend
from nasforge.executors.shared import standalone
from nasforge.executors.training import Trainer
from nasforge.tasks.decoder import linear_cross_entropy
from nasforge.tasks.language_model import LanguageModel
from nasforge.tasks.options import LanguageModelRecipe
from tests.benchmarks.hard_coded import LstmCell, TreeCell, WordModel
from tests.benchmarks.harness import Design, Row, Size, rows_of, timed
from tests.helpers import OPERATIONS, cell, choices, language_model

TREE = (
    (None, "tanh"),
    (0, "relu"),
    (1, "tanh"),
    (1, "sigmoid"),
    (2, "identity"),
    (2, "relu"),
    (5, "tanh"),
    (3, "relu"),
    (6, "sigmoid"),
    (6, "tanh"),
    (0, "identity"),
    (9, "relu"),
)
"""For every node the earlier node that it reads, and its activation, as `hard_coded.TreeCell` has them."""

NATIVE = "fused, native"
"""What the fused cell with the loop in C++ is called."""

CLIP_NORM = 0.25
"""Of the gradient, as published."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Case:
    """A size of the network.

    Attributes:
        name: what it is called.
        batch: sequences.
        width: features of the state.
        vocabulary: words.
        bptt: words of a window.
        rounds: of the measurement.
        mark: of the fastest loop against the cell by hand.
        python: whether the mark holds for the loop in Python, too, where there is none in C++.
        ideal: mark of the fastest loop against the matrix products alone.
    """

    name: str
    batch: int
    width: int
    vocabulary: int
    bptt: int
    rounds: int
    mark: float
    python: bool = False
    ideal: float | None = None


PAPER = Case("paper", 64, 1000, 10_000, 35, 5, 0.80, python=True, ideal=1.15)
MID = Case("mid", 64, 200, 10_000, 35, 9, 0.72)
SMALL = Case("small", 20, 200, 10_000, 35, 15, 0.70)
TINY = Case("tiny", 20, 64, 1000, 35, 31, 0.40)
CASES: Mapping[Size, tuple[Case, ...]] = {
    "full": (TINY, SMALL, MID, PAPER),
    "quick": (replace(TINY, rounds=9), replace(SMALL, rounds=5), replace(MID, rounds=3)),
    "tiny": (Case("toy", 2, 8, 50, 3, 1, 1.0),),
}
"""The sizes; the quick ones leave out the paper's, whose step takes seconds.

The smallest first: after the paper's, free memory lies in the heap, and the logits of all words at once, for which a fresh
process asks the system in every step, cost the references of the middle size a fifth less.
"""


def architecture() -> dict[str, str]:
    """The cell of `TREE` as an architecture of the space."""
    return choices([op for _, op in TREE], [source for source, _ in TREE if source is not None])


def backends() -> dict[str, RecurrentBackend]:
    """How fused cells can run here, by name; the fastest last."""
    found = {"fused, python": RecurrentBackend(PythonLoops())}
    try:
        found[NATIVE] = RecurrentBackend(NativeLoops(build().path))
    except NativeUnavailable as error:
        _log.warning("no loop in C++: %s", error)
    return found


def recipe_of(case: Case) -> LanguageModelRecipe:
    """SGD with clipping, and masks of input, state and output."""
    return LanguageModelRecipe(
        optimizer="sgd",
        learning_rate=1.0,
        schedule="constant",
        warmup_steps=0,
        clip_norm=CLIP_NORM,
        batch_size=case.batch,
        bptt=case.bptt,
        dropout_input=0.3,
        dropout_hidden=0.25,
        dropout_output=0.4,
        init_range=0.04,
    )


def drawn_masks(recipe: LanguageModelRecipe, width: int, generator: torch.Generator) -> list[Tensor]:
    """Masks ``[batch, width]`` of input, state and output."""
    rates = (recipe.dropout_input, recipe.dropout_hidden, recipe.dropout_output)
    return [
        torch.empty(recipe.batch_size, width).bernoulli_(1 - rate, generator=generator).div_(1 - rate) for rate in rates
    ]


def random_text(case: Case) -> LanguageModel:
    """A task of random words: each of the vocabulary, and full windows only."""
    rng = random.Random(0)
    words = [f"w{number}" for number in range(case.vocabulary - 2)]  # beside <eos> and <unk>
    windows = math.ceil(2 * case.vocabulary / (case.batch * case.bptt))
    tokens = case.batch * (windows * case.bptt + 1)
    # One sentence, whose end is a token.
    text = words + rng.choices(words, k=tokens - 1 - len(words))
    rng.shuffle(text)
    with TemporaryDirectory() as folder:
        for name in ("train", "valid", "test"):
            (Path(folder) / f"{name}.txt").write_text(" ".join(text if name == "train" else words[:9]), "utf-8")
        task = language_model(Path(folder))
    assert len(task.corpus.vocabulary) == case.vocabulary and task.corpus.tokens["train"] == tokens
    return task


def columns_of(task: LanguageModel, batch: int) -> Tensor:
    """The words of the training text ``[words, batch]``, a column for every sequence."""
    ids = task.corpus.train
    per_row = len(ids) // batch
    return torch.from_numpy(np.ascontiguousarray(ids[: batch * per_row].reshape(batch, per_row).T))


def _child(
    task: LanguageModel, recipe: LanguageModelRecipe, width: int, backend: RecurrentBackend | None
) -> tuple[Callable[[], object], int]:
    """A step of a network of the space, bound once, as executors keep children; and the number of its weights."""
    graph = cell(len(TREE))
    chosen = graph.space.architecture(architecture())
    network = standalone(graph, chosen, OPERATIONS, task, recipe, width=width, seed=0, backend=backend)
    trainer = Trainer(task, recipe, 10**6, seed=0)
    return (lambda: trainer.step([network])), network.count()


def _by_hand(model: nn.Module, table: Tensor, recipe: LanguageModelRecipe, width: int) -> Callable[[], object]:
    """The step that one writes: masks, loss, gradient, clipping, a fused update."""
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    generator = torch.Generator().manual_seed(0)
    begin, state = 0, None

    def call() -> None:
        nonlocal begin, state
        if begin + 1 == len(table):
            begin, state = 0, None
        end = begin + recipe.bptt
        masks = drawn_masks(recipe, width, generator)
        optimizer.zero_grad()
        loss, state = model(table[begin:end], table[begin + 1 : end + 1], state, masks)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        begin = end

    return call


def _products(case: Case) -> Callable[[], None]:
    """The matrix products of a step, each into a place that is there: of x, of nodes, of the decoder.

    Every edge has weights of its own, which each word reads again; what nodes compute is not kept apart.
    """
    rows, wide = case.batch * case.bptt, 2 * case.width
    x, pre = torch.randn(rows, case.width), torch.randn(rows, wide)
    steps_x, steps_pre = (each.view(case.bptt, case.batch, -1).unbind(0) for each in (x, pre))
    from_x, *weights = torch.randn(1 + len(TREE), case.width, wide).unbind(0)
    of_weights = torch.empty(1 + len(TREE), case.width, wide).unbind(0)
    decoder, of_decoder = (torch.randn(case.vocabulary, case.width) for _ in range(2))
    logits = torch.randn(rows, case.vocabulary)
    out_x, out_pre = torch.empty(case.batch, case.width), torch.empty(case.batch, wide)
    whole_x, whole_pre = torch.empty_like(x), torch.empty_like(pre)

    def call() -> None:
        torch.mm(x, from_x, out=whole_pre)
        for state in steps_x:
            for weight in weights:
                torch.mm(state, weight, out=out_pre)
        torch.mm(x, decoder.t(), out=logits)
        torch.mm(logits, decoder, out=whole_x)
        torch.mm(logits.t(), x, out=of_decoder)
        for gradient in steps_pre:
            for weight in weights:
                torch.mm(gradient, weight.t(), out=out_x)
        torch.mm(pre, from_x.t(), out=whole_x)
        for of_weight in of_weights:
            torch.mm(x.t(), pre, out=of_weight)

    return call


def _compared(case: Case) -> list[Row]:
    task, recipe, width = random_text(case), recipe_of(case), case.width
    table = columns_of(task, case.batch)
    by_hand = {
        "hard-coded": WordModel(case.vocabulary, width, TreeCell(width)),
        "hard-coded, loss in chunks": WordModel(case.vocabulary, width, TreeCell(width), linear_cross_entropy),
        "nn.LSTM x3": WordModel(case.vocabulary, width, LstmCell(width)),
    }
    designs = {name: Design(_by_hand(model, table, recipe, width)) for name, model in by_hand.items()}
    own = sum(parameter.numel() for parameter in by_hand["hard-coded"].parameters())
    found = backends()
    for name, backend in {"generic, interpreter": None, **found}.items():
        step, count = _child(task, recipe, width, backend)
        assert count == own, f"the child has {count} weights, the network by hand {own}"
        designs[name] = Design(step)
    *_, fastest = found
    if NATIVE in found or case.python:
        designs[fastest] = replace(designs[fastest], mark=case.mark)
    designs["ideal gemms"] = Design(_products(case))
    times = timed(designs, rounds=case.rounds)

    def against(base: str, marks: Mapping[str, float | None]) -> list[Row]:
        chosen = {name: replace(designs[name], mark=mark) for name, mark in {base: None, **marks}.items()}
        return rows_of(f"{title}, against {base}", chosen, times)

    title = f"recurrent: {case.name}, batch {case.batch}, width {width}, {case.vocabulary:,} words, "
    title += f"{len(TREE)} nodes, bptt {case.bptt}"
    return [
        *rows_of(title, designs, times),
        *against("hard-coded, loss in chunks", {"generic, interpreter": 1.05, fastest: None}),
        *against("ideal gemms", {"nn.LSTM x3": None, fastest: case.ideal}),
    ]


def run(size: Size) -> list[Row]:
    """Forward, backward, clipping and an SGD update, with the same masks on every side (the LSTM: none of its state)."""
    return [row for case in CASES[size] for row in _compared(case)]
