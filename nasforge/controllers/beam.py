"""Beam search over the decisions of the policy: its most probable architectures, as far as one can look."""

from __future__ import annotations

import torch
from torch import Tensor

from nasforge.controllers.policy import LstmPolicy

SMALLEST = 256
"""A width that costs little, whatever few architectures are asked for."""


def beam(policy: LstmPolicy, width: int) -> Tensor:
    """Up to `width` of the most probable assignments, none twice, as indices ``[found, decisions]``; best first.

    After each decision the `width` most probable beginnings are kept. What is found is thus exact where never more than
    `width` beginnings are possible, and else may lack assignments that begin badly and end well. A decision that does
    not exist in a beginning continues it in one way, at probability 1.

    Args:
        policy: over any decisions.
        width: at least 1.
    """
    progress = policy.begin(1)
    log_prob = progress.hidden.new_zeros(1)
    for step in policy.steps:
        count, options = len(log_prob), len(step.decision.options)
        ahead, logits = policy.look(progress, step)
        scores = log_prob.unsqueeze(1) + logits.log_softmax(1)
        exists = step.exists(progress.chosen, count)
        if exists is not None:
            one_way = torch.full_like(scores, -torch.inf)
            one_way[:, 0] = log_prob
            scores = torch.where(exists.unsqueeze(1), scores, one_way)
        ordered, place = scores.flatten().sort(descending=True, stable=True)
        kept = place[ordered > -torch.inf][:width]
        parents, index = kept // options, kept % options
        log_prob = scores.flatten()[kept]
        progress = progress.rows(parents)
        ahead = ahead[0][parents], ahead[1][parents]
        policy.take(progress, step, ahead, index, None if exists is None else exists[parents])
    if not progress.chosen:
        return torch.zeros(1, 0, dtype=torch.int64)
    return torch.stack(progress.chosen, 1)
