"""The predictor keeps the rules for controllers."""

from __future__ import annotations

from nasforge_predictor.controller import PredictorController
from nasforge_predictor.declarations import PredictorOptions

from nasforge.controllers.base import Controller
from nasforge.space.search_space import SearchSpace
from nasforge.testing.controllers import ControllerContract


class TestPredictorBeforeItPredicts(ControllerContract):
    """With the default settings: in these groups all proposals are uniform."""

    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return PredictorController(space, seed=seed)


class TestPredicting(ControllerContract):
    """It predicts from the second group on."""

    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return PredictorController(space, PredictorOptions(starts=2, candidates=20), seed=seed)


class TestThatForgets(ControllerContract):
    """It predicts from the second group on, from some of what was told."""

    def make_controller(self, space: SearchSpace, seed: int) -> Controller:
        return PredictorController(space, PredictorOptions(starts=2, candidates=20, observations=4), seed=seed)
