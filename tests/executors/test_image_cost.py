"""What a step of a network of images costs: channels_last throughout, and only what the child needs."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from random_specs import CATALOGUE
from torch.utils._python_dispatch import TorchDispatchMode

from nasforge.executors.bank import WeightBank
from nasforge.executors.interpreter import Program
from nasforge.graph.plan import plan_architecture
from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.spec.run_spec import load_space_spec

ROOT = Path(__file__).parents[2]


class _Formats(TorchDispatchMode):
    """Notes the calls that give images which are not channels_last, and all the storage that calls touch."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.seen.update(each.data_ptr() for each in args if isinstance(each, torch.Tensor))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            images = isinstance(value, torch.Tensor) and value.dim() == 4 and min(value.shape[2:]) > 1
            # Filters and the gradients of them are small; slices are read by the copy that follows.
            images = images and value.shape[0] == BATCH and "slice" not in str(func)
            # Of one channel, so in both formats; what the stem makes of it is put into one.
            images = images and not ("convolution.default" in str(func) and args[0].shape[1] == 1)
            if images and not value.is_contiguous(memory_format=torch.channels_last):
                self.wrong.append(f"{func} {tuple(value.shape)} {value.stride()}")
        return result


BATCH = 7


@pytest.mark.parametrize("stage", ["search", "final"])
@pytest.mark.parametrize("name", ["digits_cell", "digits_macro", "cifar10_micro", "cifar10_macro"])
def test_every_value_and_every_gradient_is_channels_last(name: str, stage: str) -> None:
    spec = load_space_spec(ROOT / "spaces" / f"{name}.yaml", build_plugins())
    supergraph = compile_space(spec, stage, CATALOGUE.operations)  # type: ignore[arg-type]
    shape = tuple(spec.space.image)  # type: ignore[attr-defined]
    for seed in range(4):
        architecture = supergraph.space.sample(random.Random(seed))
        program = Program(
            plan_architecture(supergraph, architecture), CATALOGUE.operations, WeightBank(1), {"image": shape}
        )
        image = torch.randn(BATCH, *shape).contiguous(memory_format=torch.channels_last)
        with _Formats() as formats:
            features = program({"image": image})
            # The gradient of an average has no gaps of its own: it is given in the format of the features.
            features.backward(torch.ones_like(features))
        assert not formats.wrong, "\n".join(formats.wrong[:10])


def test_a_step_touches_the_weights_of_the_child_and_no_others() -> None:
    spec = load_space_spec(ROOT / "spaces" / "cifar10_micro.yaml", build_plugins())
    supergraph = compile_space(spec, "search", CATALOGUE.operations)
    shape, rng, bank = tuple(spec.space.image), random.Random(0), WeightBank(1)  # type: ignore[attr-defined]

    def bound() -> Program:
        plan = plan_architecture(supergraph, supergraph.space.sample(rng))
        return Program(plan, CATALOGUE.operations, bank, {"image": shape})

    child = bound()
    allocated = len(bank.named_parameters())
    assert allocated == len(child.parameters)
    for _ in range(20):
        bound()
    everything = {parameter.data_ptr() for parameter in bank.named_parameters().values()}
    own = {parameter.data_ptr() for parameter in child.parameters.values()}
    assert len(everything) > 2 * len(own)
    image = torch.randn(BATCH, *shape).contiguous(memory_format=torch.channels_last)
    with _Formats() as formats:
        child({"image": image}).square().mean().backward()
    assert formats.seen & everything == own
    moved = {name for name, parameter in bank.named_parameters().items() if parameter.grad is not None}
    assert moved == set(child.parameters)
