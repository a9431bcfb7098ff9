"""The most probable architectures of the policy, against brute force."""

from __future__ import annotations

import pytest
import torch
from planted import BLOCKS
from random_specs import supergraph_of

from nasforge.controllers.beam import beam
from nasforge.controllers.limited import within_limits
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import CONTROLLERS, LstmOptions
from nasforge.controllers.random import RandomController
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.testing.controllers import SPACES

SPREAD = LstmOptions(units=12, init_range=1.0)
"""A policy that is far from uniform from the start."""


class FewWidths:
    """A rule: no architecture is admitted whose option at the first decision is the most probable one."""

    def __init__(self, name: str, refused: str) -> None:
        self.name, self.refused = name, refused

    def violations(self, architecture: Architecture) -> list[str]:
        return ["refused"] if architecture.get(self.name) == self.refused else []


def by_force(controller: LstmController, space: SearchSpace) -> tuple[list[Architecture], torch.Tensor]:
    """All architectures, most probable first, with their log-probabilities."""
    everything = list(space.everything())
    log_prob = controller.log_prob(everything)
    order = log_prob.argsort(descending=True, stable=True)
    return [everything[place] for place in order.tolist()], log_prob[order]


SMALL = {**SPACES, **{name: supergraph_of(block).space for name, block in BLOCKS.items()}}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", SMALL)
def test_the_beam_finds_the_most_probable_in_their_order(name: str, seed: int) -> None:
    """Conditions on conditions among them: what does not exist costs nothing, and gives no architecture twice."""
    space = SMALL[name]
    controller = LstmController(space, SPREAD, seed=seed)
    expected, log_prob = by_force(controller, space)
    count = min(20, len(expected))
    found = controller.most_likely(count)
    assert len(set(found)) == len(found) == count
    torch.testing.assert_close(controller.log_prob(found), log_prob[:count], atol=2e-5, rtol=0)
    if count > 1 and log_prob[0] - log_prob[1] > 1e-3:
        assert found[0] == expected[0]


@pytest.mark.parametrize("name", SPACES)
def test_a_beam_as_wide_as_the_space_is_the_space(name: str) -> None:
    space = SPACES[name]
    controller = LstmController(space, SPREAD, seed=3)
    found = controller._decode(beam(controller.policy, space.size + 5))
    assert len(found) == space.size
    assert set(found) == set(space.everything())
    log_prob = controller.log_prob(found)
    assert (log_prob[1:] <= log_prob[:-1] + 1e-5).all()


@pytest.mark.parametrize("name", SMALL)
def test_the_first_is_not_less_probable_than_the_greedy_one(name: str) -> None:
    space = SMALL[name]
    for seed in range(3):
        controller = LstmController(space, SPREAD, seed=seed)
        first, greedy = controller.log_prob([controller.most_likely(1)[0], controller.argmax()]).tolist()
        assert first >= greedy - 1e-6


def test_asking_moves_nothing() -> None:
    one, other = (LstmController(SPACES["conditional"], SPREAD, seed=0) for _ in range(2))
    assert one.most_likely(5) == one.most_likely(7)[:5]
    assert one.propose(10) == other.propose(10)


def test_those_outside_the_limits_are_left_out_and_the_next_take_their_place() -> None:
    space = SMALL["macro_network"]
    free = LstmController(space, SPREAD, seed=0)
    expected, _ = by_force(free, space)
    first = space.decisions[0].name
    refused = expected[0][first]
    limited = space.limited(FewWidths(first, refused))
    found = within_limits(LstmController(limited, SPREAD, seed=0)).most_likely(10)
    assert len(found) == 10
    admitted = [each for each in expected if each[first] != refused][:10]
    torch.testing.assert_close(free.log_prob(found), free.log_prob(admitted), atol=2e-5, rtol=0)
    assert {each[first] for each in found}.isdisjoint({refused})


def test_only_what_says_so_offers_it() -> None:
    assert [kind.name for kind in CONTROLLERS if kind.most_likely] == ["lstm"]
    with pytest.raises(NotImplementedError, match="RandomController cannot say"):
        RandomController(SPACES["cell"], None, seed=0).most_likely(1)
