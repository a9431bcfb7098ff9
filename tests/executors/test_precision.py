"""Mixed precision: what is computed in bfloat16, what stays float32, and what is said about it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from toy import nasforge, write_toy

from nasforge.cli.run import check_device
from nasforge.errors import UsageError
from nasforge.executors.loops import PythonLoops
from nasforge.executors.network import Network
from nasforge.executors.options import SharedWeightsOptions
from nasforge.executors.recurrent import RecurrentBackend
from nasforge.executors.shared import SharedWeights, standalone
from nasforge.executors.training import Trainer
from nasforge.recipe import Recipe
from nasforge.tasks.base import Task
from nasforge.tasks.language_model import LanguageModel
from nasforge.tasks.options import LanguageModelOptions

Made = tuple[Task, Network, Recipe]
ADAM = {"optimizer": "adam", "learning_rate": 1e-3}


def recurrent(folder: Path, precision: Any, backend: RecurrentBackend | None) -> Made:
    task, recipe, graph = language_model(write_corpus(folder)), words(**ADAM, dropout_hidden=0.2), cell(4)
    architecture = graph.space.sample(random.Random(3))
    network = standalone(
        graph, architecture, OPERATIONS, task, recipe, width=12, seed=0, backend=backend, precision=precision
    )
    return task, network, recipe


def lstm(folder: Path, precision: Any) -> Made:
    task, recipe = language_model(write_corpus(folder)), words(**ADAM, dropout_hidden=0.2)
    core = task.reference_cores(12, 2000, 0)["lstm"]
    return task, Network(task.shell(core.width, recipe, 0), core, precision=precision), recipe


def image(folder: Path, precision: Any, block: Any = CELLS) -> Made:
    task, graph = task_of(bright_rows(folder)), supergraph_of(block)
    recipe = images(**ADAM)
    architecture = graph.space.sample(random.Random(1))
    network = standalone(graph, architecture, IMAGE_OPERATIONS, task, recipe, width=1, seed=0, precision=precision)
    return task, network, recipe


MAKERS: dict[str, Callable[[Path, Any], Made]] = {
    "fused cell": lambda folder, precision: recurrent(folder, precision, RecurrentBackend(PythonLoops())),
    "interpreted cell": lambda folder, precision: recurrent(folder, precision, None),
    "lstm": lstm,
    "conv cells": image,
    "macro network": lambda folder, precision: image(folder, precision, BLOCK),
}


class Products(TorchDispatchMode):
    """Notes the types of the results of matrix products and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[torch.dtype] = []

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        result = function(*given, **(named or {}))
        name = function.overloadpacket.__name__
        if name in ("mm", "addmm", "bmm", "convolution", "_convolution"):
            self.found.append(result.dtype)
        return result


@contextmanager
def products() -> Iterator[list[torch.dtype]]:
    with Products() as mode:
        yield mode.found


@pytest.mark.parametrize("name", MAKERS)
def test_a_training_in_bfloat16_is_close_to_one_in_float32(name: str, tmp_path: Path) -> None:
    losses: dict[str, list[float]] = {}
    for precision in ("float32", "bfloat16"):
        task, network, recipe = MAKERS[name](tmp_path, precision)
        trainer = Trainer(task, recipe, total_steps=20, seed=0)
        losses[precision] = [trainer.step([network]).loss for _ in range(8)]
        assert trainer.skipped == 0
        assert all(parameter.dtype == torch.float32 for parameter in network.trained.values())
        assert all(value.dtype == torch.float32 for value in network.core.statistics.values())
        states = trainer._optimizer.state.values()
        assert {state["exp_avg"].dtype for state in states} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


@pytest.mark.parametrize("name", MAKERS)
def test_losses_and_gradients_are_float32(name: str, tmp_path: Path) -> None:
    task, network, recipe = MAKERS[name](tmp_path, "bfloat16")
    with network.computing():
        result = task.loss(network, recipe, 0, None, 0)
    assert result.total.dtype == result.data.dtype == torch.float32
    result.total.backward()
    gradients = [parameter.grad for parameter in network.trained.values() if parameter.grad is not None]
    assert gradients and all(gradient.dtype == torch.float32 for gradient in gradients)
    if isinstance(result.state, Tensor):
        assert result.state.dtype == torch.float32


@pytest.mark.parametrize("name", MAKERS)
def test_products_of_proxy_scores_are_bfloat16_and_those_of_reported_ones_are_not(name: str, tmp_path: Path) -> None:
    task, network, _ = MAKERS[name](tmp_path, "bfloat16")
    with network.computing(), products() as proxy:
        score = task.evaluate(network, "valid", exact=False)
    assert torch.bfloat16 in proxy
    # Recurrent cells stay float32: one product for embedding and decoder each, all others are theirs.
    assert (torch.float32 in proxy) == (name in ("fused cell", "interpreted cell"))
    with products() as exact:
        assert task.evaluate(network, "valid", exact=False).loss == pytest.approx(score.loss, rel=0.02)
    assert set(exact) == {torch.float32}
    _, plain, _ = MAKERS[name](tmp_path, "float32")
    with plain.computing(), products() as unchanged:
        task.evaluate(plain, "valid", exact=False)
    assert set(unchanged) == {torch.float32}


@pytest.mark.parametrize("backend", [RecurrentBackend(PythonLoops()), None], ids=["fused", "interpreted"])
def test_a_cell_gives_what_it_gives_without_autocast(backend: RecurrentBackend | None, tmp_path: Path) -> None:
    _, network, _ = recurrent(tmp_path, "bfloat16", backend)
    core: Any = network.core
    inputs = torch.randn(5, 3, 12, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = []
    for around in (torch.autocast("cpu", torch.bfloat16), torch.autocast("cpu", enabled=False)):
        for parameter in core.parameters.values():
            parameter.grad = None
        given = inputs if around._enabled else inputs.float()
        with around:
            outputs, _ = core(given, torch.zeros(3, 12), None)
            if backend is not None:  # of others torch itself computes the gradient, in bfloat16 where autocast is on
                outputs.square().sum().backward()
        if backend is None:
            outputs.square().sum().backward()
        found.append([outputs, *(parameter.grad for parameter in core.parameters.values())])
    for inside, outside in zip(*found, strict=True):
        assert inside.dtype == torch.float32 and torch.equal(inside, outside)


def test_children_of_the_search_are_calibrated_and_trained_in_the_precision_of_their_executor(tmp_path: Path) -> None:
    task, graph = task_of(bright_rows(tmp_path)), supergraph_of(CELLS)
    config = SharedWeightsOptions(precision="bfloat16")
    executor = SharedWeights(graph, IMAGE_OPERATIONS, task, images(), config, seed=0)
    architecture = graph.space.sample(random.Random(0))
    assert executor.network(architecture).precision == "bfloat16"
    with products() as found:
        network = executor.calibrated(architecture)
    assert set(found) == {torch.bfloat16}
    assert all(value.dtype == torch.float32 for value in network.core.statistics.values())


SHORT = ("compare.random=false", "derive.candidates=3", "derive.shortlist=2", "strategy.epochs=1", "train.epochs=1")


def test_a_recurrent_run_in_bfloat16_works_and_differs(toy_run: Any, tmp_path: Path) -> None:
    write_toy(tmp_path)
    results = []
    for precision in ("bfloat16", "float32"):
        given = ("run", "toy.yaml", *SHORT, f"executor.precision={precision}", "--run-dir", precision)
        done = nasforge(*given, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        results.append(json.loads((tmp_path / precision / "result.json").read_text()))
    lower, full = (result["references"][0]["trained"]["test"] for result in results)
    assert lower != full and lower == pytest.approx(full, rel=0.02)


def test_a_run_of_images_in_bfloat16_works(tmp_path: Path) -> None:
    bright_rows(tmp_path)
    (tmp_path / "rows.yaml").write_text(
        "nasforge: 1\nname: rows\nspace:\n  kind: conv_cell\n  image: [1, 6, 6]\n  nodes: 2\n"
        "  each: {op: {choose: 1, from: [identity, sep_conv: {kernel: 3}]}}\n"
        "  stack: {normal: 1, reductions: 1, channels: 4}\n"
        "task: {kind: image_classification, data: {npz: rows.npz}, valid_fraction: 0.2, reward_batch_size: 9}\n"
        "strategy: {kind: enas, controller_steps: 2, candidates_per_step: 2}\ncontroller: {kind: lstm, units: 8}\n"
        "executor: {precision: bfloat16, recipe: {batch_size: 16}}\ntrain: {recipe: {batch_size: 16}}\n"
    )
    done = nasforge("run", "rows.yaml", *SHORT, "--run-dir", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "run" / "best" / "model.py").is_file()


def test_other_types_are_refused_at_their_line(tmp_path: Path) -> None:
    path = write_toy(tmp_path)
    path.write_text(path.read_text().replace("executor: {hidden: 6,", "executor: {precision: float16, hidden: 6,"))
    done = nasforge("check", path, cwd=tmp_path)
    assert done.returncode == 2
    assert "toy.yaml:16:23: " in done.stderr and "must be one of 'float32', 'bfloat16'" in done.stderr


def test_a_device_without_bfloat16_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(UsageError, match="--device cuda has no units for bfloat16; use executor.precision: float32"):
        check_device("cuda", "bfloat16")
    check_device("cuda", "float32")


def on_device(folder: Path, device: str) -> float:
    """The loss of a step in bfloat16."""
    write_corpus(folder)
    corpus = {"train": "train.txt", "valid": "valid.txt", "test": "test.txt"}
    config = LanguageModelOptions.model_validate({"corpus": corpus})
    task, recipe, graph = LanguageModel(config, folder, seed=0, device=device), words(dropout_hidden=0.2), cell(4)
    architecture = graph.space.sample(random.Random(3))
    network = standalone(
        graph,
        architecture,
        OPERATIONS,
        task,
        recipe,
        width=12,
        seed=0,
        device=device,
        backend=RecurrentBackend(PythonLoops()),
        precision="bfloat16",
    )
    return Trainer(task, recipe, 20, seed=0).step([network]).loss


def test_cuda_computes_close_to_the_cpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device here")
    assert on_device(tmp_path, "cuda") == pytest.approx(on_device(tmp_path, "cpu"), rel=0.02)
