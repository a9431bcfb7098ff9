"""Who draws for weight steps: fairness with conditions and under limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from helpers import cell
from random_specs import supergraph_of

from nasforge.errors import RunFailedError
from nasforge.space.search_space import SearchSpace
from nasforge.strategies.samplers import FairSampler

SPACE = cell(3).space
OF_SEARCHED_SIZE = supergraph_of(
    {
        "kind": "recurrent_cell",
        "nodes": {"choose": 1, "from": [1, 2, 4]},
        "each": {
            "input": {"choose": 1, "from": "previous"},
            "op": {"choose": 1, "from": ["tanh", "relu"]},
        },
    }
).space


class Without:
    """No architecture that chooses the first of several options more than once."""

    def __init__(self, space: SearchSpace) -> None:
        self._first = {d.name: d.options[0] for d in space.decisions if len(d.options) > 1}

    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        first = sum(self._first.get(name) == option for name, option in architecture.items())
        return (f"first: {first} first options",) if first > 1 else ()


class Nothing:
    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        return ("nothing: never",)


@pytest.mark.parametrize("space", [SPACE, OF_SEARCHED_SIZE])
def test_options_of_a_decision_never_differ_by_more_than_one(space: SearchSpace) -> None:
    sampler, counts = FairSampler(space, seed=1), Counter[tuple[str, str]]()
    drawn = []
    for _ in range(60):
        (architecture,) = sampler.propose(1)
        assert space.architecture(architecture) == architecture
        drawn.append(architecture)
        counts.update(architecture.items())
        for decision in space.decisions:
            each = [counts[decision.name, option] for option in decision.options]
            assert max(each) - min(each) <= 1
    assert len(set(drawn)) > 10
    assert drawn == FairSampler(space, seed=1).propose(60)
    assert drawn != FairSampler(space, seed=2).propose(60)


def test_under_limits_what_is_outside_is_put_back() -> None:
    space = SPACE.limited(Without(SPACE))
    sampler, counts = FairSampler(space, seed=1), Counter[tuple[str, str]]()
    for architecture in sampler.propose(400):
        assert space.admits(architecture)
        counts.update(architecture.items())
    # Each of the five decisions takes its first option less often than the others, but these are equally frequent.
    for decision in space.decisions:
        first, *others = (counts[decision.name, option] for option in decision.options)
        assert first > 0 or len(decision.options) == 1
        assert not others or max(others) - min(others) <= 0.2 * max(others)


def test_limits_that_nothing_satisfies_are_told() -> None:
    with pytest.raises(RunFailedError, match="10,000 architectures that were dealt none is within the limits"):
        FairSampler(SPACE.limited(Nothing()), seed=1).propose(1)


def test_what_a_refused_architecture_took_is_put_back() -> None:
    sampler = FairSampler(SPACE, seed=1)
    for _ in range(7):
        sampler.propose(1)
        before = {name: sorted(deck) for name, deck in sampler._decks.items()}
        sampler._take_back(sampler._dealt())
        for decision in SPACE.decisions:
            # An empty deck was dealt anew meanwhile.
            expected = before[decision.name] or sorted(decision.options)
            assert sorted(sampler._decks[decision.name]) == expected
