"""The weight bank: sets by key, drawn from streams of their own."""

from __future__ import annotations

import math

import pytest
import torch

from nasforge.components import WeightSpec
from nasforge.errors import SpaceError
from nasforge.executors.bank import WeightBank

MATRIX = WeightSpec("weight", (4, 200), fan_in=4)
SPECS = (MATRIX, WeightSpec("bias", (8,), init="zeros"), WeightSpec("scale", (8,), init="ones"))


def test_the_order_of_allocation_changes_nothing() -> None:
    one, other = WeightBank(1), WeightBank(1)
    for key in ("a", "b", "c"):
        one.take(key, SPECS)
    for key in ("c", "a", "b"):
        other.take(key, SPECS)
    assert list(one.named_parameters()) == list(other.named_parameters())
    for name, parameter in one.named_parameters().items():
        assert torch.equal(parameter, other.named_parameters()[name])


def test_keys_names_and_seeds_have_streams_of_their_own() -> None:
    two = (MATRIX, WeightSpec("other", (4, 200), fan_in=4))
    drawn = [*WeightBank(1).take("a", two), *WeightBank(1).take("b", two), *WeightBank(2).take("a", two)]
    for number, value in enumerate(drawn):
        assert not any(torch.equal(value, other) for other in drawn[:number])


def test_drawing_moves_no_global_generator() -> None:
    before = torch.get_rng_state()
    WeightBank(1).take("a", SPECS)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("init_range", "bound"), [(None, 1 / math.sqrt(4)), (0.04, 0.04)])
def test_matrices_fill_their_range(init_range: float | None, bound: float) -> None:
    weight, bias, scale = WeightBank(1, init_range=init_range).take("a", SPECS)
    assert 0.97 * bound < weight.max() <= bound
    assert -bound <= weight.min() < -0.97 * bound
    assert abs(weight.mean().item()) < 0.1 * bound
    assert torch.equal(bias, torch.zeros(8))
    assert torch.equal(scale, torch.ones(8))


def test_one_key_is_one_set() -> None:
    bank = WeightBank(1)
    first, second = bank.take("a", SPECS), bank.take("a", list(SPECS))
    assert all(one is other for one, other in zip(first, second, strict=True))
    assert bank.take("b", SPECS)[0] is not first[0]


def test_nodes_that_share_must_agree() -> None:
    bank = WeightBank(1)
    bank.take("a", (MATRIX,))
    with pytest.raises(SpaceError, match="nodes that share the weights 'a' disagree"):
        bank.take("a", (WeightSpec("weight", (4, 100), fan_in=4),))
    with pytest.raises(SpaceError, match="disagree"):
        bank.take("a", SPECS)


def test_parameters_are_named_by_key_and_sorted() -> None:
    bank = WeightBank(1, dtype=torch.float64)
    bank.take("b", (MATRIX,))
    bank.take("a", SPECS)
    assert list(bank.named_parameters()) == ["a.bias", "a.scale", "a.weight", "b.weight"]
    assert {parameter.dtype for parameter in bank.named_parameters().values()} == {torch.float64}


def test_loading_overwrites_what_is_there_and_supplies_what_comes() -> None:
    source, bank, untouched = WeightBank(5), WeightBank(1), WeightBank(1)
    for key in ("a", "b"):
        source.take(key, SPECS)
    (there, *_) = bank.take("a", SPECS)
    bank.load({name: value.detach() for name, value in source.named_parameters().items()})
    assert bank.take("a", SPECS)[0] is there
    assert torch.equal(there, source.take("a", SPECS)[0])
    assert torch.equal(bank.take("b", SPECS)[0], source.take("b", SPECS)[0])
    assert torch.equal(bank.take("c", SPECS)[0], untouched.take("c", SPECS)[0])


def test_loading_copies() -> None:
    values = {"a.weight": torch.ones(4, 200), "b.weight": torch.ones(4, 200)}
    bank = WeightBank(1)
    bank.take("a", (MATRIX,))
    bank.load(values)
    bank.take("b", (MATRIX,))
    for value in values.values():
        value.zero_()
    assert all(torch.equal(parameter, torch.ones(4, 200)) for parameter in bank.named_parameters().values())


@pytest.mark.parametrize("allocated", [True, False])
def test_loading_another_shape_is_refused(allocated: bool) -> None:
    bank = WeightBank(1)
    if allocated:
        bank.take("a", (MATRIX,))
    with pytest.raises(ValueError, match=r"'a\.weight' has shape \(4, 1\), not \(4, 200\)"):
        bank.load({"a.weight": torch.ones(4, 1)})
        bank.take("a", (MATRIX,))
