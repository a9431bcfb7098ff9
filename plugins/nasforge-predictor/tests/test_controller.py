"""What the predictor proposes: what it learns from, what it avoids, limits, spaces of every kind, exact states."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from nasforge_predictor.controller import PredictorController
from nasforge_predictor.declarations import PredictorOptions

from nasforge.plugins import build_plugins
from nasforge.run.compile import compile_space
from nasforge.space.architecture import Architecture
from nasforge.space.decision import Condition, Decision, Literal
from nasforge.space.search_space import SearchSpace
from nasforge.spec.run_spec import load_space_spec

ROOT = Path(__file__).parents[3]
LAYERS = SearchSpace([Decision(f"layer{n}", ("0", "1", "2"), "op", f"layer{n}") for n in range(6)])


def worth(architecture: Mapping[str, str]) -> float:
    """The options of the first and the last layer matter together, the others alone; 9 at best, by one architecture."""
    together = 4.0 * (architecture["layer0"] == "1" and architecture["layer5"] == "0") - (architecture["layer0"] == "1")
    return together + sum(int(architecture[f"layer{n}"]) for n in range(1, 5)) * 0.75


def search(controller: PredictorController, groups: int, *, group: int = 1) -> list[Architecture]:
    asked: list[Architecture] = []
    for _ in range(groups):
        proposals = controller.propose(group)
        controller.update(proposals, [worth(each) for each in proposals])
        asked += proposals
    return asked


def mean_worth(architectures: Sequence[Architecture]) -> float:
    return statistics.fmean(map(worth, architectures))


@pytest.mark.parametrize("options", [PredictorOptions(), PredictorOptions(observations=20)])
def test_the_best_of_729_is_found(options: PredictorOptions) -> None:
    for seed in range(3):
        asked = search(PredictorController(LAYERS, options, seed=seed), 60)
        assert max(map(worth, asked)) == 9.0, seed


def test_a_group_is_learned_from_as_single_proposals_are() -> None:
    asked = search(PredictorController(LAYERS, seed=0), 6, group=10)
    assert len(set(asked)) == 60
    assert mean_worth(asked[30:]) > mean_worth(asked[:10]) + 2


def test_pairs_are_what_finds_what_is_good_only_together() -> None:
    """Without them the first layer never takes the option that is bad with most others."""
    controllers = [
        PredictorController(LAYERS, PredictorOptions(interaction=interaction), seed=0) for interaction in (0.0, 0.5)
    ]
    rng = random.Random(0)
    told = [architecture for architecture in (LAYERS.sample(rng) for _ in range(150)) if worth(architecture) < 5]
    ends = []
    for controller in controllers:
        controller.update(told, [worth(each) for each in told])
        ends.append(mean_worth(controller.propose(10)))
    assert ends[1] > ends[0] + 1


def test_the_first_proposals_are_uniform_until_enough_was_told() -> None:
    controller = PredictorController(LAYERS, PredictorOptions(starts=30), seed=0)
    good = [architecture for architecture in LAYERS.everything() if worth(architecture) > 6][:29]
    controller.update(good, [worth(each) for each in good])
    assert mean_worth(controller.propose(50)) < 4
    more = Architecture(tuple((f"layer{n}", "0") for n in range(6)))
    controller.update([more], [worth(more)])
    assert mean_worth(controller.propose(50)) > 4


def test_equal_scores_say_nothing() -> None:
    controller = PredictorController(LAYERS, PredictorOptions(starts=5), seed=0)
    rng = random.Random(1)
    controller.update([LAYERS.sample(rng) for _ in range(20)], [1e-3] * 20)
    layers = [int(each["layer2"]) for each in controller.propose(200)]
    assert 0.8 < statistics.fmean(layers) < 1.2


def test_nothing_is_proposed_twice_while_there_is_anything_else() -> None:
    small = SearchSpace([Decision(name, ("0", "1", "2"), "op", name) for name in "abc"])
    controller = PredictorController(small, PredictorOptions(starts=5), seed=0)
    asked = []
    for _ in range(9):
        proposals = controller.propose(3)
        controller.update(proposals, [sum(int(option) for option in each.values()) for each in proposals])
        asked += proposals
    assert len(set(asked)) >= 26
    assert len(controller.propose(3)) == 3  # all was told, and still there are proposals


def test_repeated_scores_are_averaged() -> None:
    rng = random.Random(3)
    told = list({LAYERS.sample(rng): None for _ in range(30)})
    once, twice = (PredictorController(LAYERS, seed=0) for _ in range(2))
    once.update(told, [worth(each) for each in told])
    twice.update(told, [worth(each) + 7 for each in told])
    twice.update(told, [worth(each) - 7 for each in told])
    means = [[each["mean"] for each in controller.state()["told"]] for controller in (once, twice)]
    np.testing.assert_allclose(means[0], means[1])
    assert {each["count"] for each in twice.state()["told"]} == {2}


def test_only_so_many_are_fitted_the_best_and_the_last() -> None:
    controller = PredictorController(LAYERS, PredictorOptions(observations=7), seed=0)
    told = LAYERS.everything()[:20]
    controller.update(told, [float(-abs(place - 5)) for place in range(20)])
    assert [told.index(each) for each in controller._kept()] == [4, 5, 6, 16, 17, 18, 19]
    controller.update([told[0]], [-5.0])  # it is the last now
    assert [told.index(each) for each in controller._kept()] == [4, 5, 6, 17, 18, 19, 0]


@pytest.mark.parametrize("size", [1e-300, 1e-5, 1.0, 1e300])
def test_the_size_of_the_scores_does_not_matter(size: float) -> None:
    controller = PredictorController(LAYERS, seed=0)
    rng = random.Random(3)
    told = [LAYERS.sample(rng) for _ in range(60)]
    controller.update(told, [worth(each) * size for each in told])
    assert mean_worth(controller.propose(10)) > 6


class AtMostOneTwo:
    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        count = list(architecture.values()).count("2")
        return (f"twos: {count} are more than 1",) if count > 1 else ()


def test_limits_are_kept_by_the_controller_itself() -> None:
    space = LAYERS.limited(AtMostOneTwo())
    asked = search(PredictorController(space, seed=0), 60)
    assert all(map(space.admits, asked))
    assert max(map(worth, asked)) == max(map(worth, space.everything()))


def test_decisions_that_exist_under_conditions_are_learned() -> None:
    """What `b` is worth is seen only where it exists, and there it is better than anything else."""
    space = SearchSpace(
        [
            Decision("a", ("0", "1", "2", "3"), "op", "a"),
            Decision("b", ("0", "1", "2", "3"), "op", "b", Condition(((Literal("a", "3"),),))),
            *[Decision(f"c{n}", ("0", "1", "2"), "op", f"c{n}") for n in range(6)],
        ]
    )
    controller = PredictorController(space, seed=0)
    for _ in range(40):
        (proposal,) = controller.propose(1)
        controller.update([proposal], [float(int(proposal["a"]) < 3) + 2.0 * (proposal.get("b") == "2")])
    assert all(each["b"] == "2" for each in controller.propose(10))


@pytest.mark.parametrize("name", ["ptb_rnn", "cifar10_micro", "cifar10_macro"])
def test_the_largest_spaces_of_all_kinds_are_searched(name: str) -> None:
    plugins = build_plugins()
    spec = load_space_spec(ROOT / "spaces" / f"{name}.yaml", plugins)
    space = compile_space(spec, "search", plugins.catalogue.operations).space
    option = {decision.name: random.Random(decision.name).choice(decision.options) for decision in space.decisions}

    def agree(architecture: Mapping[str, str]) -> float:
        return statistics.fmean(option[decision] == chosen for decision, chosen in architecture.items())

    controller = PredictorController(space, PredictorOptions(candidates=40), seed=0)
    for _ in range(12):
        proposals = controller.propose(10)
        assert [space.architecture(each) for each in proposals] == proposals
        controller.update(proposals, [agree(each) for each in proposals])
    rng = random.Random(0)
    assert statistics.fmean(map(agree, proposals)) > 1.3 * statistics.fmean(
        agree(space.sample(rng)) for _ in range(100)
    )


def test_a_state_in_the_middle_of_a_search_goes_on_exactly() -> None:
    options = PredictorOptions(observations=25, candidates=40)
    controller = PredictorController(LAYERS, options, seed=0)
    search(controller, 30)
    search(controller, 2, group=3)
    resumed = PredictorController(LAYERS, options, seed=0)
    resumed.load_state(controller.state())
    assert search(resumed, 3) == search(controller, 3)
