"""A weight step asks the device for no number, so that on CUDA the next one can be prepared meanwhile."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import OPERATIONS, cell, language_model, write_corpus
from helpers import recipe as words
from random_specs import supergraph_of
from small_images import BLOCK, CELLS, bright_rows, task_of
from small_images import OPERATIONS as IMAGE_OPERATIONS
from small_images import recipe as images
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nasforge.executors.loops import PythonLoops
from nasforge.executors.network import Network
from nasforge.executors.recurrent import RecurrentBackend
from nasforge.executors.shared import standalone
from nasforge.executors.training import REPORT_EVERY, Losses, StepReport, Trainer, mean
from nasforge.executors.transfer import sent

WAITS = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "unique", "_unique2")


class Reads(TorchDispatchMode):
    """Counts what would make the host wait for CUDA: values that Python reads, and shapes that depend on values."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        name = function.overloadpacket.__name__
        masks = [each for each in given[1] if each is not None] if name == "index" else []
        if name in WAITS or any(mask.dtype == torch.bool for mask in masks):
            self.found[name] += 1
        return function(*given, **(named or {}))


EVERY_DROPOUT = {
    "dropout_words": 0.1,
    "dropout_embedding": 0.1,
    "dropout_input": 0.2,
    "dropout_hidden": 0.2,
    "dropout_output": 0.3,
    "activation_regularization": 0.1,
    "temporal_activation_regularization": 0.1,
}
OPTIMISERS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam", "clip_norm": 0.5, "weight_decay": 1e-6},
    "sgd": {"optimizer": "sgd", "clip_norm": None},
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "clip_norm": 0.25},
}


def recurrent(folder: Path, options: dict[str, Any], backend: RecurrentBackend | None) -> tuple[Trainer, list[Network]]:
    task, recipe, graph = language_model(write_corpus(folder)), words(**options, **EVERY_DROPOUT), cell(4)
    networks = [
        standalone(
            graph, graph.space.sample(random.Random(i)), OPERATIONS, task, recipe, width=6, seed=i, backend=backend
        )
        for i in range(2)
    ]
    return Trainer(task, recipe, 100, seed=0), networks


def image(folder: Path, options: dict[str, Any], block: Any) -> tuple[Trainer, list[Network]]:
    task, graph = task_of(bright_rows(folder)), supergraph_of(block, "final")
    changes = {"flip": True, "crop_padding": 1, "cutout": 2, "dropout": 0.1, "auxiliary_weight": 0.4}
    if block is CELLS:
        changes["drop_path"] = 0.3
    recipe = images(**options, **changes)
    networks = [
        standalone(graph, graph.space.sample(random.Random(i)), IMAGE_OPERATIONS, task, recipe, width=1, seed=i)
        for i in range(2)
    ]
    return Trainer(task, recipe, 100, seed=0), networks


@pytest.mark.parametrize("options", OPTIMISERS.values(), ids=OPTIMISERS)
@pytest.mark.parametrize("what", ["fused cell", "interpreted cell", "conv cells", "macro network"])
def test_a_weight_step_reads_nothing(what: str, options: dict[str, Any], tmp_path: Path) -> None:
    if what.endswith("cell"):
        backend = RecurrentBackend(PythonLoops()) if what == "fused cell" else None
        trainer, networks = recurrent(tmp_path, options, backend)
    else:
        trainer, networks = image(tmp_path, options, CELLS if what == "conv cells" else BLOCK)
    trainer.step(networks[:1])
    with Reads() as reads:
        reports = [trainer.step(networks[:1]), trainer.step(networks), trainer.step(networks)]
    assert reads.found == Counter()
    with Reads() as reads:
        assert not any(report.skipped for report in reports)
        assert all(report.loss > 0 and report.gradient_norm > 0 for report in reports)
        assert trainer.skipped == 0
    # Each report is read at once and once; the trainer's count is one number more.
    assert sum(reads.found.values()) <= 3 * len(reports) + 1


def test_what_is_counted_is_what_waits() -> None:
    values = torch.tensor([1.0, 0.0])
    with Reads() as reads:
        float(values[0])
        bool(values[0] > 0)
        values[values > 0]
        values.nonzero()
        values[torch.tensor([0, 1])]
    assert set(reads.found) >= {"_local_scalar_dense", "index", "nonzero"}
    assert reads.found["index"] == 1


def test_losses_are_read_when_they_are_asked_for_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [StepReport(torch.tensor([float(i), 1.0, float(i % 2)]), 1) for i in range(REPORT_EVERY)]
    read: list[int] = []
    original = Tensor.tolist

    def spy(self: Tensor) -> Any:
        read.append(1)
        return original(self)

    monkeypatch.setattr(Tensor, "tolist", spy)
    losses = Losses()
    for report in reports:
        losses.add(report)
    assert read == []
    assert losses.read() == [float(i) for i in range(0, REPORT_EVERY, 2)]
    assert losses.read() == losses.read() and len(read) == REPORT_EVERY
    assert mean(losses.read()[-2:]) == REPORT_EVERY - 3 and mean([]) is None


def test_what_is_sent_takes_the_type_of_the_weights_but_stays_whole() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    assert sent(torch.ones(2), like).dtype == torch.float64
    assert sent(torch.ones(2, dtype=torch.int64), like).dtype == torch.int64
    assert sent(torch.ones(2, dtype=torch.bool), like).dtype == torch.bool


def test_on_cuda_a_step_waits_for_nothing(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device here")
    from nasforge.tasks.language_model import LanguageModel
    from nasforge.tasks.options import LanguageModelOptions

    write_corpus(tmp_path)
    corpus = {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"}
    config = LanguageModelOptions.model_validate({"corpus": corpus})
    task, recipe, graph = LanguageModel(config, tmp_path, seed=0, device="cuda"), words(**EVERY_DROPOUT), cell(4)
    architecture = graph.space.sample(random.Random(0))
    network = standalone(
        graph,
        architecture,
        OPERATIONS,
        task,
        recipe,
        width=6,
        seed=0,
        device="cuda",
        backend=RecurrentBackend(PythonLoops()),
    )
    trainer = Trainer(task, recipe, 100, seed=0)
    trainer.step([network])
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.step([network])
    finally:
        torch.cuda.set_sync_debug_mode("default")
