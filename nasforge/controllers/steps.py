"""What the LSTM policy makes of a decision list, and where it is on the way through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nasforge.space.decision import Condition, Decision


@dataclass(frozen=True)
class Step:
    """One decision, with the names of its space replaced by rows and positions.

    Attributes:
        terms: the condition as products of (position, option, positive); None where the decision always exists.
        rows: the rows of its options in the role's head; unused by role ``input``.
        log_prior: ``[options]``, added to the logits; None where it is zero.
    """

    decision: Decision
    terms: tuple[tuple[tuple[int, int, bool], ...], ...] | None
    rows: slice | Tensor
    log_prior: Tensor | None

    def exists(self, chosen: Sequence[Tensor], count: int) -> Tensor | None:
        """Where the decision exists, bool ``[count]``, or None for everywhere.

        Args:
            chosen: the indices ``[count]`` of all decisions before, -1 where they do not exist.
            count: of architectures.
        """
        if self.terms is None:
            return None
        everywhere = torch.ones(count, dtype=torch.bool, device=chosen[0].device if chosen else None)
        exists = ~everywhere
        for term in self.terms:
            holds = everywhere
            for position, option, positive in term:
                index = chosen[position]
                holds = holds & ((index == option) if positive else (index != option) & (index >= 0))
            exists = exists | holds
        return exists


@dataclass(frozen=True)
class Layout:
    """All decisions of a plain policy at once.

    Attributes:
        rows: ``[decisions, most options]``: the row of each option in the head of its decision's role.
        excluded: bool ``[decisions, 1, most options]``: where a decision has no option.
        log_prior: ``[decisions, 1, most options]``, added to the logits; None where it is zero.
        places: by role the positions of its decisions.
        order: where each decision is found when those of one role stand after those of another.
    """

    rows: Tensor
    excluded: Tensor
    log_prior: Tensor | None
    places: Mapping[str, Tensor]
    order: Tensor


@dataclass
class Progress:
    """A policy on its way through the decisions, for several architectures at once; tensors are ``[count, units]``.

    Attributes:
        hidden: h of the LSTM.
        cell: c of the LSTM.
        following: its next input.
        anchors: by owner, h at its last decision so far, or what was learned for it.
        keys: W1 a of anchors that were read.
        chosen: the indices ``[count]`` of all decisions so far, -1 where they do not exist.
    """

    hidden: Tensor
    cell: Tensor
    following: Tensor
    anchors: dict[str, Tensor]
    keys: dict[str, Tensor] = field(default_factory=dict)
    chosen: list[Tensor] = field(default_factory=list)

    def rows(self, rows: Tensor) -> Progress:
        """That of some architectures, int64 ``[count]``, which may be there several times."""
        return Progress(
            self.hidden[rows],
            self.cell[rows],
            self.following[rows],
            {name: anchor[rows] for name, anchor in self.anchors.items()},
            {name: key[rows] for name, key in self.keys.items()},
            [index[rows] for index in self.chosen],
        )


def labels_by_role(decisions: Sequence[Decision]) -> dict[str, dict[str, int]]:
    """For each role with a vocabulary the row of every option label."""
    labels: dict[str, dict[str, int]] = {}
    for decision in decisions:
        if decision.role != "input":
            rows = labels.setdefault(decision.role, {})
            for option in decision.options:
                rows.setdefault(option, len(rows))
    return labels


def sources_to_learn(decisions: Sequence[Decision]) -> tuple[str, ...]:
    """The options of input decisions that may have no hidden state yet when they are read, sorted."""
    decided: set[str] = set()
    sources: set[str] = set()
    for decision in decisions:
        if decision.role == "input":
            sources.update(name for name in decision.options if name not in decided)
        if () in decision.when.terms:
            decided.add(decision.owner)
    return tuple(sorted(sources))


def compile_condition(
    when: Condition, decisions: Sequence[Decision]
) -> tuple[tuple[tuple[int, int, bool], ...], ...] | None:
    """See `Step.terms`."""
    if () in when.terms:
        return None
    place = {decision.name: (position, decision.options) for position, decision in enumerate(decisions)}
    return tuple(
        tuple(
            (place[literal.decision][0], place[literal.decision][1].index(literal.option), literal.positive)
            for literal in term
        )
        for term in when.terms
    )
