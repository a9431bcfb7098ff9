"""Operations bound once: found again by every child, and never taken for another."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from random_specs import CATALOGUE

from nasforge.executors.bank import WeightBank
from nasforge.executors.bound import BoundOperation, bound_operation
from nasforge.executors.drops import DropPath
from nasforge.graph.supergraph import OperationUse
from nasforge.kinds.places import given

CONV = OperationUse("conv", (("kernel", 3),))


def bound(
    bank: WeightBank, use: OperationUse = CONV, key: str = "k", size: int = 4, drop: float = 0.0
) -> BoundOperation:
    return bound_operation(use, CATALOGUE.operations, bank, key, ((2, size, size),), drop)


def test_the_same_operation_on_the_same_weights_is_bound_once() -> None:
    bank = WeightBank(0)
    assert bound(bank) is bound(bank) and bound(bank) is not bound(WeightBank(0))


@pytest.mark.parametrize(
    "other",
    [
        {"use": given(CONV, stride=2)},
        {"size": 6},
        {"key": "another"},
        {"drop": 0.5},
    ],
    ids=["parameters", "shapes", "key", "drop"],
)
def test_what_differs_in_anything_is_bound_anew(other: dict[str, object]) -> None:
    bank = WeightBank(0)
    one, another = bound(bank), bound(bank, **other)  # type: ignore[arg-type]
    assert another is not one
    assert (another.weights[0] is one.weights[0]) == ("key" not in other)
    assert isinstance(another.function, DropPath) == ("drop" in other)


def test_uses_that_share_weights_compute_what_their_parameters_say() -> None:
    bank, x = WeightBank(0), torch.randn(3, 2, 4, 4)
    shapes = []
    for use in (CONV, given(CONV, stride=2), CONV):
        found = bound(bank, use)
        shapes.append(tuple(found.function(x, *found.weights).shape[1:]))
        assert found.shape == shapes[-1]
    assert shapes == [(2, 4, 4), (2, 2, 2), (2, 4, 4)]


def test_an_operation_of_the_same_name_from_another_catalogue_is_bound_anew() -> None:
    bank = WeightBank(0)
    one = bound(bank)
    replaced = dict(CATALOGUE.operations) | {"conv": replace(CATALOGUE.operations["conv"], summary="another")}
    other = bound_operation(CONV, replaced, bank, "k", ((2, 4, 4),), 0.0)
    assert other is not one and other.operation is replaced["conv"] and other.weights[0] is one.weights[0]
