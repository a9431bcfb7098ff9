"""The contract of operations, run over those of networks of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from nasforge.ops.image import OPERATIONS
from nasforge.ops.recurrent import OPERATIONS as RECURRENT
from nasforge.testing.operations import OperationCase, OperationContract, check_operation

EVEN, ODD = (4, 6, 8), (3, 7, 5)


def cases(*parameters: Mapping[str, Any], strided: bool = True) -> tuple[OperationCase, ...]:
    """Uses on images of even and of odd sizes, at stride 1 and 2."""
    strides: Sequence[Mapping[str, Any]] = ({"stride": 1}, {"stride": 2}) if strided else ({},)
    return tuple(
        OperationCase((shape,), {**each, **stride})
        for each in parameters
        for stride in strides
        for shape in (EVEN, ODD)
    )


class TestImage(OperationContract):
    module = "nasforge.ops.image"
    operations = OPERATIONS
    cases: ClassVar[Mapping[str, Sequence[OperationCase]]] = {
        "conv": cases({"kernel": 1}, {"kernel": 3}, {"kernel": 7}),
        "sep_conv": cases({"kernel": 3}, {"kernel": 5}, {"kernel": 3, "repeat": 1}),
        "dil_conv": cases({"kernel": 3}, {"kernel": 5, "dilation": 3}),
        "avg_pool": cases({"kernel": 3}, {"kernel": 5}),
        "max_pool": cases({"kernel": 3}, {"kernel": 5}),
        "zero": cases({}),
        "se": cases({}, {"ratio": 1}, {"ratio": 2}),
        "stem": cases({"out": 5}, strided=False),
        "pointwise": cases({"out": 5}, {"out": 2}, strided=False),
        "calibrate": cases({"out": 5}, {"out": 2}, strided=False),
        "factorised_reduction": cases({}, {"out": 5}, {"out": 6, "relu": True}, strided=False),
        "project": cases({}, strided=False),
        "batch_norm": cases({}, strided=False),
        "rectify": cases({}, strided=False),
    }


def test_identity_is_an_operation_on_images_too() -> None:
    (identity,) = (each for each in RECURRENT if each.name == "identity")
    assert identity.families == ("activation", "image")
    check_operation(identity, [OperationCase((EVEN,))])
