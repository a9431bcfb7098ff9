"""Training recipes: what every task's weight steps have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from nasforge.components import Options

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Recipe(Options):
    """Optimiser, schedule and clipping. Defaults are what measured best on small corpora.

    Attributes:
        optimizer: ``adam``, or ``sgd`` (the paper, for language models).
        learning_rate: peak rate (the paper's language model: 20 with sgd).
        betas: Adam's decay rates of the first and second moment.
        momentum: SGD's momentum; ``nesterov`` follows it where it is not 0.
        weight_decay: gradient of ``weight_decay / 2 * ||w||^2`` added to the gradient of the weights that took part
            in the step (the paper: 1e-7 in the language model, as the factor of the squared norm: 2e-7 here).
        schedule: ``cosine`` to ``final_fraction`` of the peak over the whole training, ``cosine_restarts`` (the paper,
            for images: such cosines one after the other), ``decay`` (the paper, for language models: factor
            `decay_rate` after each epoch from `decay_start_epoch` on), or ``constant``.
        final_fraction: where a cosine ends, as a fraction of the peak (the authors' code for images: 0.01 in the
            search).
        restart_epochs: length of the first cosine of ``cosine_restarts`` (the paper: 10). A training should end with
            one of its cosines: after 10, 30, 70, 150, 310 or 630 epochs; one that ends within a cosine ends high.
        restart_factor: each further cosine is that many times as long as the one before (the paper: 2).
        decay_rate: the factor per epoch (the paper: 0.96).
        decay_start_epoch: the first epoch, counted from 0, after which the rate falls (the paper: 15).
        minimum_learning_rate: the rate never falls below it.
        warmup_steps: steps over which the rate rises linearly from 0; at most a tenth of an epoch is used, so that
            trainings of any length begin alike.
        clip_norm: largest global norm of the gradient (the paper: 0.25); null for none.
        init_range: matrices start from U(±init_range) (reference codes: 0.025 to 0.05); null for U(±1/sqrt(fan_in)).
    """

    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: Positive = 1.2e-2
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.99)
    momentum: Fraction = 0.0
    weight_decay: NotNegative = 1e-6
    schedule: Literal["cosine", "cosine_restarts", "decay", "constant"] = "cosine"
    final_fraction: NotNegative = 0.02
    restart_epochs: int = Field(default=10, ge=1)
    restart_factor: int = Field(default=2, ge=1)
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.96
    decay_start_epoch: int = Field(default=15, ge=0)
    minimum_learning_rate: NotNegative = 0.0
    warmup_steps: int = Field(default=50, ge=0)
    clip_norm: Positive | None = 0.5
    init_range: Positive | None = None

    @property
    def training_outputs(self) -> Mapping[str, str]:
        """Outputs on the way that training asks the network for: keys of the recipe to names of outputs."""
        return {}

    def drop_rate(self, progress: float) -> float:
        """The rate of drop-path when `progress`, from 0 to 1, of the training is done; 0 throughout for none."""
        return 0.0
