"""The sections of a run spec that belong to no component, and the keys at its top."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from nasforge.components import Options
from nasforge.spec.expectation import KeyPath, shown
from nasforge.spec.objectives import Objectives

FORMAT = 1
"""The version of the file format that this version reads."""

NAMED = ("strategy", "controller", "executor")
"""Sections that may be written as a bare name, short for ``{kind: name}``."""

READ_BEFORE: Mapping[KeyPath, tuple[str, ...]] = MappingProxyType({(): ("profiles",), ("space",): ("let",)})
"""Keys that are read before a block is validated, which its model does not have, by where the block stands."""

FEWEST_CORRELATED = 3
"""Architectures of which there is a rank correlation."""

DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
"""The form of the name of a distribution."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def _format(value: Any) -> Any:
    # Not a literal: True == 1 and 1.0 == 1 would pass.
    if type(value) is not int or value != FORMAT:
        message = f"`nasforge`, the version of the file format, must be {FORMAT}, found {shown(value)}"
        raise PydanticCustomError("format", "{message}", {"message": message})
    return value


def _name(value: Any) -> Any:
    if isinstance(value, str) and not _NAME.fullmatch(value):
        message = (
            "`name` must start with a letter, followed by letters, digits, _ or -, 64 in all at most, "
            f"found {shown(value)}"
        )
        raise PydanticCustomError("run_name", "{message}", {"message": message})
    return value


def _distribution(value: Any) -> Any:
    if isinstance(value, str) and not DISTRIBUTION.fullmatch(value):
        message = f"a plugin is named as it is installed, for example nasforge-activations, found {shown(value)}"
        raise PydanticCustomError("distribution_name", "{message}", {"message": message})
    return value


def _enough(value: int) -> int:
    if 0 < value < FEWEST_CORRELATED:
        message = f"`correlation` must be 0 (none) or at least {FEWEST_CORRELATED}, found {value}"
        raise PydanticCustomError("correlation", "{message}", {"message": message})
    return value


class DeriveOptions(Options):
    """From the trained policy to one architecture.

    Attributes:
        candidates: architectures that are taken from the policy and ranked with shared weights on the whole
            validation split; where children are trained from scratch, those with the best mean scores.
        proposals: where the candidates come from: ``sample``, what the strategy proposes at its end: draws from the
            policy (paper), or the best that were scored; ``beam``, the most probable architectures of the policy, found
            by beam search, for controllers that offer it (``lstm``). Uniform sampling, for comparison, always draws.
        shortlist: the best of them, which are trained from scratch for a short time; the best of these is the result.
            (The paper: several are sampled, the best on one minibatch is the result.)
        short_epochs: passes over the training data of that short training.
        probes: proposals of a controller's policy, and as many drawn uniformly, that are scored with the same shared
            weights at the end, so that the result says what the policy prefers; none is a candidate. 0 for none. Where
            no weights are shared, there are none.
    """

    candidates: int = Field(default=24, ge=1)
    proposals: Literal["sample", "beam"] = "sample"
    shortlist: int = Field(default=4, ge=1)
    short_epochs: int = Field(default=1, ge=1)
    probes: int = Field(default=12, ge=0)

    @model_validator(mode="after")
    def _shortlist_fits(self) -> Self:
        if self.shortlist > self.candidates:
            message = f"`shortlist` must be at most `candidates`, which is {self.candidates}, found {self.shortlist}"
            inner = ("shortlist",) if "shortlist" in self.model_fields_set else ("candidates",)
            raise PydanticCustomError("shortlist", "{message}", {"message": message, "inner": inner})
        return self


class TrainOptions(Options):
    """The final training, from scratch, of the derived architecture and of everything it is compared with.

    Attributes:
        hidden: features of the network.
        epochs: passes over the training data.
        stack: how the final network differs from that of the search, read with the model of the space's kind; here it
            stays null.
        recipe: how it is trained, read with the recipe model of the task; here it stays null.
    """

    hidden: int = Field(default=128, ge=1)
    epochs: int = Field(default=6, ge=1)
    stack: Any = None
    recipe: Any = None


class CompareOptions(Options):
    """What the result is compared with, each trained as the winner is.

    Attributes:
        random: a baseline whose architectures are drawn at random instead of from the trained policy.
        references: well-known networks of about as many weights, and the small fixed members of the space's family.
        correlation: architectures, spread over all sizes, whose proxies are compared with scores
            after `derive.short_epochs` from scratch: a rank correlation says what proxies are worth. At least 3; 0 for
            none, which is what `nasforge run` takes, where `nasforge compare` takes 12.
    """

    random: bool = True
    references: bool = True
    correlation: Annotated[int, AfterValidator(_enough)] = Field(
        default=0, ge=0, json_schema_extra={"not": {"enum": [*range(1, FEWEST_CORRELATED)]}}
    )


class LatencyOptions(Options):
    """How latency is measured, where a limit or an objective asks for it: evaluations of the final network alone.

    Attributes:
        batch: examples of one evaluation: images, or sequences of ``task.reward_bptt`` words.
        warm_up: evaluations that do not count.
        calls: evaluations of which the median counts.
    """

    batch: int = Field(default=1, ge=1)
    warm_up: int = Field(default=3, ge=0)
    calls: int = Field(default=15, ge=1)


class RunSections(Options):
    """The keys at the top of a file. Tagged sections are read in a second step, with the model of their ``kind``.

    Attributes:
        nasforge: the version of the format.
        name: of the run; part of file names.
        space: the search space.
        task: data, loss, metric and reward.
        plugins: names of installed distributions that the file needs.
        strategy: the search algorithm; a bare name, or a mapping with ``kind``.
        controller: what proposes architectures; by default that of the strategy.
        executor: what runs them; by default that of the strategy.
        derive: from the policy to one architecture.
        train: the final training.
        compare: what the result is compared with.
        limits: bounds that every proposed architecture keeps, for a table on its columns; null for none.
        objectives: what the search is after, such as ``[max accuracy, min parameters]``: the task's metric and at most
            one cost, ``parameters``, ``flops`` or ``latency_ms``, or a column of the table; empty for the metric alone.
        latency: how latency is measured; null for the defaults.
        workers: processes for trainings that do not depend on one another; null for two, or one on a single core.
        seed: of every random stream.
    """

    nasforge: Annotated[int, BeforeValidator(_format)]
    name: Annotated[str, BeforeValidator(_name)]
    space: Any
    task: Any
    plugins: Annotated[tuple[Annotated[str, BeforeValidator(_distribution)], ...], Field(strict=False)] = ()
    strategy: Any = None
    controller: Any = None
    executor: Any = None
    derive: DeriveOptions = DeriveOptions()
    train: TrainOptions = TrainOptions()
    compare: CompareOptions = CompareOptions()
    limits: Any = None
    objectives: Objectives = ()
    latency: LatencyOptions | None = None
    workers: Annotated[int, Field(ge=1)] | None = None
    seed: int = Field(default=0, ge=0)
