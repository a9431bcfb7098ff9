"""Limits around any controller: rejection that leaves the policy's distribution, and an end where nothing is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
import torch
from helpers import cell
from scipy.stats import chi2

from nasforge.controllers.limited import MOST_AT_ONCE, LimitedController, within_limits
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import LstmOptions
from nasforge.controllers.random import RandomController
from nasforge.errors import RunFailedError
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace

SPACE = cell(3, ops=("tanh", "relu")).space


class AtMost:
    """At most so many tanh."""

    def __init__(self, most: int) -> None:
        self.most = most

    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        count = list(architecture.values()).count("tanh")
        return (f"count of tanh: {count} are more than {self.most}",) if count > self.most else ()


def lstm(space: SearchSpace, seed: int = 0) -> LstmController:
    return LstmController(space, LstmOptions(units=8), seed=seed)


def test_without_limits_nothing_is_wrapped() -> None:
    controller = lstm(SPACE)
    assert within_limits(controller) is controller
    assert isinstance(within_limits(lstm(SPACE.limited(AtMost(1)))), LimitedController)


def test_proposals_are_the_admitted_ones_of_the_policy_in_proportion() -> None:
    space = SPACE.limited(AtMost(1))
    inner = lstm(space)
    # Away from uniform, so that proportions mean something.
    with torch.no_grad():
        for parameter in inner.policy.parameters():
            parameter.mul_(8)
    probability = {each: inner.log_prob([each]).exp().item() for each in space.everything()}
    total = sum(probability.values())
    assert 0.05 < total < 0.95
    n = 4000
    seen = Counter(within_limits(inner).propose(n))
    assert set(seen) <= set(probability)
    expected = {each: n * p / total for each, p in probability.items()}
    statistic = sum((seen[each] - count) ** 2 / count for each, count in expected.items())
    assert statistic < chi2.ppf(0.999, len(expected) - 1)


def test_the_random_controller_draws_within_limits_by_itself() -> None:
    space = SPACE.limited(AtMost(0))
    controller = RandomController(space, seed=0)
    assert all(space.admits(each) for each in controller.propose(20))
    assert controller.state() == {"drawn": 20}


def test_few_requests_are_made_where_little_is_admitted() -> None:
    space = SPACE.limited(AtMost(0))
    asked: list[int] = []

    inner = lstm(space)
    propose = inner.propose
    inner.propose = lambda count: (asked.append(count), propose(count))[1]  # type: ignore[method-assign]
    assert len(within_limits(inner).propose(3)) == 3
    assert asked[0] == 3 and asked == [min(3 * 2**i, MOST_AT_ONCE) for i in range(len(asked))]
    assert within_limits(inner).propose(0) == []


def test_a_policy_that_never_keeps_the_limits_ends_with_a_clear_error() -> None:
    space = SPACE.limited(AtMost(-1))
    with pytest.raises(RunFailedError) as caught:
        within_limits(lstm(space)).propose(1)
    assert "of 10,000 proposals of the controller in a row none is within the limits" in str(caught.value)
    assert "count of tanh failed 10,000 times, for example" in str(caught.value)
    assert "Widen these limits" in str(caught.value)


def test_updates_and_states_go_to_the_controller_inside() -> None:
    space = SPACE.limited(AtMost(1))
    controller, twin = within_limits(lstm(space)), within_limits(lstm(space))
    proposals = controller.propose(4)
    controller.update(proposals, [1.0, 2.0, 3.0, 4.0])
    twin.load_state(controller.state())
    assert controller.propose(5) == twin.propose(5)
    assert isinstance(controller, LimitedController) and controller.seed == controller.inner.seed == 0


def test_with_leave_one_out_the_update_ascends_the_expected_reward_given_the_limits() -> None:
    """E_q[(R - b) grad log p] = grad E_q[R] for q = p given the limits, both sides summed over the whole space."""
    space = SPACE.limited(AtMost(1))
    inner = lstm(space)
    admitted = list(space.everything())
    rewards = torch.tensor([float(int(each.digest[:4], 16)) / 65536 for each in admitted])
    log_prob = inner._forced(admitted).log_prob()
    q = (log_prob - log_prob.logsumexp(0)).exp()
    exact = torch.autograd.grad(
        (q * rewards).sum(), list(inner.policy.parameters()), retain_graph=True, allow_unused=True
    )
    # The baseline is the mean of other rewards: independent of the sample, with the expectation E_q[R].
    weights = (q * (rewards - (q * rewards).sum())).detach()
    ours = torch.autograd.grad((weights * log_prob).sum(), list(inner.policy.parameters()), allow_unused=True)
    for a, b in zip(exact, ours, strict=True):
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    assert any(a is not None and a.abs().max() > 1e-5 for a in exact)


def test_foreign_architectures_outside_can_be_asked_about() -> None:
    space = SPACE.limited(AtMost(0))
    outside = Architecture(tuple(SPACE.everything()[0].items()))
    assert not space.admits(outside)
    assert lstm(space).log_prob([outside]).shape == (1,)
