"""What a user knows before the search, as log-weights of options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import LstmOptions
from nasforge.errors import SpaceError
from nasforge.space.decision import Decision
from nasforge.space.search_space import SearchSpace
from nasforge.testing.controllers import SPACES

SPACE = SearchSpace(
    [
        Decision("layer0.op", ("conv", "pool", "none"), "op", "layer0"),
        Decision("layer0.skip", ("no", "yes"), "bit", "layer0"),
        Decision("layer1.op", ("pool", "conv"), "op", "layer1"),
    ]
)


def probabilities(prior: dict[str, dict[str, float]], space: SearchSpace = SPACE, **options: Any) -> list[list[float]]:
    """Of each decision's options, where all before it are the first, of a policy that is uniform but for the prior."""
    controller = LstmController(space, LstmOptions(units=4, prior=prior, **options), seed=0)
    for weight in controller.policy.parameters():
        weight.data.zero_()
    choices = {decision.name: decision.options[0] for decision in space.decisions}
    walk = controller._forced([space.architecture(choices)])
    p = walk.log_probabilities[0].exp().tolist()
    return [row[: len(decision.options)] for row, decision in zip(p, space.decisions, strict=True)]


def test_an_option_becomes_exp_of_its_number_times_as_likely() -> None:
    p = probabilities({"layer0.op": {"pool": math.log(2)}, "bit": {"yes": -math.log(3)}})
    assert p == [pytest.approx(each, abs=1e-6) for each in ([0.25, 0.5, 0.25], [0.75, 0.25], [0.5, 0.5])]


def test_what_is_said_about_a_role_and_a_decision_is_added() -> None:
    p = probabilities({"op": {"pool": math.log(2), "none": -2.0}, "layer1.op": {"pool": math.log(3)}})
    assert p[0] == pytest.approx([1 / (3 + math.exp(-2)), 2 / (3 + math.exp(-2)), math.exp(-2) / (3 + math.exp(-2))])
    assert p[2] == pytest.approx([6 / 7, 1 / 7], abs=1e-6)


def test_it_is_added_to_the_recency_prior_of_inputs() -> None:
    space = SearchSpace([Decision("node.input", ("x", "y", "z"), "input", "node")])
    weights = [math.exp(-9 / 6 + 1), math.exp(-4 / 6), math.exp(-1 / 6)]
    p = probabilities({"input": {"x": 1.0}}, space, recency_prior=1 / 6)
    assert p[0] == pytest.approx([each / sum(weights) for each in weights], abs=1e-6)


def test_the_tanh_does_not_bound_it() -> None:
    assert probabilities({"bit": {"yes": 20.0}}, tanh_constant=0.1)[1][1] > 0.999


def test_walking_one_after_the_other_sees_it_too() -> None:
    options = LstmOptions(units=8, init_range=0.5, prior={"op": {"conv": 1.5}, "bit": {"no": -0.7}})
    controller = LstmController(SPACE, options, seed=1)
    assert controller.policy.plain
    proposals, sampled = controller.propose_with_log_prob(20)
    torch.testing.assert_close(controller.log_prob(proposals), sampled, atol=1e-5, rtol=0)
    assert controller.log_prob(list(SPACE.everything())).exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_no_prior_is_the_default_and_changes_nothing(name: str) -> None:
    space = SPACES[name]
    assert LstmOptions().prior == {}
    zero = {decision.name: dict.fromkeys(decision.options, 0.0) for decision in space.decisions}
    both = (LstmController(space, LstmOptions(units=8, prior=prior), seed=0) for prior in ({}, zero))
    assert len({tuple(each.log_prob(list(space.everything())).tolist()) for each in both}) == 1


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ({"layer0.skp": {"yes": 1}}, "no decision or role 'layer0.skp'. Did you mean 'layer0.skip'"),
        ({"layer1.op": {"none": 1}}, "'layer1.op' has no option 'none'"),
        ({"op": {"pol": 1}}, "'op' has no option 'pol'. Did you mean 'pool'"),
    ],
)
def test_names_that_the_space_does_not_have_are_refused(prior: dict[str, dict[str, float]], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        LstmController(SPACE, LstmOptions(prior=prior), seed=0)


@pytest.mark.parametrize(
    "prior", [{"op": {"conv": math.inf}}, {"op": {"conv": 101}}, {"op": {"conv": True}}, {"op": 1}, ["op"]]
)
def test_what_has_no_meaning_is_refused(prior: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LstmOptions.model_validate({"prior": prior})
