"""The LSTM controller: each equation against hand-computed numbers, and whether it learns."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from typing import Literal as TypingLiteral
from typing import get_args

import pytest
import torch
from pydantic import ValidationError

from nasforge.controllers.base import Controller
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import CONTROLLERS, LstmOptions
from nasforge.controllers.walk import Walk
from nasforge.space.architecture import Architecture
from nasforge.space.decision import NEVER, Condition, Decision, Literal
from nasforge.space.search_space import SearchSpace
from nasforge.testing.controllers import SPACES, ControllerContract

PAPER = LstmOptions(
    learning_rate=3.5e-4,
    temperature=5,
    tanh_constant=2.5,
    entropy_weight=1e-4,
    update="reinforce_ema",
    normalize_advantage=False,
    positions=False,
    bias=False,
)
PLAIN = LstmOptions(
    units=8,
    tanh_constant=None,
    entropy_weight=0,
    normalize_advantage=False,
    positions=False,
    clip_norm=None,
    init_range=0.5,
)
OPS = ("tanh", "relu", "sigmoid", "identity")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class TestLstmContract(ControllerContract):
    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return LstmController(space, LstmOptions(units=16), seed=seed)


class TestPpoContract(ControllerContract):
    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return LstmController(space, LstmOptions(units=16, update="ppo"), seed=seed)


class TestPaperContract(ControllerContract):
    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return LstmController(space, PAPER.model_copy(update={"units": 16, "recency_prior": 1 / 6}), seed=seed)


Update = TypingLiteral["reinforce_ema", "reinforce_group", "rloo", "ppo"]
UPDATES: tuple[Update, ...] = get_args(Update)


def op_space(*options: str, decisions: int = 1) -> SearchSpace:
    return SearchSpace([Decision(f"node{n}.op", options, "op", f"node{n}") for n in range(decisions)])


def enas_space(nodes: int) -> SearchSpace:
    decisions = [Decision("node0.op", OPS, "op", "node0")]
    for node in range(1, nodes):
        name = f"node{node}"
        decisions.append(Decision(f"{name}.input", tuple(f"node{j}" for j in range(node)), "input", name))
        decisions.append(Decision(f"{name}.op", OPS, "op", name))
    return SearchSpace(decisions)


def everything(space: SearchSpace) -> list[Architecture]:
    """All architectures of a small space, by brute force over index vectors."""
    found: list[dict[str, str]] = [{}]
    for decision in space.decisions:
        found = [
            {**choices, decision.name: option} if decision.when.holds(choices) else choices
            for choices in found
            for option in (decision.options if decision.when.holds(choices) else decision.options[:1])
        ]
    return [space.architecture(choices) for choices in found]


def trained(controller: LstmController, updates: int = 5) -> LstmController:
    """Move the policy away from where it starts."""
    for _ in range(updates):
        proposals = controller.propose(6)
        controller.update(proposals, [int(each.digest[:4], 16) / 65536 for each in proposals])
    return controller


# Probabilities -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SPACES))
@pytest.mark.parametrize("options", [LstmOptions(units=16), PAPER, LstmOptions(units=16, recency_prior=1 / 6)])
def test_probabilities_of_all_architectures_sum_to_one(name: str, options: LstmOptions) -> None:
    space = SPACES[name]
    controller = trained(LstmController(space, options, seed=1))
    architectures = everything(space)
    assert len(architectures) == len(set(architectures)) == space.size
    assert controller.log_prob(architectures).double().exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", sorted(SPACES))
def test_log_prob_of_a_sample_is_the_sampled_one(name: str) -> None:
    controller = trained(LstmController(SPACES[name], LstmOptions(units=16), seed=2))
    architectures, sampled = controller.propose_with_log_prob(30)
    torch.testing.assert_close(controller.log_prob(architectures), sampled, atol=1e-5, rtol=0)
    alone = torch.cat([controller.log_prob([each]) for each in architectures])
    torch.testing.assert_close(alone, sampled, atol=1e-5, rtol=0)


def test_samples_follow_the_probabilities() -> None:
    space = SPACES["conditional"]
    controller = trained(LstmController(space, LstmOptions(units=16), seed=3), updates=20)
    architectures, draws = everything(space), 20_000
    probabilities = controller.log_prob(architectures).double().exp()
    drawn = controller.propose(draws)
    expected = probabilities * draws
    counted = torch.tensor([drawn.count(each) for each in architectures], dtype=torch.float64)
    # Chi-squared over classes that are expected often enough; the rest is one class.
    common = expected >= 5
    observed = torch.cat([counted[common], counted[~common].sum().reshape(1)])
    hoped = torch.cat([expected[common], expected[~common].sum().reshape(1)]).clamp(min=1e-9)
    freedom = int(common.sum())
    assert ((observed - hoped) ** 2 / hoped).sum().item() < freedom + 5 * math.sqrt(2 * freedom)


def test_absent_decisions_leave_the_others_as_if_they_were_not_there() -> None:
    first, last = Decision("a", ("p", "q"), "op", "a"), Decision("z", ("p", "q"), "op", "z")
    never_here = Condition(((Literal("a", "q"),),))
    optional = [Decision("b", ("p", "q"), "op", "b", never_here), Decision("c", ("a", "b"), "input", "c", never_here)]
    short = LstmController(SearchSpace([first, last]), PLAIN, seed=0)
    long = LstmController(SearchSpace([first, *optional, last]), PLAIN, seed=0)
    chosen = [{"a": "p", "z": "p"}, {"a": "p", "z": "q"}]
    torch.testing.assert_close(
        long.log_prob([long.space.architecture(each) for each in chosen]),
        short.log_prob([short.space.architecture(each) for each in chosen]),
    )
    entropy = long.entropy([long.space.architecture(chosen[0])])
    assert entropy[0, 1:3].tolist() == [0.0, 0.0]


def test_absent_decisions_leave_anchors_as_if_they_were_not_there() -> None:
    # a has a second decision that is absent, b has none that exists: a keeps its anchor, b has its learned one.
    only_q = Condition(((Literal("a", "q"),),))
    a, reads = Decision("a", ("p", "q"), "op", "a"), Decision("z", ("a", "b"), "input", "z")
    absent = [Decision("a2", ("p", "q"), "op", "a", only_q), Decision("b", ("p", "q"), "op", "b", only_q)]
    short = LstmController(SearchSpace([a, reads]), PLAIN, seed=0)
    long = LstmController(SearchSpace([a, *absent, reads]), PLAIN, seed=0)
    chosen = [{"a": "p", "z": "a"}, {"a": "p", "z": "b"}]
    torch.testing.assert_close(
        long.log_prob([long.space.architecture(each) for each in chosen]),
        short.log_prob([short.space.architecture(each) for each in chosen]),
    )


def test_a_decision_that_never_exists_may_come_first() -> None:
    space = SearchSpace([Decision("a", ("p", "q"), "op", "a", NEVER), Decision("b", ("p", "q"), "op", "b")])
    controller = LstmController(space, PLAIN, seed=0)
    assert {tuple(each) for each in controller.propose(10)} == {("b",)}


def test_a_decision_with_fewer_options_never_gets_the_others() -> None:
    space = SearchSpace(
        [
            Decision("a", ("p", "q", "r"), "op", "a"),
            Decision("b", ("r", "p"), "op", "b"),
            Decision("c", ("q",), "op", "c"),
        ]
    )
    controller = LstmController(space, PLAIN, seed=0)
    assert {each["b"] for each in controller.propose(200)} == {"r", "p"}
    assert controller.entropy(controller.propose(3))[:, 2].tolist() == [0.0] * 3
    # The head is shared: the rows r and p of the one output layer decide b.
    controller.policy.heads["op"].bias.data += torch.tensor([0.0, 0.0, 50.0])
    assert {(each["a"], each["b"]) for each in controller.propose(50)} == {("r", "r")}


def test_tanh_constant_bounds_the_ratio_of_probabilities() -> None:
    controller = LstmController(op_space("p", "q"), LstmOptions(units=8, tanh_constant=2.5), seed=0)
    controller.policy.heads["op"].bias.data.copy_(torch.tensor([1e4, -1e4]))
    p, q = controller.log_prob(everything(controller.space)).tolist()
    assert p - q == pytest.approx(5.0, abs=1e-5)


def test_temperature_divides_before_the_tanh() -> None:
    controller = LstmController(op_space("p", "q"), LstmOptions(units=8, temperature=4, tanh_constant=2), seed=0)
    head = controller.policy.heads["op"]
    head.weight.data.zero_()
    head.bias.data.copy_(torch.tensor([3.0, -1.0]))
    p, q = controller.log_prob(everything(controller.space)).tolist()
    assert p - q == pytest.approx(2 * math.tanh(3 / 4) - 2 * math.tanh(-1 / 4), abs=1e-5)


def test_settings_of_the_paper_start_near_uniform() -> None:
    space = enas_space(12)
    controller = LstmController(space, PAPER, seed=0)
    uniform = math.log(space.size)
    assert uniform == pytest.approx(12 * math.log(4) + math.lgamma(12))
    report = controller.update(controller.propose(20), [float(n) for n in range(20)])
    assert report.entropy == pytest.approx(uniform, abs=0.05)


def test_recency_prior_alone_is_the_closed_form() -> None:
    options = tuple(f"x{j}" for j in range(6))
    space = SearchSpace([Decision("node.input", options, "input", "node")])
    controller = LstmController(space, LstmOptions(units=8, recency_prior=1 / 6), seed=0)
    controller.policy.attention.vector.data.zero_()
    weights = [math.exp(-((6 - j) ** 2) / 6) for j in range(6)]
    expected = [weight / sum(weights) for weight in weights]
    assert controller.log_prob(everything(space)).exp().tolist() == pytest.approx(expected, abs=1e-6)
    # The design's closed form for distances 1, 2, 3, ...
    assert expected[::-1] == pytest.approx([0.507, 0.307, 0.134, 0.042, 0.009, 0.0015], abs=1e-3)


def test_recency_prior_leaves_other_roles_alone() -> None:
    with_prior = LstmController(op_space(*OPS), LstmOptions(units=8, recency_prior=1.0), seed=0)
    without = LstmController(op_space(*OPS), LstmOptions(units=8), seed=0)
    both = [each.log_prob(everything(each.space)) for each in (with_prior, without)]
    assert torch.equal(*both)


def test_attention_follows_the_equation_with_the_last_hidden_state_of_a_node_as_anchor() -> None:
    # node0 is read, decided on once more, and read again: its anchor moves in between.
    space = SearchSpace(
        [
            Decision("node0.op", ("p", "q"), "op", "node0"),
            Decision("node1.input", ("x", "node0"), "input", "node1"),
            Decision("node0.bit", ("off", "on"), "bit", "node0"),
            Decision("node2.input", ("x", "node0"), "input", "node2"),
            Decision("node2.op", ("p", "q"), "op", "node2"),
        ]
    )
    controller = LstmController(space, LstmOptions(units=8, init_range=0.5), seed=0)
    policy = controller.policy
    attention, op, bit = policy.attention, policy.heads["op"], policy.heads["bit"]

    def attend(anchor: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        return attention.vector @ torch.tanh(attention.anchor_weight @ anchor + attention.hidden_weight @ hidden)

    with torch.no_grad():
        x, e = policy.sources[0], policy.positions
        h0, c0 = policy.cell(policy.start[None] + e[0])
        h1, c1 = policy.cell(op.embedding[1][None] + e[1], (h0, c0))
        h2, c2 = policy.cell(h0 + e[2], (h1, c1))
        h3, c3 = policy.cell(bit.embedding[0][None] + e[3], (h2, c2))
        h4, _ = policy.cell(h2 + e[4], (h3, c3))
        taken = [
            (op.weight @ h0[0] + op.bias, 1),
            (torch.stack([attend(x, h1[0]), attend(h0[0], h1[0])]), 1),
            (bit.weight @ h2[0] + bit.bias, 0),
            (torch.stack([attend(x, h3[0]), attend(h2[0], h3[0])]), 1),
            (op.weight @ h4[0] + op.bias, 0),
        ]
        expected = sum(torch.log_softmax(2.5 * torch.tanh(logits), 0)[index] for logits, index in taken)
    chosen = ("q", "node0", "off", "node0", "p")
    architecture = space.architecture(dict(zip((each.name for each in space.decisions), chosen, strict=True)))
    torch.testing.assert_close(controller.log_prob([architecture])[0], expected)


def test_argmax_takes_the_most_probable_option_at_each_step() -> None:
    controller = trained(LstmController(enas_space(3), LstmOptions(units=16), seed=0), updates=30)
    chosen: dict[str, str] = {}
    for decision in controller.space.decisions:
        ways = [each for each in everything(controller.space) if all(each[name] == chosen[name] for name in chosen)]
        mass = controller.log_prob(ways).exp()
        totals = {
            option: sum(p.item() for p, each in zip(mass, ways, strict=True) if each[decision.name] == option)
            for option in decision.options
        }
        chosen[decision.name] = max(totals, key=totals.__getitem__)
    assert dict(controller.argmax()) == chosen


# Entropy -------------------------------------------------------------------------------------------------------------


def test_entropy_of_one_decision_is_the_enumeration() -> None:
    controller = trained(LstmController(op_space(*OPS), LstmOptions(units=16, learning_rate=1e-2), seed=0), updates=20)
    log_prob = controller.log_prob(everything(controller.space)).double()
    expected = -(log_prob.exp() * log_prob).sum().item()
    assert expected < math.log(4) - 0.01
    assert controller.entropy(controller.propose(1))[0, 0].item() == pytest.approx(expected, abs=1e-5)


def test_expected_entropy_of_two_decisions_is_the_entropy_of_the_architectures() -> None:
    controller = trained(LstmController(op_space("p", "q", "r", decisions=2), PLAIN, seed=0), updates=20)
    architectures = everything(controller.space)
    log_prob = controller.log_prob(architectures).double()
    joint = -(log_prob.exp() * log_prob).sum().item()
    along_paths = (log_prob.exp() * controller.entropy(architectures).double().sum(1)).sum().item()
    assert along_paths == pytest.approx(joint, abs=1e-5)


# REINFORCE -----------------------------------------------------------------------------------------------------------


def test_gradient_is_reinforce_by_hand() -> None:
    # With logits z, the loss -1/K sum A_k log p(a_k) - w H has
    # d/dz_j = -1/K sum A_k (1[a_k = j] - p_j) + w p_j (log p_j + H).
    options = PLAIN.model_copy(update={"entropy_weight": 0.3, "update": "reinforce_ema"})
    controller = LstmController(op_space("p", "q"), options, seed=0)
    left, right = everything(controller.space)
    p = controller.log_prob([left, right]).exp().tolist()
    entropy = -sum(each * math.log(each) for each in p)
    # Rewards 1, 2, 6 with mean 3 give advantages -2, -1, 3.
    report = controller.update([left, right, right], [1.0, 2.0, 6.0])
    policy_part = [-1 / 3 * (-2 * (1 - p[0]) + 2 * (0 - p[0])), -1 / 3 * (-2 * (0 - p[1]) + 2 * (1 - p[1]))]
    expected = [part + 0.3 * each * (math.log(each) + entropy) for part, each in zip(policy_part, p, strict=True)]
    assert controller.policy.heads["op"].bias.grad.tolist() == pytest.approx(expected, abs=1e-6)
    assert report.loss == pytest.approx(-1 / 3 * (-2 * math.log(p[0]) + 2 * math.log(p[1])) - 0.3 * entropy, abs=1e-6)
    assert report.entropy == pytest.approx(entropy, abs=1e-6)


def test_first_step_of_adam_moves_by_the_learning_rate_against_the_gradient() -> None:
    controller = LstmController(op_space("p", "q"), PLAIN, seed=0)
    before = controller.policy.heads["op"].bias.detach().clone()
    controller.update(everything(controller.space), [0.0, 1.0])
    moved = controller.policy.heads["op"].bias.detach() - before
    assert moved.tolist() == pytest.approx([-2e-3, 2e-3], abs=1e-6)


def test_gradient_is_clipped_to_the_norm() -> None:
    controller = LstmController(op_space("p", "q"), PLAIN.model_copy(update={"clip_norm": 0.25}), seed=0)
    controller.update(everything(controller.space), [0.0, 1e3])
    squares = sum(weight.grad.square().sum() for weight in controller.policy.parameters() if weight.grad is not None)
    assert math.sqrt(squares) == pytest.approx(0.25, rel=1e-4)


def test_moving_average_starts_at_the_first_mean_and_lags_one_update() -> None:
    options = PLAIN.model_copy(update={"update": "reinforce_ema", "baseline_decay": 0.9})
    controller = LstmController(op_space("p", "q"), options, seed=0)
    pair = everything(controller.space)
    used = [controller.update(pair, rewards).baseline for rewards in ([1.0, 3.0], [5.0, 7.0], [0.0, 0.0], [1.0, 1.0])]
    # b: 2; then 2 (before the update), .9 * 2 + .1 * 6 = 2.4, .9 * 2.4 + 0 = 2.16.
    assert used == pytest.approx([2.0, 2.0, 2.4, 2.16])
    assert controller.baseline == pytest.approx(0.9 * 2.16 + 0.1)


def test_moving_average_advantage_is_taken_from_before_the_update() -> None:
    options = PLAIN.model_copy(update={"update": "reinforce_ema"})
    controller = LstmController(op_space("p", "q"), options, seed=0)
    left, right = everything(controller.space)
    controller.update([left], [2.0])
    p = controller.log_prob([left, right]).exp().tolist()
    controller.update([left], [5.0])
    assert controller.policy.heads["op"].bias.grad.tolist() == pytest.approx([-3 * (1 - p[0]), 3 * p[1]], abs=1e-6)


def test_rloo_by_hand() -> None:
    controller = LstmController(op_space("p", "q", "r"), PLAIN, seed=0)
    architectures = everything(controller.space)
    p = controller.log_prob(architectures).exp().tolist()
    report = controller.update(architectures, [1.0, 2.0, 6.0])
    # Baselines 4, 3.5, 1.5: advantages -3, -1.5, 4.5, which add up to 0.
    assert report.baseline == pytest.approx(3.0)
    expected = [-advantage / 3 for advantage in (-3, -1.5, 4.5)]
    assert sum(p) == pytest.approx(1)
    assert controller.policy.heads["op"].bias.grad.tolist() == pytest.approx(expected, abs=1e-6)
    assert controller.baseline is None


@pytest.mark.parametrize("update", ["reinforce_group", "ppo"])
def test_the_mean_of_the_group_by_hand(update: Update) -> None:
    options = PLAIN.model_copy(update={"update": update, "ppo_epochs": 1})
    controller = LstmController(op_space("p", "q", "r"), options, seed=0)
    report = controller.update(everything(controller.space), [1.0, 2.0, 6.0])
    # The mean is 3: advantages -2, -1, 3, which add up to 0. At the start of PPO every ratio is 1.
    assert report.baseline == pytest.approx(3.0)
    expected = [-advantage / 3 for advantage in (-2, -1, 3)]
    assert controller.policy.heads["op"].bias.grad.tolist() == pytest.approx(expected, abs=1e-6)
    assert controller.baseline is None


def test_normalized_advantage_divides_by_the_deviation_of_the_group() -> None:
    controller = LstmController(op_space("p", "q"), PLAIN.model_copy(update={"normalize_advantage": True}), seed=0)
    controller.update(everything(controller.space), [10.0, 14.0])
    # Leave-one-out advantages -4 and 4, deviation 2: normalised -2 and 2, whatever p is because they add up to 0.
    assert controller.policy.heads["op"].bias.grad.tolist() == pytest.approx([1.0, -1.0], abs=1e-6)


@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1.0, 1e6, 1e200])
def test_normalized_update_does_not_depend_on_the_scale_of_the_reward(scale: float) -> None:
    reference, scaled = (LstmController(enas_space(3), LstmOptions(units=16), seed=0) for _ in range(2))
    proposals = reference.propose(5)
    rewards = [0.3, -1.0, 2.0, 0.5, 0.4]
    reference.update(proposals, rewards)
    scaled.update(proposals, [scale * reward for reward in rewards])
    torch.testing.assert_close(scaled.log_prob(proposals), reference.log_prob(proposals))


@pytest.mark.parametrize("reward", [0.1, -3.7, 1e-300, 1e300, 0.0])
@pytest.mark.parametrize("update", UPDATES)
def test_equal_rewards_move_nothing(reward: float, update: Update) -> None:
    options = LstmOptions(units=8, update=update, entropy_weight=0)
    controller = LstmController(op_space(*OPS, decisions=3), options, seed=0)
    proposals = controller.propose(3)
    before = controller.log_prob(proposals)
    assert controller.update(proposals, [reward] * 3).loss == 0
    assert torch.equal(controller.log_prob(proposals), before)


def test_rewards_that_differ_by_rounding_move_nothing() -> None:
    controller = LstmController(op_space(*OPS), LstmOptions(units=8, entropy_weight=0), seed=0)
    rewards = [0.3, 0.1 + 0.2, 0.3]
    assert len(set(rewards)) == 2
    assert controller.update(controller.propose(3), rewards).loss == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (LstmOptions(normalize_advantage=False), "'rloo' needs at least two proposals"),
        (LstmOptions(update="reinforce_group"), "'reinforce_group' needs at least two proposals"),
        (LstmOptions(update="ppo"), "'ppo' needs at least two proposals"),
        (LstmOptions(update="reinforce_ema"), "normalize_advantage needs at least two proposals"),
    ],
)
def test_one_proposal_is_refused_where_two_are_needed(options: LstmOptions, message: str) -> None:
    controller = LstmController(op_space(*OPS), options, seed=0)
    with pytest.raises(ValueError, match=message):
        controller.update(controller.propose(1), [1.0])
    assert controller.baseline is None


def test_one_proposal_is_enough_for_the_paper() -> None:
    controller = LstmController(op_space(*OPS), PAPER, seed=0)
    assert controller.update(controller.propose(1), [1.0]).baseline == 1.0


def test_gradient_that_is_not_finite_never_reaches_the_weights() -> None:
    options = PLAIN.model_copy(update={"update": "reinforce_ema"})
    controller = LstmController(enas_space(3), options, seed=0)
    proposals = controller.propose(4)
    controller.update(proposals, [1.0, 2.0, 3.0, 4.0])
    before = controller.state()
    # Finite as double precision, beyond single precision as an advantage.
    report = controller.update(proposals, [1e200, 2e200, 3e200, -4e200])
    after = controller.state()
    assert all(math.isfinite(each) for each in (report.reward, report.baseline, report.entropy, report.loss))
    assert controller.skipped_updates == after["skipped_updates"] == 1
    for name, weight in before["weights"].items():
        assert torch.equal(after["weights"][name], weight)
        for moment, value in before["adam"].get(name, {}).items():
            assert torch.equal(after["adam"][name][moment], value)


# PPO -----------------------------------------------------------------------------------------------------------------


def test_the_first_step_of_ppo_is_that_of_reinforce_group_and_the_next_are_not() -> None:
    one, group = (
        LstmController(enas_space(4), LstmOptions(units=16, update=update, ppo_epochs=epochs), seed=0)
        for update, epochs in (("ppo", 1), ("reinforce_group", None))
    )
    four = LstmController(enas_space(4), LstmOptions(units=16, update="ppo"), seed=0)
    proposals = one.propose(6)
    for controller in (one, group, four):
        controller.update(proposals, [1.0, 0.0, 3.0, 2.0, -1.0, 0.5])
    for name, weight in one.policy.named_parameters():
        torch.testing.assert_close(weight.grad, group.policy.get_parameter(name).grad, rtol=1e-5, atol=1e-7)
    assert _steps(one) == _steps(group) == 1
    assert _steps(four) == 4


def _steps(controller: LstmController) -> int:
    (steps,) = {int(moments["step"]) for moments in controller.state()["adam"].values()}
    return steps


def test_the_surrogate_and_its_gradient_by_hand() -> None:
    ratio = [0.5, 0.9, 1.5, 0.5, 1.1, 1.5]
    advantages = torch.tensor([2.0, 2.0, 2.0, -2.0, -2.0, -2.0])
    log_p = torch.tensor(ratio).log().unsqueeze(1).requires_grad_()
    walk = Walk(torch.zeros(6, 1, dtype=torch.int64), log_p.unsqueeze(2))
    gain = walk.surrogate(torch.zeros(6), advantages, 0.2)
    gain.sum().backward()
    assert gain.tolist() == pytest.approx([1.0, 1.8, 2.4, -1.6, -2.2, -3.0])
    # r A where the ratio may still move towards the reward, 0 where it has gone far enough.
    assert log_p.grad is not None
    assert log_p.grad.squeeze(1).tolist() == pytest.approx([1.0, 1.8, 0.0, 0.0, -2.2, -3.0])


def test_the_clip_stops_an_update_of_many_steps() -> None:
    def ratio(clip: float) -> float:
        options = PLAIN.model_copy(update={"update": "ppo", "ppo_epochs": 300, "clip": clip, "units": 4})
        controller = LstmController(op_space("p", "q"), options, seed=0)
        pair = everything(controller.space)
        before = controller.log_prob(pair)
        controller.update(pair, [0.0, 1.0])
        return (controller.log_prob(pair) - before).exp()[1].item()

    # Momentum carries it a little further than the clip.
    assert 1.1 < ratio(0.1) < 1.2
    assert 1.2 < ratio(0.2) < 1.35
    assert ratio(0.9) > 1.9  # of a probability that was one half: nothing held it


# Learning ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bandit_learns_which_operation_is_rewarded(seed: int, update: Update) -> None:
    controller = LstmController(op_space(*OPS, decisions=5), LstmOptions(update=update), seed=seed)

    def share(proposals: list[Architecture]) -> float:
        return sum(list(each.values()).count("tanh") for each in proposals) / (5 * len(proposals))

    assert share(controller.propose(200)) < 0.4
    for _ in range(60):
        proposals = controller.propose(10)
        controller.update(proposals, [float(list(each.values()).count("tanh")) for each in proposals])
    assert share(controller.propose(200)) > 0.75
    assert set(controller.argmax().values()) == {"tanh"}


@pytest.mark.parametrize("seed", [0, 1])
def test_later_decisions_learn_to_depend_on_earlier_ones(seed: int) -> None:
    # Each marginal alone says nothing: without memory no policy is better than its most frequent option.
    space = op_space(*OPS, decisions=2)
    controller = LstmController(space, seed=seed)

    def matches(proposals: list[Architecture]) -> list[float]:
        return [float(each["node0.op"] == each["node1.op"]) for each in proposals]

    assert sum(matches(controller.propose(400))) / 400 < 0.4
    for _ in range(250):
        proposals = controller.propose(10)
        controller.update(proposals, matches(proposals))
    assert sum(matches(controller.propose(400))) / 400 > 0.8
    firsts = {each["node0.op"] for each in controller.propose(400)}
    assert len(firsts) >= 2


def test_inputs_are_learned_through_the_attention() -> None:
    space = enas_space(6)
    controller = LstmController(space, seed=0)

    def chained(proposals: list[Architecture]) -> list[float]:
        return [sum(each[f"node{n}.input"] == f"node{n - 1}" for n in range(1, 6)) / 5 for each in proposals]

    before = sum(chained(controller.propose(100))) / 100
    for _ in range(60):
        proposals = controller.propose(10)
        controller.update(proposals, chained(proposals))
    assert sum(chained(controller.propose(100))) / 100 > before + 0.25


def test_entropy_weight_alone_drives_the_policy_to_uniform() -> None:
    controller = LstmController(op_space(*OPS, decisions=2), PLAIN.model_copy(update={"entropy_weight": 1.0}), seed=0)
    for _ in range(100):
        report = controller.update(controller.propose(4), [0.0] * 4)
    assert report.entropy == pytest.approx(2 * math.log(4), abs=1e-2)


def test_a_group_of_twenty_works_on_the_space_of_the_paper() -> None:
    space = enas_space(12)
    assert len(space) == 23
    controller = LstmController(space, LstmOptions(recency_prior=1 / 6), seed=0)
    for _ in range(3):
        proposals = controller.propose(20)
        assert len(set(proposals)) == 20
        controller.update(proposals, [random.Random(each.digest).random() for each in proposals])


# State and randomness ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("update", UPDATES)
def test_resume_is_bit_for_bit(update: Update) -> None:
    options = LstmOptions(update=update)
    controller = trained(LstmController(enas_space(4), options, seed=0))
    resumed = LstmController(enas_space(4), options, seed=0)
    resumed.load_state(controller.state())
    for each in (controller, resumed):
        trained(each, updates=3)
    assert controller.propose(10) == resumed.propose(10)
    assert controller.baseline == resumed.baseline
    for mine, other in zip(controller.policy.parameters(), resumed.policy.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("name", SPACES)
def test_the_sampled_walk_learns_what_a_teacher_forced_one_learns(name: str) -> None:
    """Equal proposals that are other objects are walked again: both controllers must stay equal to the bit."""
    space = SPACES[name]
    one, other = (LstmController(space, LstmOptions(units=16), seed=4) for _ in range(2))
    for step in range(4):
        rewards = [float((7 * index + step) % 5) for index in range(6)]
        proposals, again = one.propose(6), other.propose(6)
        copies = [space.architecture(dict(each)) for each in again]
        assert proposals == copies
        assert one.update(proposals, rewards) == other.update(copies, rewards)
    assert all(torch.equal(a, b) for a, b in zip(one.policy.parameters(), other.policy.parameters(), strict=True))


def test_proposals_that_were_put_into_another_order_keep_their_rewards() -> None:
    one, other = (LstmController(enas_space(4), LstmOptions(units=16), seed=4) for _ in range(2))
    proposals, again = one.propose(4), other.propose(4)
    proposals.reverse()
    one.update(proposals, [3.0, 2.0, 1.0, 0.0])
    other.update(again, [0.0, 1.0, 2.0, 3.0])
    for mine, theirs in zip(one.policy.parameters(), other.policy.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_sampled_walk_is_good_for_one_update_of_just_these_proposals() -> None:
    controller = LstmController(enas_space(4), LstmOptions(units=16), seed=4)
    first = controller.propose(6)
    rewards = [1.0, 0.0, 2.0, 0.0, 0.0, 1.0]
    controller.update(first, rewards)
    before = [p.detach().clone() for p in controller.policy.parameters()]
    controller.update(first, rewards)
    second = controller.propose(6)
    controller.update(second[:3], rewards[:3])
    controller.propose(6)
    controller.update(second, rewards)
    assert not any(torch.equal(a, b) for a, b in zip(before, controller.policy.parameters(), strict=True))


def test_weights_start_within_the_range_and_from_the_seed_alone() -> None:
    torch.manual_seed(0)
    first = LstmController(enas_space(4), LstmOptions(init_range=0.02), seed=7)
    torch.manual_seed(1)
    second = LstmController(enas_space(4), LstmOptions(init_range=0.02), seed=7)
    for (name, mine), other in zip(first.policy.named_parameters(), second.policy.parameters(), strict=True):
        assert torch.equal(mine, other), name
        assert mine.abs().max() <= 0.02
        assert mine.numel() < 4 or mine.std() > 0.002


def test_two_controllers_do_not_disturb_one_another() -> None:
    alone = trained(LstmController(enas_space(3), seed=0)).propose(10)
    first, second = LstmController(enas_space(3), seed=0), LstmController(enas_space(3), seed=1)
    for _ in range(5):
        trained(first, updates=1)
        trained(second, updates=1)
    assert first.propose(10) == alone


def test_positions_tell_decisions_apart_that_nothing_else_does() -> None:
    """Some bits of a row: without positions the policy can only count, and half of them is as far as it gets."""

    def learned(positions: bool) -> float:
        bits = [Decision(f"layer{n}.skip", ("no", "yes"), "bit", f"layer{n}") for n in range(8)]
        controller = LstmController(SearchSpace(bits), LstmOptions(positions=positions), seed=0)
        wanted = ["no", "no", "yes", "no", "yes", "yes", "no", "yes"]
        right: list[float] = []
        for _ in range(80):
            proposals = controller.propose(10)
            rewards = [sum(a == b for a, b in zip(each.values(), wanted, strict=True)) / 8 for each in proposals]
            controller.update(proposals, rewards)
            right += rewards
        return sum(right[-200:]) / 200

    assert learned(True) > 0.9
    assert learned(False) < 0.8


def test_without_bias_there_is_none() -> None:
    controller = LstmController(enas_space(3), LstmOptions(bias=False), seed=0)
    assert not [name for name, _ in controller.policy.named_parameters() if "bias" in name]


# Options -------------------------------------------------------------------------------------------------------------


def test_options_take_integers_for_floats() -> None:
    options = LstmOptions.model_validate({"kind": "lstm", "temperature": 5, "tanh_constant": None, "entropy_weight": 0})
    assert (options.temperature, options.tanh_constant, options.entropy_weight) == (5.0, None, 0.0)
    assert isinstance(options.temperature, float)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *itertools.product(
            ("learning_rate", "temperature", "tanh_constant", "entropy_weight", "baseline_decay", "clip_norm"),
            (True, "1", math.nan, math.inf, -1.0),
        ),
        *(
            ("baseline_decay", 1.0),
            ("learning_rate", 0),
            ("units", 0),
            ("units", 1.5),
            ("bias", 1),
            ("update", "reinforce"),
        ),
    ],
)
def test_options_refuse_what_has_no_meaning(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        LstmOptions.model_validate({field: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 0.1}, "`clip` means nothing for `update: rloo`"),
        ({"update": "reinforce_ema", "ppo_epochs": 2}, "`ppo_epochs` means nothing for `update: reinforce_ema`"),
        ({"update": "ppo", "baseline_decay": 0.9}, "`baseline_decay` means nothing for `update: ppo`"),
    ],
)
def test_options_of_another_update_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LstmOptions.model_validate(options)


def test_the_smallest_group_of_each_update() -> None:
    kind = next(kind for kind in CONTROLLERS if kind.name == "lstm")
    needed = {update: kind.smallest_group(LstmOptions(update=update)) for update in UPDATES}
    assert needed == dict.fromkeys(UPDATES, 2)
    plain = {update: kind.smallest_group(LstmOptions(update=update, normalize_advantage=False)) for update in UPDATES}
    assert plain == {"reinforce_ema": 1, "reinforce_group": 2, "rloo": 2, "ppo": 2}


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError, match="tanh_const"):
        LstmOptions.model_validate({"tanh_const": 2.5})


def mixed_space() -> SearchSpace:
    """Two roles in turns, options in other orders, and decisions of fewer options: all exist always."""
    decisions = []
    for n in range(4):
        decisions.append(Decision(f"layer{n}.op", OPS if n % 2 else (OPS[2], OPS[0], OPS[3]), "op", f"layer{n}"))
        decisions += [Decision(f"layer{n}.skip{k}", ("0", "1"), "bit", f"layer{n}") for k in range(n)]
    return SearchSpace(decisions)


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tanh_constant", [2.5, None])
def test_given_choices_of_a_plain_space_are_walked_at_once_as_one_after_the_other(
    positions: bool, bias: bool, tanh_constant: float | None
) -> None:
    options = LstmOptions(
        units=8, positions=positions, bias=bias, tanh_constant=tanh_constant, temperature=1.5, init_range=0.5
    )
    space = mixed_space()
    controller = LstmController(space, options, seed=3)
    assert controller.policy.plain
    for count in (1, 5):
        given = torch.tensor([space.encode(m) for m in controller.propose(count)])
        at_once = controller.policy.forced(given)
        one_by_one = controller.policy(count, lambda position, logits, given=given: given[:, position])
        assert torch.equal(at_once.indices, one_by_one.indices)
        torch.testing.assert_close(at_once.log_probabilities, one_by_one.log_probabilities, rtol=1e-5, atol=1e-6)
        weights, gradients = torch.arange(1.0, count + 1), []
        for walk in (at_once, one_by_one):
            loss = (weights * walk.log_prob()).sum() + walk.entropy().sum()
            gradients.append(torch.autograd.grad(loss, list(controller.policy.parameters())))
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_spaces_with_inputs_or_conditions_are_not_plain() -> None:
    assert not LstmController(enas_space(3), LstmOptions(units=8), seed=0).policy.plain
    first = Decision("a", ("0", "1"), "op", "a")
    second = Decision("b", ("0", "1"), "op", "b", Condition(((Literal("a", "1"),),)))
    assert not LstmController(SearchSpace([first, second]), LstmOptions(units=8), seed=0).policy.plain
    assert LstmController(SearchSpace([first]), LstmOptions(units=8), seed=0).policy.plain


def test_a_report_says_the_entropy_of_every_decision() -> None:
    controller = LstmController(enas_space(3), LstmOptions(units=8, init_range=0.5), seed=0)
    proposals = controller.propose(6)
    expected = controller.entropy(proposals).mean(0)
    report = controller.update(proposals, [float(n) for n in range(6)])
    assert list(report.entropies) == [decision.name for decision in controller.space.decisions]
    torch.testing.assert_close(torch.tensor(list(report.entropies.values())), expected)
    assert report.entropy == pytest.approx(sum(report.entropies.values()), rel=1e-5)
