"""Networks of images to be exported: with random values, loaded into the exported file, and compared with it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from random_specs import CATALOGUE
from torch import Tensor, nn
from torch.nn import functional as F

from nasforge.components import Operation
from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.executors.network import ImageCore, Network
from nasforge.export.document import ExportedModule
from nasforge.export.image_module import image_classifier_source
from nasforge.graph.plan import Plan, plan_architecture
from nasforge.graph.supergraph import Supergraph
from nasforge.testing.operations import import_source

CLASSES = ("zero", "one", "two")


class Classifier(nn.Module):
    """What the task puts around the features."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, width))
        self.bias = nn.Parameter(torch.empty(classes))


@dataclass(frozen=True)
class Case:
    plan: Plan
    network: Network
    shape: tuple[int, int, int]
    operations: Mapping[str, Operation]

    def export(
        self, title: str = "Cells", facts: Sequence[tuple[str, str]] = (), classes: Sequence[str] = CLASSES
    ) -> ExportedModule:
        numbers = [0.25] * self.shape[0]
        return image_classifier_source(
            self.plan,
            self.operations,
            self.network,
            image_shape=self.shape,
            classes=classes,
            mean=numbers,
            deviation=numbers,
            title=title,
            facts=facts,
        )

    def model(self, exported: ExportedModule, folder: Path) -> tuple[ModuleType, Any]:
        module = import_source(exported.source, folder, "model")
        model = module.Network().double()
        values = {exported.names[name]: value for name, value in self.network.copy_values().items()}
        model.load_state_dict(values)
        return module, model

    def logits(self, images: Tensor) -> Tensor:
        core, shell = self.network.core, self.network.shell
        assert isinstance(core, ImageCore) and isinstance(shell, Classifier)
        return F.linear(core(images).mean((2, 3)), shell.weight, shell.bias)

    def images(self, seed: int = 5, batch: int = 4) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(batch, *self.shape, dtype=torch.float64, generator=generator)


def case_of(
    plan: Plan,
    shape: tuple[int, int, int],
    operations: Mapping[str, Operation] = CATALOGUE.operations,
    *,
    classes: int = len(CLASSES),
    momentum: float = 0.1,
    dtype: torch.dtype = torch.float64,
) -> Case:
    """A network of the plan; no value is one that weights or statistics start from, where a lost one would not show."""
    core = ImageCore(Program(plan, operations, WeightBank(1, dtype=dtype), {"image": shape}))
    network = Network(Classifier(core.width, classes).to(dtype), core, momentum=momentum)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in network.parameters.items():
            if name.startswith("shell.") or parameter.ndim == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
        for value in core.statistics.values():
            value.uniform_(0.5, 1.5, generator=generator)
    return Case(plan, network, shape, operations)


def sampled(supergraph: Supergraph, seed: int, shape: tuple[int, int, int], **options: Any) -> Case:
    plan = plan_architecture(supergraph, supergraph.space.sample(random.Random(seed)))
    return case_of(plan, shape, **options)


def assert_equal_to_the_interpreter(case: Case, folder: Path) -> None:
    """In evaluation, in training with gradients and statistics, and in evaluation after a step; names one to one."""
    exported = case.export()
    module, model = case.model(exported, folder)
    values = case.network.copy_values()
    state = model.state_dict()
    there = {name: tuple(value.shape) for name, value in state.items() if not name.endswith("num_batches_tracked")}
    assert {exported.names[name]: tuple(value.shape) for name, value in values.items()} == there
    assert set(exported.names) == set(values) and len(set(exported.names.values())) == len(values)

    _assert_same_scores(case, model)
    single = case_of(case.plan, case.shape, case.operations, dtype=torch.float32)
    single.network.load_values(values)
    file = module.Network()
    file.load_state_dict({exported.names[name]: value for name, value in single.network.copy_values().items()})
    with single.network.scoring():
        expected = single.logits(case.images().float())
    torch.testing.assert_close(file.eval()(case.images().float()), expected, rtol=1e-6, atol=1e-6)

    images = case.images(6)
    with case.network.training():
        expected = case.logits(images)
    found = model.train()(images)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    labels = torch.arange(len(images)) % len(CLASSES)
    weights = [*case.network.parameters.values()]
    mine = dict(model.named_parameters())
    theirs = torch.autograd.grad(F.cross_entropy(expected, labels), weights, allow_unused=True)
    own = torch.autograd.grad(
        F.cross_entropy(found, labels), [mine[exported.names[n]] for n in case.network.parameters], allow_unused=True
    )
    for one, other in zip(theirs, own, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    after = model.state_dict()
    for name, value in case.network.copy_values().items():
        torch.testing.assert_close(after[exported.names[name]], value, rtol=1e-12, atol=1e-12)
    _assert_same_scores(case, model)


def _assert_same_scores(case: Case, model: Any) -> None:
    images = case.images()
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with case.network.scoring():
        torch.testing.assert_close(model(images), case.logits(images), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
