"""What a user knows before the search: weights that are added to the logits of the policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from nasforge.errors import suggest
from nasforge.space.decision import Decision
from nasforge.space.search_space import SearchSpace

if TYPE_CHECKING:
    from nasforge.controllers.options import LstmOptions


def log_prior(decision: Decision, options: LstmOptions) -> list[float] | None:
    """What is added to the logit of each option of `decision`; None where that is nothing.

    It is the sum of what is said about its role, about its own name, and, of an input, -recency_prior * d^2 with d = 1
    for the newest option.
    """
    count = len(decision.options)
    weights = [0.0] * count
    if decision.role == "input":
        weights = [-options.recency_prior * (count - place) ** 2 for place in range(count)]
    for said in {decision.role, decision.name}:
        of_options = options.prior.get(said, {})
        weights = [
            weight + of_options.get(option, 0.0) for weight, option in zip(weights, decision.options, strict=True)
        ]
    return weights if any(weights) else None


def refusal(options: LstmOptions, space: SearchSpace) -> dict[tuple[str, ...], str]:
    """What means nothing in `space`: keys of the ``controller`` block, each with a sentence."""
    refused: dict[tuple[str, ...], str] = {}
    if options.skip_target is not None and not bits(space.decisions):
        refused["skip_target",] = (
            f"controller.skip_target is {options.skip_target:g}, but the space has no decision of role 'bit', "
            "nothing that can be skipped; set skip_target: null"
        )
    known = _options_by_key(space.decisions)
    roles = sorted({decision.role for decision in space.decisions})
    for key, weights in options.prior.items():
        if key not in known:
            refused["prior", key] = (
                f"controller.prior: the space has no decision or role '{key}'.{suggest(key, known)} "
                f"Its roles are {', '.join(roles)}; nasforge show lists its decisions"
            )
            continue
        for option in weights:
            if option not in known[key]:
                refused["prior", key, option] = (
                    f"controller.prior: '{key}' has no option '{option}'.{suggest(option, known[key])} "
                    f"It has {', '.join(known[key])}"
                )
    return refused


def bits(decisions: Sequence[Decision]) -> list[int]:
    """The positions of the decisions about skip connections."""
    return [
        position for position, decision in enumerate(decisions) if decision.role == "bit" and len(decision.options) == 2
    ]


def _options_by_key(decisions: Sequence[Decision]) -> Mapping[str, Sequence[str]]:
    found: dict[str, dict[str, None]] = {}
    for decision in decisions:
        for key in (decision.role, decision.name):
            found.setdefault(key, {}).update(dict.fromkeys(decision.options))
    return {key: list(options) for key, options in found.items()}
