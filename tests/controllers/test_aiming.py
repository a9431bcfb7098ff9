"""Several objectives: vectors for those who take them, one number for all others; exact states; NSGA-II's survivors."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from helpers import cell

from nasforge.controllers.aiming import AimingController, simplex
from nasforge.controllers.base import Controller
from nasforge.controllers.evolution import EvolutionController
from nasforge.controllers.limited import within_limits
from nasforge.controllers.local_search import LocalSearchController
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import EvolutionOptions, LstmOptions
from nasforge.controllers.pareto import front
from nasforge.controllers.random import RandomController
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.testing.controllers import SPACES, ControllerContract

SPACE = cell(4, ops=("tanh", "relu")).space
ALL = SPACE.everything()


def cost(architecture: Architecture) -> tuple[float, ...]:
    return (-float(list(architecture.values()).count("relu")),)


class TestAimingAtVectorsContract(ControllerContract):
    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return AimingController(EvolutionController(space, EvolutionOptions(population=6, sample=3), seed=seed), cost)


class TestAimingAtNumbersContract(ControllerContract):
    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return AimingController(LocalSearchController(space, seed=seed), cost)


def test_the_contracts_are_asked_of_every_space() -> None:
    assert len(SPACES) == 4


def told(inner: Controller, groups: Sequence[tuple[Sequence[Architecture], Sequence[float]]]) -> list[list[float]]:
    """The rewards that a controller which takes numbers was told."""
    seen: list[list[float]] = []
    update = inner.update
    inner.update = lambda p, r: (seen.append(list(r)), update(p, r))[1]  # type: ignore[method-assign]
    aiming = AimingController(inner, cost)
    for proposals, rewards in groups:
        aiming.update(proposals, rewards)
    return seen


def test_numbers_are_augmented_chebyshev_over_the_ranges_so_far() -> None:
    few, many = ALL[0], ALL[-1]
    assert cost(few) == (0.0,) and cost(many) == (-4.0,)
    # Equal weights: local search compares rewards of different groups.
    first, second = told(LocalSearchController(SPACE, seed=0), [([few, many], [1.0, 3.0]), ([many], [2.0])])
    assert first == [pytest.approx(-(0.5 + 0.05 * 0.5))] * 2
    assert second == [pytest.approx(-(0.5 + 0.05 * (0.5 + 0.5 * 0.5)))]


def test_weights_are_drawn_anew_for_each_group_where_nothing_is_remembered() -> None:
    few, many = ALL[0], ALL[-1]
    groups = [([few, many], [1.0, 3.0])] * 3
    seen = told(RandomController(SPACE, seed=5), groups)
    expected = []
    for number in range(3):
        w = simplex(2, stream(5, "objectives", number))
        expected.append([pytest.approx(-1.05 * w[0]), pytest.approx(-1.05 * w[1])])
    assert seen == expected and len({str(each) for each in seen}) == 3
    assert seen == told(RandomController(SPACE, seed=5), groups)


def test_who_remembers_is_known_through_every_wrapper() -> None:
    lstm = LstmController(SPACE, LstmOptions(units=8), seed=0)
    moving = LstmController(SPACE, LstmOptions(units=8, update="reinforce_ema"), seed=0)
    for inner, remembers in ((lstm, False), (moving, True), (LocalSearchController(SPACE, seed=0), True)):
        assert within_limits(AimingController(inner, cost)).remembers is remembers


def test_the_simplex_is_covered_evenly() -> None:
    rng = stream(0, "x")
    drawn = [simplex(3, rng) for _ in range(3000)]
    assert all(sum(each) == pytest.approx(1) and min(each) >= 0 for each in drawn)
    for part in zip(*drawn, strict=True):
        # The marginal density is 2 (1 - w).
        assert sum(part) / 3000 == pytest.approx(1 / 3, abs=0.02)
        assert sum(w < 0.5 for w in part) / 3000 == pytest.approx(0.75, abs=0.03)


def test_evolution_keeps_the_best_fronts_however_old_they_are() -> None:
    controller = EvolutionController(SPACE, EvolutionOptions(population=3, sample=2), seed=0)
    controller.update_on(ALL[:3], [(1.0, 5.0), (5.0, 1.0), (0.0, 0.0)])
    controller.update_on(ALL[3:4], [(3.0, 3.0)])
    left = [(member["reward"], *member["others"]) for member in controller.state()["members"]]
    assert left == [(1.0, 5.0), (5.0, 1.0), (3.0, 3.0)]
    # Four of one front: the most crowded goes.
    controller.update_on(ALL[4:5], [(2.9, 3.2)])
    left = [(member["reward"], *member["others"]) for member in controller.state()["members"]]
    assert len(left) == 3 and {(1.0, 5.0), (5.0, 1.0)} < set(left)


def test_a_parent_of_vectors_is_on_the_better_front() -> None:
    controller = EvolutionController(SPACE, EvolutionOptions(population=2, sample=64), seed=0)
    controller.update_on([ALL[0], ALL[-1]], [(1.0, 1.0), (2.0, 2.0)])
    for child in controller.propose(100):
        assert sum(child.get(name) != option for name, option in ALL[-1].items()) == 1


def test_vectors_of_other_lengths_are_refused() -> None:
    controller = EvolutionController(SPACE, seed=0)
    controller.update_on(ALL[:1], [(1.0, 2.0)])
    with pytest.raises(ValueError, match="vectors of one length"):
        controller.update(ALL[:1], [1.0])
    with pytest.raises(ValueError, match="finite"):
        controller.update_on(ALL[:1], [(1.0, float("nan"))])


def test_evolution_finds_a_front_that_rewards_alone_do_not() -> None:
    space = cell(8).space

    def reward(architecture: Architecture) -> float:
        return float(sum(option in ("relu", "tanh") for option in architecture.values()))

    def price(architecture: Architecture) -> tuple[float, ...]:
        return (-float(sum(3 if option == "relu" else option == "tanh" for option in architecture.values())),)

    fronts = {}
    for aims in (True, False):
        inner: Controller = EvolutionController(space, seed=0)
        controller = AimingController(inner, price) if aims else inner
        scored = []
        for _ in range(400):
            proposals = controller.propose(1)
            controller.update(proposals, [reward(proposals[0])])
            scored.append((reward(proposals[0]), *price(proposals[0])))
        fronts[aims] = {scored[place] for place in front(scored)}
    # The whole front: n cheap operations for n points.
    assert fronts[True] == {(float(n), -float(n)) for n in range(9)}
    assert fronts[False] != fronts[True]
