"""What users write under ``strategy``, and the strategies that nasforge itself registers; torch is not imported."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from nasforge.components import FromScratchOptions, Options, StrategyKind


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


class OneShotOptions(Options):
    """A search on shared weights that are trained first, uniformly (single-path one-shot: Guo et al. 2020).

    Attributes:
        epochs: passes over the training data in which the shared weights are trained.
        architectures_per_step: the architectures whose gradients are averaged in one weight step.
        sampler: who draws them: ``uniform``, or ``fair``, every option of a decision once before any comes again.
        evaluations: proposals that are scored then, each on the whole validation split.
        batch: how many of them are proposed before the controller is told their scores.
    """

    epochs: int = Field(default=4, ge=1)
    architectures_per_step: int = Field(default=1, ge=1)
    sampler: Literal["uniform", "fair"] = "uniform"
    evaluations: int = Field(default=100, ge=0)
    batch: int = Field(default=1, ge=1)


class EvolutionSearchOptions(OneShotOptions):
    """Regularised evolution on shared weights.

    Attributes:
        kind: ``evolution``.
        epochs: see `OneShotOptions`, as all below.
        architectures_per_step: see there.
        sampler: see there.
        evaluations: see there.
        batch: see there.
    """

    kind: Literal["evolution"] = "evolution"


class LocalSearchOptions(OneShotOptions):
    """Local search on shared weights.

    Attributes:
        kind: ``local_search``.
        epochs: see `OneShotOptions`, as all below.
        architectures_per_step: see there.
        sampler: see there.
        evaluations: see there.
        batch: see there.
    """

    kind: Literal["local_search"] = "local_search"


class ReinforceOptions(OneShotOptions):
    """The LSTM controller of ENAS, on shared weights that do not depend on what it proposes.

    Attributes:
        kind: ``reinforce``.
        epochs: see `OneShotOptions`, as all below.
        architectures_per_step: see there.
        sampler: see there.
        evaluations: see there.
        batch: see there; groups of five measured best on a table (docs/search.md).
    """

    kind: Literal["reinforce"] = "reinforce"
    batch: int = Field(default=5, ge=1)


class BlackBoxOptions(Options):
    """Proposals are scored, and the controller learns from the scores; no weights are shared.

    A score is looked up in a table, or is that of a training from scratch (the executor ``standalone``). With the
    controller ``evolution`` this is regularised evolution (Real et al. 2019), with ``lstm`` the search of Zoph and Le
    (2017).

    Attributes:
        kind: ``black_box``.
        queries: scores that are asked for, repeats included: look-ups, or trainings.
        batch: how many architectures are proposed before the controller is told their scores; null for what its kind
            takes at least, and five for the LSTM.
        ask_again: how many of the last queries go to the best that were found, again (the winner's curse); 0 for none,
            null for what measured best for so many queries (docs/search.md).
    """

    kind: Literal["black_box"] = "black_box"
    queries: int = Field(default=150, ge=1)
    batch: Annotated[int, Field(ge=1)] | None = None
    ask_again: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.ask_again is not None and self.ask_again >= self.queries:
            message = f"`ask_again` takes {self.ask_again} of {self.queries} queries: nothing is left to search"
            raise PydanticCustomError("ask_again", "{message}", {"message": message, "inner": ("ask_again",)})
        return self


class SuccessiveHalvingOptions(Options):
    """Successive halving (Jamieson and Talwalkar 2016): many children are trained a little, the best of them go on.

    The rungs have `first_epochs` epochs, `factor` times as many, and so on; the last has those of the executor.
    After each rung the best of `factor` go on from where they are.

    Attributes:
        kind: ``successive_halving``.
        queries: the budget, in whole trainings: all children together make at most as many weight steps as `queries`
            children of ``black_box``. Brackets are begun until it is spent, the last with fewer children.
        proposals: children of the first rung of a bracket.
        factor: how many children one of which goes on (Hyperband: 3 or 4).
        first_epochs: passes over the training data until the first rung.
        batch: see `BlackBoxOptions`; the controller is told the scores of the first rung, which are comparable, and no
            others.
    """

    kind: Literal["successive_halving"] = "successive_halving"
    queries: int = Field(default=40, ge=1)
    proposals: int = Field(default=27, ge=2)
    factor: int = Field(default=3, ge=2)
    first_epochs: int = Field(default=1, ge=1)
    batch: Annotated[int, Field(ge=1)] | None = None


def _rungs_refusal(config: SuccessiveHalvingOptions, executor: FromScratchOptions) -> dict[str, str]:
    if config.first_epochs < executor.epochs:
        return {}
    message = (
        f"`first_epochs` must be below the `epochs` of the executor, which are {executor.epochs}, found "
        f"{config.first_epochs}: there would be one rung, and nothing to halve"
    )
    return {"first_epochs": message}


def _evaluations(config: EnasOptions) -> int:
    """Rewards of all controller phases; the first phase follows the last epoch of the warm-up."""
    phases = config.epochs - max(0, config.warmup_epochs - 1)
    return phases * config.controller_steps * config.candidates_per_step


def _one_shot(name: str, summary: str, config: type[OneShotOptions], controller: str) -> StrategyKind:
    return StrategyKind(
        name=name,
        summary=summary,
        build="nasforge.strategies.one_shot:OneShot",
        config=config,
        passes=lambda options: float(options.epochs * options.architectures_per_step),
        evaluations=lambda options: options.evaluations,
        whole_split=True,
        group=lambda options: options.batch if options.evaluations else 0,
        uniform=lambda options: options.model_copy(update={"evaluations": 0}),
        defaults={"controller": controller, "executor": "shared_weights"},
    )


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
    StrategyKind(
        name="black_box",
        summary="propose, score by a training from scratch or in a table, learn",
        build="nasforge.strategies.from_scratch:FromScratchSearch",
        config=BlackBoxOptions,
        passes=lambda config: float(config.queries),
        evaluations=lambda config: config.queries,
        group=lambda config: config.batch or 0,
        uniform=lambda config: config,
        defaults={"controller": "evolution", "executor": "standalone"},
        sources=frozenset({"scratch", "table"}),
    ),
    StrategyKind(
        name="successive_halving",
        summary="train many children a little, and go on with the best of them",
        build="nasforge.strategies.halving:SuccessiveHalving",
        config=SuccessiveHalvingOptions,
        passes=lambda config: float(config.queries),
        evaluations=lambda config: config.queries,
        group=lambda config: config.batch or 0,
        uniform=lambda config: config,
        defaults={"controller": "evolution", "executor": "standalone"},
        sources=frozenset({"scratch"}),
        refusal=_rungs_refusal,
    ),
    _one_shot(
        "evolution",
        "train shared weights uniformly, then evolve architectures by their scores",
        EvolutionSearchOptions,
        "evolution",
    ),
    _one_shot(
        "local_search",
        "train shared weights uniformly, then walk from neighbour to better neighbour",
        LocalSearchOptions,
        "local_search",
    ),
    _one_shot(
        "reinforce",
        "train shared weights uniformly, then the policy of ENAS by REINFORCE",
        ReinforceOptions,
        "lstm",
    ),
)
