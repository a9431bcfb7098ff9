"""What the plugin registers. Every command of nasforge imports this module: neither torch nor scikit-learn here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nasforge import hookimpl
from nasforge.components import ControllerKind, Options


class PredictorOptions(Options):
    """A regression on the choices predicts the scores; what is best in a draw of it is proposed (Thompson sampling).

    Attributes:
        kind: ``predictor``.
        starts: architectures that are told before the first prediction; until then proposals are uniform.
        candidates: architectures of which the highest is proposed: half of them uniform draws, half children of the
            best; half as many again are children of the highest of these.
        interaction: how much a pair of choices may be worth, beside what one choice may be worth (standard deviations,
            before anything is known); 0 for a model without pairs. A space of more than 2,000 options has no pairs.
        observations: architectures that the model is fitted to, at most. Where more were told, half of them are the
            best, half those of the others that were told last.
    """

    kind: Literal["predictor"] = "predictor"
    starts: int = Field(default=10, ge=2, le=1_000_000)
    candidates: int = Field(default=100, ge=2, le=100_000)
    interaction: float = Field(default=0.5, ge=0, le=100)
    observations: int = Field(default=300, ge=2, le=10_000)


CONTROLLERS: tuple[ControllerKind, ...] = (
    ControllerKind(
        name="predictor",
        summary="predicts scores from choices and pairs of choices, and asks where they may be highest",
        build="nasforge_predictor.controller:PredictorController",
        config=PredictorOptions,
    ),
)


@hookimpl
def nasforge_controllers() -> list[ControllerKind]:
    """The controller of this distribution."""
    return list(CONTROLLERS)
