"""The random controller: uniform over architectures, and nothing learned."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter

import pytest

from nasforge.controllers.base import Controller
from nasforge.controllers.options import CONTROLLERS, RandomOptions
from nasforge.controllers.random import RandomController
from nasforge.space.search_space import SearchSpace
from nasforge.testing.controllers import SPACES, ControllerContract


class TestRandomContract(ControllerContract):
    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return RandomController(space, RandomOptions(), seed=seed)


def test_every_architecture_is_equally_probable_also_where_decisions_are_conditional() -> None:
    space = SPACES["conditional"]
    draws = 400 * space.size
    counts = Counter(RandomController(space, seed=3).propose(draws))
    assert len(counts) == space.size
    statistic = sum((count - 400) ** 2 / 400 for count in counts.values())
    # Chi-squared with f degrees of freedom has mean f and deviation sqrt(2 f).
    freedom = space.size - 1
    assert statistic < freedom + 4 * math.sqrt(2 * freedom)


def test_proposals_do_not_depend_on_how_many_are_asked_for_at_a_time() -> None:
    whole, parts = RandomController(SPACES["cell"], seed=0), RandomController(SPACES["cell"], seed=0)
    assert whole.propose(6) == parts.propose(1) + parts.propose(3) + parts.propose(2)


def test_report_is_the_mean_reward_and_the_log_of_the_size() -> None:
    controller = RandomController(SPACES["cell"], seed=0)
    report = controller.update(controller.propose(2), [1.0, 4.0])
    assert (report.reward, report.baseline, report.loss) == (2.5, 0.0, 0.0)
    assert report.entropy == pytest.approx(math.log(2 * 2 * 3 * 3))


def test_updates_do_not_change_what_is_proposed() -> None:
    told, untold = RandomController(SPACES["cell"], seed=0), RandomController(SPACES["cell"], seed=0)
    told.update(told.propose(4), [1.0, 2.0, 3.0, 4.0])
    untold.propose(4)
    assert told.propose(10) == untold.propose(10)


def test_declaring_controllers_does_not_import_torch() -> None:
    code = "import sys, nasforge.controllers.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_declared_builds_are_controllers() -> None:
    for kind in CONTROLLERS:
        module, _, name = kind.build.partition(":")
        assert issubclass(getattr(__import__(module, fromlist=[name]), name), Controller)
        assert kind.config.model_validate({"kind": kind.name}) == kind.config()
