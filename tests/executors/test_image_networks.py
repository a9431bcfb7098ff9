"""Networks of conv cells and macro networks run: children on a bank, mixtures at a vertex, final networks."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_specs import BLOCKS, CATALOGUE, declared, supergraph_of
from torch import Tensor
from torch.nn import functional as F

from nasforge.executors.bank import WeightBank
from nasforge.executors.gates import soft_gates, support
from nasforge.executors.interpreter import Program
from nasforge.graph.count import Meter
from nasforge.graph.plan import plan_architecture, plan_support
from nasforge.graph.supergraph import Supergraph
from nasforge.kinds import conv_cell, macro_network
from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.spec.run_spec import load_space_spec

ROOT = Path(__file__).parents[2]
IMAGES = st.one_of([BLOCKS["conv_cell"](2), BLOCKS["macro_network"](4)])
quietly = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def images(supergraph: Supergraph, shape: tuple[int, ...], batch: int = 3) -> dict[str, Tensor | None]:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(batch, *shape, dtype=torch.float64, generator=generator)
    return {"image": values.to(memory_format=torch.channels_last)}


def program(supergraph: Supergraph, architecture: Mapping[str, str], bank: WeightBank, shape: Any) -> Program:
    return Program(plan_architecture(supergraph, architecture), CATALOGUE.operations, bank, {"image": shape})


@quietly
@given(IMAGES, st.sampled_from(["search", "final"]), st.integers(0, 2**32))
def test_every_child_runs_with_the_shapes_and_weights_that_were_counted(
    block: dict[str, Any], stage: str, seed: int
) -> None:
    supergraph = supergraph_of(block, stage)
    shape = declared(block)[1].image
    architecture = supergraph.space.sample(random.Random(seed))
    bound = program(supergraph, architecture, WeightBank(1, dtype=torch.float64), shape)
    output = bound(images(supergraph, shape))
    assert tuple(output.shape[1:]) == bound.shape and bool(output.isfinite().all())
    counted = Meter(supergraph, CATALOGUE.operations, lambda choices: {"image": shape}).count(architecture)
    assert sum(parameter.numel() for parameter in bound.parameters.values()) == counted.parameters


def fixed(kind: str) -> dict[str, Any]:
    """A block without searched numbers, whose alternatives all have one shape in the search."""
    operations = ["identity", {"conv": {"kernel": 3}}, {"sep_conv": {"kernel": 3}}, {"avg_pool": {"kernel": 3}}]
    each: dict[str, Any] = {"op": {"choose": 1, "from": operations}}
    if kind == "conv_cell":
        stack = {"normal": 1, "reductions": 1, "channels": 4}
        return {"kind": kind, "image": [3, 8, 8], "nodes": 3, "each": each, "stack": stack}
    return {"kind": kind, "image": [3, 8, 8], "layers": 4, "each": each, "channels": 4, "reduce_after": [2]}


SCOPES = [("conv_cell", share) for share in conv_cell.SHARE_KEYS] + [
    ("macro_network", share) for share in macro_network.SHARE_KEYS
]


@pytest.mark.parametrize(("kind", "share"), SCOPES)
def test_the_supernet_at_a_vertex_equals_the_child_in_value_and_gradient(kind: str, share: str) -> None:
    supergraph = supergraph_of(fixed(kind), share=share)
    rng = random.Random(2)
    for _ in range(6):
        architecture = supergraph.space.sample(rng)
        weights = {
            d.name: torch.tensor([float(option == architecture[d.name]) for option in d.options], dtype=torch.float64)
            for d in supergraph.space.decisions
        }
        gates = soft_gates(supergraph, weights)
        bank = WeightBank(1, dtype=torch.float64)
        plan = plan_support(supergraph, support(gates))
        soft = Program(plan, CATALOGUE.operations, bank, {"image": (3, 8, 8)}, soft=True)
        hard = program(supergraph, architecture, bank, (3, 8, 8))
        assert soft.parameters.keys() == hard.parameters.keys()
        fed = images(supergraph, (3, 8, 8))
        outputs = [hard(fed), soft(fed, gates)]
        torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-12, atol=1e-12)
        listed = list(hard.parameters.values())
        gradients = [torch.autograd.grad(each.square().sum(), listed, allow_unused=True) for each in outputs]
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_concatenation_is_refused_under_soft_gates() -> None:
    supergraph = supergraph_of(fixed("conv_cell"), "final")
    every = {name: frozenset(range(len(t.wires))) for name, t in supergraph.templates.items()}
    plan = plan_support(supergraph, every)
    with pytest.raises(Exception, match="use the search stage"):
        Program(plan, CATALOGUE.operations, WeightBank(1), {"image": (3, 8, 8)}, soft=True)


def test_cells_of_one_kind_have_weights_of_their_own_and_share_nothing() -> None:
    supergraph = supergraph_of({**fixed("conv_cell"), "stack": {"normal": 2, "reductions": 1, "channels": 4}})
    architecture = supergraph.space.sample(random.Random(0))
    bound = program(supergraph, architecture, WeightBank(1), (3, 8, 8))
    own = {name.split("/")[0] for name in bound.parameters if "/normal/" in name or "/reduction/" in name}
    assert own == {"cell0", "cell1", "cell2", "cell3", "cell4"}


def test_what_no_wire_demands_has_no_weights() -> None:
    """Identities everywhere: only the stem, what brings channels and sizes together, and the output are left."""
    supergraph = supergraph_of(fixed("conv_cell"))
    chosen = {d.name: d.options[0] for d in supergraph.space.decisions}
    bound = program(supergraph, chosen, WeightBank(1), (3, 8, 8))
    assert not [name for name in bound.parameters if "conv" in name]


def test_a_macro_network_is_what_its_equation_says() -> None:
    """Three layers of identity by hand: y_k = BN(relu(before_k(y_{k-1})) + chosen earlier values)."""
    block = {**fixed("macro_network"), "layers": 3, "reduce_after": []}
    supergraph = supergraph_of(block)
    choices = {"layer1.op": "identity", "layer2.op": "identity", "layer3.op": "identity"}
    choices |= {"layer2.skip.stem": "yes", "layer3.skip.stem": "no", "layer3.skip.layer1": "yes"}
    bound = program(supergraph, choices, WeightBank(1, dtype=torch.float64), (3, 8, 8))
    fed = images(supergraph, (3, 8, 8))
    weights = {name.removeprefix("main/"): value for name, value in bound.parameters.items()}

    def norm(x: Tensor, of: str) -> Tensor:
        return F.batch_norm(
            x, None, None, weights[f"{of}.norm.scale"], weights[f"{of}.norm.offset"], training=True, eps=1e-5
        )

    def layer(x: Tensor, number: int) -> Tensor:
        before = f"layer{number}.identity.before"
        return F.relu(F.relu(norm(F.conv2d(x, weights[f"{before}.weight"]), before)))

    image = fed["image"]
    assert image is not None
    stem = norm(F.conv2d(image, weights["stem.weight"], padding=1), "stem")
    y1 = norm(layer(stem, 1), "layer1")
    y2 = norm(layer(y1, 2) + stem, "layer2")
    y3 = norm(layer(y2, 3) + y1, "layer3")
    torch.testing.assert_close(bound(fed), y3, rtol=1e-10, atol=1e-10)


def test_the_final_reduction_cell_halves_in_its_operations() -> None:
    supergraph = supergraph_of(fixed("conv_cell"), "final")
    strided = [
        node
        for node in supergraph.templates["reduction"].nodes.values()
        if node.operation and ("stride", 2) in node.operation.given
    ]
    assert strided and all(set(node.inputs) <= {"in0", "in1"} for node in strided)
    bound = program(supergraph, supergraph.space.sample(random.Random(0)), WeightBank(1), (3, 8, 8))
    assert bound.shape[1:] == (4, 4)


def test_shipped_networks_run() -> None:
    plugins = build_plugins()
    for name in ("digits_cell", "digits_macro"):
        spec = load_space_spec(ROOT / "spaces" / f"{name}.yaml", plugins)
        for stage in ("search", "final"):
            supergraph = compile_space(spec, stage, CATALOGUE.operations)  # type: ignore[arg-type]
            architecture = supergraph.space.sample(random.Random(1))
            bound = program(supergraph, architecture, WeightBank(1, dtype=torch.float64), (1, 8, 8))
            assert bool(bound(images(supergraph, (1, 8, 8))).isfinite().all())
