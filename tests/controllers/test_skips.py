"""The regulariser of skip connections: its equation by hand, where it pulls, and that it is off unless asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from nasforge.controllers.base import Controller
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import LstmOptions
from nasforge.controllers.walk import EXCLUDED, Walk
from nasforge.errors import SpaceError
from nasforge.space.decision import Condition, Decision, Literal
from nasforge.space.search_space import SearchSpace
from nasforge.testing.controllers import SPACES, ControllerContract

ALONE = LstmOptions(units=8, entropy_weight=0, skip_target=0.4, clip_norm=None)
"""With equal rewards nothing but the regulariser is left of the loss."""


class TestSkipsContract(ControllerContract):
    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        has_bits = any(decision.role == "bit" for decision in space.decisions)
        return LstmController(space, LstmOptions(units=16, skip_target=0.4 if has_bits else None), seed=seed)


def bit_space(n_bits: int) -> SearchSpace:
    bits = [Decision(f"layer{n}.skip", ("no", "yes"), "bit", f"layer{n}") for n in range(n_bits)]
    return SearchSpace([Decision("layer0.op", ("conv", "pool", "other"), "op", "layer0"), *bits])


def kl(p: float, rho: float) -> float:
    return p * math.log(p / rho) + (1 - p) * math.log((1 - p) / (1 - rho))


def with_logits(options: LstmOptions, no: float, yes: float, n_bits: int = 1) -> LstmController:
    """A controller whose bits all have these logits, before temperature and tanh."""
    controller = LstmController(bit_space(n_bits), options, seed=0)
    head = controller.policy.heads["bit"]
    head.weight.data.zero_()
    head.bias.data.copy_(torch.tensor([no, yes]))
    return controller


def bit_probabilities(controller: LstmController) -> list[float]:
    """The probability of "yes" of every bit, where all before it are "no"."""
    choices = {decision.name: decision.options[0] for decision in controller.space.decisions}
    walk = controller._forced([controller.space.architecture(choices)])
    found: list[float] = walk.log_probabilities[0, 1:, 1].exp().tolist()
    return found


# The equation --------------------------------------------------------------------------------------------------------


def test_divergence_is_the_mean_over_the_decisions_that_exist() -> None:
    # Position 0 is an operation of three options; the bits at 1 and 2 have p = 0.1 and 0.5.
    first = [math.log(1 / 3)] * 3
    bits = [[math.log(0.9), math.log(0.1), EXCLUDED], [math.log(0.5), math.log(0.5), EXCLUDED]]
    walk = Walk(
        torch.tensor([[2, 0, 1], [0, 1, -1], [1, -1, 0], [1, -1, -1]]), torch.tensor([[first, *bits]] * 4).double()
    )
    found = walk.divergence(torch.tensor([1, 2]), 0.4)
    # 0.1 log(0.1 / 0.4) + 0.9 log(0.9 / 0.6) = 0.226289, 0.5 log(0.5 / 0.4) + 0.5 log(0.5 / 0.6) = 0.020411
    assert found.tolist() == pytest.approx([(0.226289 + 0.020411) / 2, 0.226289, 0.020411, 0.0], abs=1e-6)
    assert [kl(0.1, 0.4), kl(0.5, 0.4)] == pytest.approx([0.226289, 0.020411], abs=1e-6)


@pytest.mark.parametrize("target", [5e-324, 1e-9, 0.5, 1 - 1e-16])
def test_divergence_is_finite_for_certain_choices_and_extreme_targets(target: float) -> None:
    logits = torch.tensor([[[300.0, -300.0], [-300.0, 300.0]]], requires_grad=True)
    walk = Walk(torch.tensor([[0, 1]]), torch.log_softmax(logits, 2))
    divergence = walk.divergence(torch.tensor([0, 1]), target)
    divergence.sum().backward()
    assert divergence.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_loss_holds_it_times_its_weight_and_the_probability_is_the_sampled_one() -> None:
    options = ALONE.model_copy(update={"temperature": 2.0, "tanh_constant": 1.5, "skip_weight": 0.8})
    controller = with_logits(options, no=-1.0, yes=3.0, n_bits=2)
    # After temperature and tanh the logits are 1.5 tanh(-0.5) and 1.5 tanh(1.5).
    p = 1 / (1 + math.exp(1.5 * math.tanh(-0.5) - 1.5 * math.tanh(1.5)))
    assert bit_probabilities(controller) == pytest.approx([p, p], abs=1e-6)
    report = controller.update(controller.propose(4), [1.0] * 4)
    assert report.loss == pytest.approx(0.8 * kl(p, 0.4), abs=1e-6)


def test_it_is_added_to_the_terms_of_reinforce_and_entropy() -> None:
    on = LstmOptions(units=8, skip_target=0.3, skip_weight=2.0, clip_norm=None)
    off = on.model_copy(update={"skip_target": None})
    proposals = LstmController(bit_space(3), on, seed=0).propose(4)
    regularised, plain = (
        LstmController(bit_space(3), each, seed=0).update(proposals, [1.0, 2.0, 4.0, 8.0]) for each in (on, off)
    )
    walk = LstmController(bit_space(3), on, seed=0)._forced(proposals)
    p = walk.log_probabilities[:, 1:, 1].exp().tolist()
    expected = sum(kl(each, 0.3) for row in p for each in row) / 12
    assert regularised.loss - plain.loss == pytest.approx(2 * expected, abs=1e-6)
    assert (regularised.reward, regularised.baseline, regularised.entropy) == (
        plain.reward,
        plain.baseline,
        plain.entropy,
    )


def test_gradient_by_hand() -> None:
    # With z = logit(yes) - logit(no): dKL/dz = p (1 - p) (logit(p) - logit(rho)).
    options = ALONE.model_copy(update={"tanh_constant": None, "skip_weight": 1.0})
    controller = with_logits(options, no=0.0, yes=1.5)
    controller.update(controller.propose(2), [1.0, 1.0])
    p = 1 / (1 + math.exp(-1.5))
    slope = p * (1 - p) * (1.5 - math.log(0.4 / 0.6))
    assert controller.policy.heads["bit"].bias.grad.tolist() == pytest.approx([-slope, slope], abs=1e-6)
    assert slope > 0  # descending lowers p, which is above rho


@pytest.mark.parametrize("target", [0.15, 0.4, 0.8])
@pytest.mark.parametrize("start", [-2.0, 2.0])
def test_alone_it_drives_the_sampled_probability_to_the_target(target: float, start: float) -> None:
    options = ALONE.model_copy(update={"skip_target": target, "temperature": 1.5, "learning_rate": 2e-2})
    controller = with_logits(options, no=0.0, yes=start, n_bits=3)
    for _ in range(150):
        report = controller.update(controller.propose(4), [0.0] * 4)
    assert bit_probabilities(controller) == pytest.approx([target] * 3, abs=0.02)
    assert report.loss == pytest.approx(0, abs=1e-3)
    drawn = controller.propose(1000)
    share = sum(option == "yes" for each in drawn for option in each.values()) / 3000
    assert share == pytest.approx(target, abs=0.04)


def test_it_holds_back_a_reward_that_asks_for_every_skip() -> None:
    def trained_share(target: float | None) -> float:
        options = LstmOptions(units=16, skip_target=target, skip_weight=8.0)
        controller = LstmController(bit_space(5), options, seed=0)
        for _ in range(60):
            proposals = controller.propose(10)
            controller.update(proposals, [float(list(each.values()).count("yes")) for each in proposals])
        return sum(list(each.values()).count("yes") for each in controller.propose(200)) / 1000

    assert trained_share(None) > 0.9
    assert 0.2 < trained_share(0.3) < 0.6


# Where it has no effect ----------------------------------------------------------------------------------------------


def test_it_is_off_by_default_and_its_weight_alone_changes_nothing() -> None:
    assert LstmOptions().skip_target is None
    default, weighted = (
        LstmController(bit_space(3), options, seed=3)
        for options in (LstmOptions(units=16), LstmOptions(units=16, skip_weight=5.0))
    )
    for controller in (default, weighted):
        proposals = controller.propose(4)
        controller.update(proposals, [1.0, 2.0, 4.0, 8.0])
    first, second = default.state()["weights"], weighted.state()["weights"]
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_has_no_effect_where_no_proposal_has_anything_to_skip() -> None:
    conv = Condition(((Literal("op", "conv"),),))
    space = SearchSpace(
        [Decision("op", ("conv", "pool"), "op", "a"), Decision("skip", ("no", "yes"), "bit", "a", conv)]
    )
    controller = LstmController(space, ALONE, seed=0)
    before = controller.log_prob([space.architecture({"op": "conv", "skip": "yes"})])
    assert controller.update([space.architecture({"op": "pool"})] * 2, [1.0, 1.0]).loss == 0
    assert torch.equal(controller.log_prob([space.architecture({"op": "conv", "skip": "yes"})]), before)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_a_space_in_which_nothing_can_be_skipped_is_refused(name: str) -> None:
    space = SPACES[name]
    if any(decision.role == "bit" for decision in space.decisions):
        LstmController(space, ALONE, seed=0)
        return
    with pytest.raises(SpaceError, match="skip_target is 0.4, but the space has no decision of role 'bit'"):
        LstmController(space, ALONE, seed=0)


@pytest.mark.parametrize(
    "options",
    [
        {"skip_target": 0.0},
        {"skip_target": 1.0},
        {"skip_target": math.nan},
        {"skip_weight": -0.1},
        {"skip_weight": True},
    ],
)
def test_options_refuse_what_has_no_meaning(options: Mapping[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LstmOptions.model_validate(options)
