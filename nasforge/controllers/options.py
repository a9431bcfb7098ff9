"""What users write under ``controller``, and the controllers that nasforge itself registers; torch is not imported."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from nasforge.components import ControllerKind, Options
from nasforge.controllers.prior import refusal

DEFAULT_BASELINE_DECAY = 0.95
DEFAULT_CLIP = 0.2
DEFAULT_PPO_EPOCHS = 4
"""What null means for the options of one update."""

_OF_ONE_UPDATE = {"baseline_decay": "reinforce_ema", "clip": "ppo", "ppo_epochs": "ppo"}


class RandomOptions(Options):
    """Uniform sampling takes no options.

    Attributes:
        kind: ``random``.
    """

    kind: Literal["random"] = "random"


class EvolutionOptions(Options):
    """Regularised evolution (Real et al. 2019): the best of a few members has a child, and the oldest member dies.

    "Paper" is its search on CIFAR-10, of 20,000 trained networks.

    Attributes:
        kind: ``evolution``.
        population: members that are alive; as many proposals are uniform at first (paper: 100).
        sample: members drawn, with replacement, of which the best becomes a parent (paper: 25).
    """

    kind: Literal["evolution"] = "evolution"
    population: int = Field(default=20, ge=1, le=1_000_000)
    sample: int = Field(default=10, ge=1, le=1_000_000)


class LocalSearchOptions(Options):
    """Local search with restarts (White et al. 2021): to the first better neighbour, until there is none.

    Attributes:
        kind: ``local_search``.
        starts: uniform draws, of which the best is where a climb starts.
    """

    kind: Literal["local_search"] = "local_search"
    starts: int = Field(default=10, ge=1, le=1_000_000)


class LstmOptions(Options):
    """The autoregressive LSTM of ENAS (Pham et al. 2018), trained by a policy gradient.

    The defaults are what searched both texts and images without a collapse (docs/enas.md); on a text supernet the
    published values left the policy uniform. "Paper" is the setting of the Penn Treebank search.

    Attributes:
        kind: ``lstm``.
        units: width of the hidden state, of the embeddings and of the anchors (paper: 100).
        learning_rate: of Adam (paper: 3.5e-4). At 1e-2 the logits of N = 12 run into the flat part of the tanh within
            20 updates, and the policy stands still from then on.
        temperature: divides the logits before the tanh; above 1 is closer to uniform (paper: 5).
        tanh_constant: bounds the logits to ±tanh_constant, so that no option is ever out of reach; null for no bound
            (paper: 2.5).
        entropy_weight: what one nat of the policy's entropy is worth in the loss (paper: 1e-4). At 0.1 and less the
            policy of a search of macro networks collapsed within 100 of 1,560 updates (docs/enas.md).
        update: how the policy learns from a group. Three take one step of REINFORCE and differ in what is subtracted
            from a reward: ``reinforce_ema``, a moving average over updates (paper); ``reinforce_group``, the mean of
            the group; ``rloo``, the mean of the other rewards of the group. ``ppo`` subtracts the mean of the group
            and takes several steps on the clipped surrogate of Schulman et al. (2017). All but the first need groups of
            two.
        baseline_decay: weight of the past in the moving average, which the first update starts at its own mean, for
            ``reinforce_ema`` only; null there is 0.95 (paper: not given; the authors' code: 0.99).
        clip: how far the ratio of new and old probability of a proposal may be from 1 before its gradient is cut, for
            ``ppo`` only; null there is 0.2.
        ppo_epochs: steps on each group, for ``ppo`` only; null there is 4.
        normalize_advantage: divide the advantages of a group by the standard deviation of its rewards, so that the
            scale of the reward does not matter; an update then needs two proposals (paper: false).
        recency_prior: r in the term -r d^2 on the logit of an input, where d is 1 for the newest option; 0 for none
            (paper: not mentioned; the authors' code: 1/6).
        prior: for decisions, by their names or their roles, numbers that are added to the logits of options after the
            tanh, so that a rewarded option starts exp(number) times as likely: ``{bit: {yes: -1}}``. What is said about
            a role and about a decision of it is added up. Empty for none (paper).
        positions: whether each decision has a learned vector of its own, which is added to the input of the LSTM there
            (paper: not mentioned).
        bias: whether the LSTM and the output layers have biases (paper: false).
        init_range: all weights start as U(±init_range) (paper: 0.1).
        clip_norm: largest Euclidean norm of the gradient; null for no limit (paper: not mentioned).
        skip_target: the probability of a skip connection that the regulariser of macro networks pulls the policy
            towards; null for none (paper, for macro networks: 0.4). A space in which nothing can be skipped is refused.
        skip_weight: what one nat of the mean divergence from `skip_target` costs in the loss (paper: 0.8; the authors'
            code has a sum in place of the mean, so that its 0.8 is 4.8 here for 12 layers). Unused without
            `skip_target`.
    """

    kind: Literal["lstm"] = "lstm"
    units: int = Field(default=100, ge=1, le=4096)
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    temperature: float = Field(default=1.0, ge=1e-3)
    tanh_constant: Annotated[float, Field(gt=0, le=1000)] | None = 2.5
    entropy_weight: float = Field(default=0.2, ge=0)
    update: Literal["reinforce_ema", "reinforce_group", "rloo", "ppo"] = "rloo"
    baseline_decay: Annotated[float, Field(ge=0, lt=1)] | None = None
    clip: Annotated[float, Field(gt=0, lt=1)] | None = None
    ppo_epochs: Annotated[int, Field(ge=1, le=1000)] | None = None
    normalize_advantage: bool = True
    recency_prior: float = Field(default=0.0, ge=0, le=100)
    prior: dict[str, dict[str, Annotated[float, Field(ge=-100, le=100)]]] = Field(default={}, strict=False)
    positions: bool = True
    bias: bool = True
    init_range: float = Field(default=0.1, gt=0, le=10)
    clip_norm: Annotated[float, Field(gt=0)] | None = 5.0
    skip_target: Annotated[float, Field(gt=0, lt=1)] | None = None
    skip_weight: float = Field(default=0.8, ge=0)

    @model_validator(mode="after")
    def _options_of_the_update(self) -> Self:
        for name, update in _OF_ONE_UPDATE.items():
            if getattr(self, name) is not None and self.update != update:
                message = f"`{name}` means nothing for `update: {self.update}`"
                hint = f"leave it out, or set update: {update}"
                raise PydanticCustomError(
                    "update_option", "{message}", {"message": message, "hint": hint, "inner": (name,)}
                )
        return self

    @property
    def smallest_group(self) -> int:
        """How many proposals an update needs at least."""
        return 1 if self.update == "reinforce_ema" and not self.normalize_advantage else 2


CONTROLLERS: tuple[ControllerKind, ...] = (
    ControllerKind(
        name="random",
        summary="uniform over all architectures; learns nothing, the yardstick of every search",
        build="nasforge.controllers.random:RandomController",
        config=RandomOptions,
    ),
    ControllerKind(
        name="evolution",
        summary="regularised evolution: a child of the best of a few members, the oldest member dies",
        build="nasforge.controllers.evolution:EvolutionController",
        config=EvolutionOptions,
    ),
    ControllerKind(
        name="local_search",
        summary="to the first better architecture that differs in one decision; starts anew where there is none",
        build="nasforge.controllers.local_search:LocalSearchController",
        config=LocalSearchOptions,
    ),
    ControllerKind(
        name="lstm",
        summary="the LSTM of ENAS: decides one after the other, learns from rewards by a policy gradient",
        build="nasforge.controllers.lstm:LstmController",
        config=LstmOptions,
        smallest_group=lambda config: int(config.smallest_group),
        policy=True,
        most_likely=True,
        refusal=refusal,
    ),
)
