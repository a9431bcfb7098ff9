"""What every controller must hold to, as a test class.

A plugin runs it by one subclass::

    class TestMine(ControllerContract):
        def make_controller(self, space, seed):
            return MyController(space, MyOptions(), seed=seed)
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from nasforge.controllers.base import Controller
from nasforge.controllers.limited import within_limits
from nasforge.errors import SpaceError
from nasforge.space.architecture import Architecture
from nasforge.space.decision import Condition, Decision, Literal
from nasforge.space.search_space import SearchSpace

_CELL = SearchSpace(
    [
        Decision("node0.op", ("tanh", "relu"), "op", "node0"),
        Decision("node1.input", ("x", "node0"), "input", "node1"),
        Decision("node1.op", ("relu", "sigmoid", "tanh"), "op", "node1"),
        Decision("node2.input", ("x", "node0", "node1"), "input", "node2"),
    ]
)
_CONDITIONAL = SearchSpace(
    [
        Decision("layers", ("1", "2", "3"), "number", "net"),
        Decision("a.op", ("conv", "pool"), "op", "a"),
        Decision("b.op", ("conv", "skip"), "op", "b", Condition(((Literal("layers", "1", positive=False),),))),
        Decision("b.skip", ("off", "on"), "bit", "b", Condition(((Literal("b.op", "conv"),),))),
        Decision(
            "c.input",
            ("a", "b"),
            "input",
            "c",
            Condition(((Literal("layers", "3"), Literal("b.op", "skip")), (Literal("b.skip", "off", positive=False),))),
        ),
        Decision("c.width", ("8", "16"), "size", "c"),
        Decision("c.kinds", ("m", "n", "mn"), "subset", "c", Condition(((Literal("c.input", "b"),),))),
    ]
)
_ONE = SearchSpace([Decision("op", ("tanh",), "op", "node0")])
_EMPTY = SearchSpace([])

SPACES: Mapping[str, SearchSpace] = {"cell": _CELL, "conditional": _CONDITIONAL, "one": _ONE, "empty": _EMPTY}
"""Small spaces with every role, conditions on conditions, a single architecture, and no decision at all."""


class _OneConvolution:
    """One convolution at most."""

    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        """See `nasforge.space.rule.Rule`."""
        count = list(architecture.values()).count("conv")
        return (f"conv: {count} are more than 1",) if count > 1 else ()


class ControllerContract(ABC):
    """Tests of the protocol in `nasforge.controllers.base`; all groups have four proposals."""

    @abstractmethod
    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        """A fresh controller."""

    @pytest.fixture(params=sorted(SPACES))
    def space(self, request: pytest.FixtureRequest) -> SearchSpace:
        """Each of `SPACES`."""
        return SPACES[request.param]

    def test_proposals_are_architectures_of_the_space(self, space: SearchSpace) -> None:
        controller = self.make_controller(space, 0)
        for count in (1, 7, 0):
            proposals = controller.propose(count)
            assert len(proposals) == count
            assert [space.architecture(each) for each in proposals] == proposals

    def test_every_architecture_is_within_reach_at_the_start(self, space: SearchSpace) -> None:
        assert len(set(self.make_controller(space, 0).propose(40 * space.size))) == space.size

    def test_same_seed_same_proposals_and_reports(self, space: SearchSpace) -> None:
        first, second = (_run(self.make_controller(space, 5), groups=4) for _ in range(2))
        assert first == second

    def test_another_seed_gives_other_proposals(self) -> None:
        assert self.make_controller(_CELL, 0).propose(20) != self.make_controller(_CELL, 1).propose(20)

    def test_global_generators_are_neither_read_nor_moved(self) -> None:
        def generators() -> tuple[Any, list[int]]:
            return random.getstate(), torch.get_rng_state().tolist()

        torch.manual_seed(1)
        random.seed(1)
        before = generators()
        first = _run(self.make_controller(_CELL, 5), groups=3)
        assert generators() == before
        torch.manual_seed(2)
        random.seed(2)
        assert _run(self.make_controller(_CELL, 5), groups=3) == first

    def test_report_is_finite_and_names_the_mean_reward(self, space: SearchSpace) -> None:
        controller = self.make_controller(space, 0)
        report = controller.update(controller.propose(4), [1.0, 2.0, 3.0, 6.0])
        assert report.reward == pytest.approx(3.0)
        assert all(map(math.isfinite, (report.baseline, report.entropy, report.loss)))
        assert -1e-6 <= report.entropy <= math.log(space.size) + 1.0

    @pytest.mark.parametrize("reward", [0.0, -5.0, 0.1, 1e-30, 1e30, 1e300])
    def test_equal_rewards_leave_everything_finite(self, reward: float) -> None:
        controller = self.make_controller(_CONDITIONAL, 0)
        for _ in range(3):
            report = controller.update(controller.propose(4), [reward] * 4)
            assert all(map(math.isfinite, (report.reward, report.baseline, report.entropy, report.loss)))
        assert _all_finite(controller.state())
        assert len(controller.propose(4)) == 4

    def test_foreign_and_repeated_proposals_are_learned_from(self, space: SearchSpace) -> None:
        rng = random.Random(0)
        proposals = [space.sample(rng) for _ in range(3)]
        self.make_controller(space, 0).update([*proposals, proposals[0]], [1.0, 2.0, 3.0, 4.0])

    def test_bad_groups_are_refused(self) -> None:
        controller = self.make_controller(_CELL, 0)
        proposals = controller.propose(4)
        before = _plain(controller.state())
        with pytest.raises(ValueError, match="4 proposals come with 3 rewards"):
            controller.update(proposals, [1.0, 2.0, 3.0])
        with pytest.raises(ValueError, match="at least one"):
            controller.update([], [])
        for reward in (math.nan, math.inf, -math.inf):
            with pytest.raises(ValueError, match="finite"):
                controller.update(proposals, [1.0, 2.0, 3.0, reward])
        with pytest.raises(SpaceError, match="'tahn'"):
            controller.update([Architecture((("node0.op", "tahn"),))] * 4, [1.0, 2.0, 3.0, 4.0])
        assert _plain(controller.state()) == before

    def test_under_limits_it_proposes_and_learns_within_them(self) -> None:
        space = _CONDITIONAL.limited(_OneConvolution())
        controller = within_limits(self.make_controller(space, 0))
        for _ in range(3):
            proposals = controller.propose(4)
            assert [space.architecture(each) for each in proposals] == proposals
            report = controller.update(proposals, [1.0, 2.0, 3.0, 6.0])
            assert report.reward == pytest.approx(3.0)
        assert len(set(controller.propose(400))) > 4

    @pytest.mark.parametrize("groups", [0, 3])
    def test_resumed_controller_goes_on_exactly(self, space: SearchSpace, groups: int) -> None:
        controller = self.make_controller(space, 0)
        _run(controller, groups=groups)
        controller.propose(3)
        resumed = self.make_controller(space, 0)
        resumed.load_state(controller.state())
        assert _run(resumed, groups=3) == _run(controller, groups=3)
        assert _plain(resumed.state()) == _plain(controller.state())

    def test_state_is_plain_and_does_not_change_afterwards(self) -> None:
        controller = self.make_controller(_CONDITIONAL, 0)
        _run(controller, groups=2)
        state = controller.state()
        before = _plain(state)
        _run(controller, groups=2)
        assert _plain(state) == before

    def test_loaded_state_is_not_written_to(self) -> None:
        controller = self.make_controller(_CONDITIONAL, 0)
        _run(controller, groups=2)
        state = controller.state()
        before = _plain(state)
        resumed = self.make_controller(_CONDITIONAL, 1)
        resumed.load_state(state)
        _run(resumed, groups=2)
        assert _plain(state) == before


def _run(controller: Controller, groups: int) -> list[object]:
    """Propose and update, with a reward that depends on the architecture; everything that came out."""
    out: list[object] = []
    for _ in range(groups):
        proposals = controller.propose(4)
        report = controller.update(proposals, [int(each.digest[:4], 16) / 65536 for each in proposals])
        out += [proposals, report]
    return out


def _plain(value: object) -> object:
    """`value` with tensors as lists, refusing what a state may not hold."""
    if isinstance(value, Mapping):
        assert all(isinstance(key, str) for key in value)
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, Tensor):
        assert value.device.type == "cpu"
        assert not value.requires_grad
        return str(value.dtype), list(value.shape), value.tolist()
    assert isinstance(value, (int, float, str))
    return value


def _all_finite(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_all_finite, value.values()))
    if isinstance(value, list):
        return all(map(_all_finite, value))
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    return isinstance(value, str) or (isinstance(value, (int, float)) and math.isfinite(value))
