"""What users write under ``strategy``, and the strategies that nasforge itself registers; torch is not imported."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from nasforge.components import Options, StrategyKind


class EnasOptions(Options):
    """The alternating search of ENAS (Pham et al. 2018, section 2.2). "Paper" is its Penn Treebank search.

    Each epoch first trains the shared weights on one pass over the training data; from the last epoch of the warm-up on
    it then trains the controller on rewards of validation minibatches.

    Attributes:
        kind: ``enas``.
        epochs: passes over the training data (paper: 150).
        warmup_epochs: first epochs in which architectures are drawn uniformly; the controller learns after the last of
            them for the first time (paper: 0).
        architectures_per_step: M, the architectures whose gradients are averaged in one weight step (paper: 1).
        architectures: what several ranks (torchrun) train: ``shared``, all the same M architectures, each rank on its
            part of the batch; or ``per_rank``, each rank M of its own. A step then averages over N * M architectures,
            each of which has seen one part of N. A run of one process does the same with either.
        controller_steps: controller updates after each epoch from the end of the warm-up on; 0 never trains it
            (paper: 2000).
        candidates_per_step: K, the architectures of one update, all scored on the same validation minibatch (paper: 1).
        sampler: who draws architectures for weight steps after the warm-up: ``policy``, the controller (paper);
            ``uniform``; ``epsilon``, the controller but for a share of uniform draws; ``fair``, every option of a
            decision once before any comes again, in the warm-up too (FairNAS: Chu et al. 2021).
        epsilon: the share of uniform draws, for ``sampler: epsilon`` only; null there is 0.1.
        reward_ema: decay of a moving average of the shared weights, with which rewards are measured and candidates
            ranked; null for the weights as they are (paper).
    """

    kind: Literal["enas"] = "enas"
    epochs: int = Field(default=4, ge=1)
    warmup_epochs: int = Field(default=1, ge=0)
    architectures_per_step: int = Field(default=1, ge=1)
    architectures: Literal["shared", "per_rank"] = "shared"
    controller_steps: int = Field(default=20, ge=0)
    candidates_per_step: int = Field(default=10, ge=1)
    sampler: Literal["policy", "uniform", "epsilon", "fair"] = "policy"
    epsilon: Annotated[float, Field(ge=0, le=1)] | None = None
    reward_ema: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _epsilon_is_used(self) -> Self:
        if self.epsilon is not None and self.sampler != "epsilon":
            message = f"`epsilon` means nothing for `sampler: {self.sampler}`"
            hint = "leave it out, or set sampler: epsilon"
            raise PydanticCustomError(
                "epsilon_unused", "{message}", {"message": message, "hint": hint, "inner": ("epsilon",)}
            )
        return self

    @model_validator(mode="after")
    def _controller_acts(self) -> Self:
        if self.controller_steps and self.warmup_epochs > self.epochs:
            message = (
                f"`warmup_epochs` must be at most `epochs`, which is {self.epochs}, found {self.warmup_epochs}: "
                "the controller would never learn"
            )
            hint = "raise epochs or lower warmup_epochs; to search without a controller, set controller_steps: 0"
            inner = ("warmup_epochs",) if "warmup_epochs" in self.model_fields_set else ("epochs",)
            raise PydanticCustomError(
                "warmup_too_long", "{message}", {"message": message, "hint": hint, "inner": inner}
            )
        return self


def _evaluations(config: EnasOptions) -> int:
    """Rewards of all controller phases; the first phase follows the last epoch of the warm-up."""
    phases = config.epochs - max(0, config.warmup_epochs - 1)
    return phases * config.controller_steps * config.candidates_per_step


STRATEGIES: tuple[StrategyKind, ...] = (
    StrategyKind(
        name="enas",
        summary="train shared weights and a controller in turn (ENAS, section 2.2)",
        build="nasforge.strategies.enas:Enas",
        config=EnasOptions,
        passes=lambda config: float(config.epochs * config.architectures_per_step),
        evaluations=_evaluations,
        group=lambda config: config.candidates_per_step if config.controller_steps else 0,
        uniform=lambda config: config.model_copy(update={"controller_steps": 0}),
        defaults={"controller": "lstm", "executor": "shared_weights"},
    ),
)
