"""Searched parameters of operations have the values that the operation makes of what is written."""

from __future__ import annotations

import pytest

from nasforge.errors import SpecError
from nasforge.kinds.recurrent_cell import RecurrentCellSpec
from nasforge.plugins import build_plugins
from nasforge.spec.choices import Choose
from nasforge.spec.resolved import to_plain
from nasforge.spec.run_spec import load_space_spec
from nasforge.spec.yaml_reader import read_yaml_text


def parameters(slope: str) -> str:
    """How the resolved form writes what ``leaky_relu`` takes."""
    text = (
        "nasforge: 1\nname: t\nspace:\n  kind: recurrent_cell\n  nodes: 2\n"
        f"  each: {{op: {{choose: 1, from: [leaky_relu: {{slope: {slope}}}]}}}}\n"
    )
    space = load_space_spec(read_yaml_text(text, "t.yaml"), build_plugins()).space
    assert isinstance(space, RecurrentCellSpec) and isinstance(space.each.op, Choose)
    return str(to_plain(space.each.op.from_[0]))


def test_a_chosen_value_is_the_one_that_stands_alone() -> None:
    assert parameters("1") == "{'leaky_relu': {'slope': 1.0}}"
    assert parameters("{choose: 1, from: [1, 0.5]}") == "{'leaky_relu': {'slope': {'choose': 1, 'from': [1.0, 0.5]}}}"


def test_values_that_are_equal_to_the_operation_are_repeats() -> None:
    with pytest.raises(SpecError, match=r"t\.yaml:6:75: 1\.0 is listed twice; every option must be different"):
        parameters("{choose: 1, from: [1, 1.0]}")
