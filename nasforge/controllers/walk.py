"""What a policy says along the paths of architectures: their probabilities, and what the loss is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

EXCLUDED = -1e9
"""Logit of options that a decision does not have; finite, so that p log p is 0 there, and its gradient too."""


@dataclass(frozen=True)
class Walk:
    """What the policy says along one path per architecture.

    Attributes:
        indices: int64 ``[count, decisions]``, the option taken, -1 where the decision does not exist.
        log_probabilities: ``[count, decisions, most options]``; about `EXCLUDED` beyond a decision's own
            options.
    """

    indices: Tensor
    log_probabilities: Tensor

    def log_prob(self) -> Tensor:
        """log p(m) = sum of log p(option taken) over the decisions that exist, ``[count]``."""
        taken = self.log_probabilities.gather(2, self.indices.clamp(min=0).unsqueeze(2)).squeeze(2)
        return (taken * (self.indices >= 0)).sum(1)

    def surrogate(self, before: Tensor, advantages: Tensor, clip: float) -> Tensor:
        """min(r A, clamp(r, 1 - clip, 1 + clip) A) of each architecture, ``[count]``, with r = p(m) / p(m) before.

        Args:
            before: ``[count]``, the logarithm of what p(m) was.
            advantages: A, ``[count]``.
            clip: how far from 1 the ratio still counts.
        """
        ratio = (self.log_prob() - before).exp()
        return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)

    def entropy(self) -> Tensor:
        """-sum_j p_j log p_j of each decision, given those before it, in nats; ``[count, decisions]``."""
        entropy = -(self.log_probabilities.exp() * self.log_probabilities).sum(2)
        return entropy * (self.indices >= 0)

    def divergence(self, positions: Tensor, target: float) -> Tensor:
        """KL(Bernoulli(p) || Bernoulli(target)) in nats, ``[count]``: its mean over decisions of two options.

        Args:
            positions: int64, the decisions; p is the probability of the second option. Where none of them exists the
                mean is 0.
            target: within (0, 1).
        """
        log_p = self.log_probabilities[:, positions, :2]
        log_target = log_p.new_tensor([math.log1p(-target), math.log(target)])
        divergence = (log_p.exp() * (log_p - log_target)).sum(2)
        exists = self.indices[:, positions] >= 0
        return (divergence * exists).sum(1) / exists.sum(1).clamp(min=1)
