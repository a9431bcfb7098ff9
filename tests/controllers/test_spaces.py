"""The LSTM controller on the decision lists of real spaces: every role, and as many decisions as the paper's networks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
import torch

from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import LstmOptions
from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.spec.run_spec import load_space_spec

ROOT = Path(__file__).parents[2]
SHIPPED = ("cifar10_micro", "cifar10_macro", "digits_cell", "digits_macro", "rnn_small", "ptb_rnn")

NUMBERS = """
nasforge: 1
name: numbers
space:
  kind: macro_network
  image: [1, 8, 8]
  layers: {choose: 1, from: [2, 3]}
  each:
    op: {choose: 1, from: [conv: {kernel: {choose: 1, from: [1, 3, 5]}}, avg_pool: {kernel: 3}]}
    skips: {choose: any, from: previous}
  channels: {choose: 1, from: [4, 8]}
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def shipped(name: str) -> SearchSpace:
    return _compiled(ROOT / "spaces" / f"{name}.yaml")


def _compiled(path: Path) -> SearchSpace:
    plugins = build_plugins()
    return compile_space(load_space_spec(path, plugins), "search", plugins.catalogue.operations).space


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> SearchSpace:
    """A space with searched numbers, which belong to one of the options of an operation."""
    path = tmp_path_factory.mktemp("numbers") / "space.yaml"
    path.write_text(NUMBERS, encoding="utf-8")
    return _compiled(path)


def rewards_of(proposals: list[Architecture]) -> list[float]:
    return [int(each.digest[:4], 16) / 65536 for each in proposals]


# What the lists are --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("cifar10_micro", {"input": 20, "op": 20}),
        ("cifar10_macro", {"op": 12, "bit": 66}),
        ("digits_cell", {"input": 12, "op": 12}),
        ("digits_macro", {"size": 1, "op": 6, "bit": 15}),
        ("rnn_small", {"size": 1, "op": 8, "input": 7}),
    ],
)
def test_roles_of_the_shipped_spaces(name: str, roles: Mapping[str, int]) -> None:
    assert Counter(decision.role for decision in shipped(name).decisions) == roles


def test_numbers_are_decided_too(numbers: SearchSpace) -> None:
    assert {decision.role for decision in numbers.decisions} == {"size", "op", "number", "bit"}
    controller = LstmController(numbers, LstmOptions(units=16), seed=0)
    for _ in range(3):
        proposals = controller.propose(10)
        controller.update(proposals, rewards_of(proposals))
    proposals, sampled = controller.propose_with_log_prob(20)
    torch.testing.assert_close(controller.log_prob(proposals), sampled, atol=1e-5, rtol=0)
    kernels = [name for name in names(numbers, "number") if "kernel" in name]
    chosen = _all_choices(controller.propose(200))
    assert kernels
    assert all({option for other, option in chosen if other == name} == {"1", "3", "5"} for name in kernels)


def names(space: SearchSpace, role: str) -> list[str]:
    return [decision.name for decision in space.decisions if decision.role == role]


def _all_choices(proposals: list[Architecture]) -> list[tuple[str, str]]:
    return [pair for each in proposals for pair in each.items()]


# On every list -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_proposals_are_of_the_space_and_their_probability_is_the_sampled_one(name: str) -> None:
    space = shipped(name)
    controller = LstmController(space, seed=0)
    proposals, sampled = controller.propose_with_log_prob(10)
    assert len(set(proposals)) == 10
    assert [space.architecture(each) for each in proposals] == proposals
    torch.testing.assert_close(controller.log_prob(proposals), sampled, atol=1e-4, rtol=0)
    assert space.architecture(controller.argmax()) == controller.argmax()


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_decision_starts_near_uniform(name: str, seed: int) -> None:
    def farthest(options: LstmOptions) -> float:
        """The largest and smallest probability of an option, as factors of the uniform one: the log of the farther."""
        controller = LstmController(shipped(name), options, seed=seed)
        walk = controller._forced(controller.propose(20))
        found = 0.0
        for place, decision in enumerate(controller.space.decisions):
            n_options = len(decision.options)
            there = walk.log_probabilities[walk.indices[:, place] >= 0, place, :n_options]
            found = max(found, *(abs(each + math.log(n_options)) for each in there.flatten().tolist()), 0.0)
        return found

    assert farthest(LstmOptions()) < math.log(1.6)
    assert farthest(LstmOptions(temperature=5)) < math.log(1.12)


@pytest.mark.parametrize(
    ("name", "log_size"), [("cifar10_micro", 58.506), ("cifar10_macro", 67.249), ("digits_cell", 32.025)]
)
def test_entropy_starts_near_the_logarithm_of_the_size(name: str, log_size: float) -> None:
    assert math.log(shipped(name).size) == pytest.approx(log_size, abs=1e-3)
    controller = LstmController(shipped(name), seed=0)
    report = controller.update(controller.propose(10), [float(n) for n in range(10)])
    assert log_size - 0.5 < report.entropy <= log_size + 1e-3


@pytest.mark.parametrize("name", SHIPPED)
def test_an_update_raises_the_probability_of_what_was_rewarded(name: str) -> None:
    controller = LstmController(shipped(name), LstmOptions(entropy_weight=0), seed=0)
    best, *others = controller.propose(5)
    before = controller.log_prob([best])
    controller.update([best, *others], [1.0, 0.0, 0.0, 0.0, 0.0])
    assert (controller.log_prob([best]) > before).all()
    idle = {"rnn_small": ["sources"]}  # nodes that are read only where they exist: their learned anchors never are
    weights = dict(controller.policy.named_parameters())
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in weights.values())
    assert [each for each, weight in weights.items() if not weight.grad.abs().sum() > 0] == idle.get(name, [])


@pytest.mark.parametrize("name", ["cifar10_micro", "cifar10_macro", "digits_macro"])
def test_a_resumed_controller_goes_on_exactly(name: str) -> None:
    target = None if name == "cifar10_micro" else 0.4
    options = LstmOptions(units=16, skip_target=target)
    first = LstmController(shipped(name), options, seed=0)
    for _ in range(2):
        proposals = first.propose(4)
        first.update(proposals, rewards_of(proposals))
    second = LstmController(shipped(name), options, seed=0)
    second.load_state(first.state())
    for _ in range(2):
        proposals = first.propose(4)
        assert second.propose(4) == proposals
        assert second.update(proposals, rewards_of(proposals)) == first.update(proposals, rewards_of(proposals))
    weights = second.state()["weights"]
    assert all(torch.equal(value, weights[name]) for name, value in first.state()["weights"].items())


# Inputs without decisions of their own -------------------------------------------------------------------------------


def test_inputs_of_cells_have_learned_anchors_of_their_own() -> None:
    controller = LstmController(shipped("cifar10_micro"), seed=0)
    inputs = {f"{cell}.in{n}" for cell in ("normal", "reduction") for n in (0, 1)}
    assert controller.policy.sources.shape == (4, 100)
    assert len({tuple(row) for row in controller.policy.sources.tolist()}) == 4
    proposals = controller.propose(10)
    controller.update(proposals, rewards_of(proposals))
    assert (controller.policy.sources.grad.abs().sum(1) > 0).all()
    assert inputs <= {option for _, option in _all_choices(controller.propose(50))}


def test_macro_networks_have_no_inputs_to_choose_from() -> None:
    weights = [name for name, _ in LstmController(shipped("cifar10_macro"), seed=0).policy.named_parameters()]
    assert not [name for name in weights if name.startswith(("attention", "sources"))]


# Learning ------------------------------------------------------------------------------------------------------------

Right = Callable[[str, str], bool]


def share_right(proposals: list[Architecture], among: str, right: Right) -> list[float]:
    """For each proposal the share of its choices, among those whose name holds `among`, that are right."""
    found = []
    for each in proposals:
        judged = [right(name, option) for name, option in each.items() if among in name]
        found.append(sum(judged) / len(judged))
    return found


def learned(space: SearchSpace, among: str, right: Right, updates: int) -> tuple[float, float]:
    """The mean share before and after `updates` with groups of 10; the entropy is not what holds it back."""
    controller = LstmController(space, LstmOptions(entropy_weight=3e-2), seed=0)
    before = sum(share_right(controller.propose(50), among, right)) / 50
    for _ in range(updates):
        proposals = controller.propose(10)
        controller.update(proposals, share_right(proposals, among, right))
    return before, sum(share_right(controller.propose(50), among, right)) / 50


def _every_skip(name: str, option: str) -> bool:
    return option == "yes"


def _skips_from_the_stem_only(name: str, option: str) -> bool:
    return (option == "yes") == name.endswith(".stem")


@pytest.mark.parametrize(
    ("right", "updates", "least"), [(_every_skip, 60, 0.95), (_skips_from_the_stem_only, 120, 0.95)]
)
def test_skip_connections_are_learned(right: Right, updates: int, least: float) -> None:
    before, after = learned(shipped("cifar10_macro"), ".skip.", right, updates)
    assert before == pytest.approx(0.5, abs=0.05)
    assert after > least


def _another_input_in_each_cell(name: str, option: str) -> bool:
    return option == ("normal.in0" if name.startswith("normal") else "reduction.in1")


def _the_newest_node(name: str, option: str) -> bool:
    cell, node, _ = name.split(".")
    number = int(node.removeprefix("node"))
    return option == (f"{cell}.in1" if number == 2 else f"{cell}.node{number - 1}")


@pytest.mark.parametrize(
    ("right", "updates", "least"), [(_another_input_in_each_cell, 80, 0.9), (_the_newest_node, 120, 0.8)]
)
def test_inputs_of_nodes_are_learned(right: Right, updates: int, least: float) -> None:
    before, after = learned(shipped("cifar10_micro"), ".input", right, updates)
    assert before < 0.4
    assert after > least


def test_the_number_of_layers_is_learned() -> None:
    before, after = learned(shipped("digits_macro"), "layers", lambda name, option: option == "3", 60)
    assert before < 0.5
    assert after > 0.85
