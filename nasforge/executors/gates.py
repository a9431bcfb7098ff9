"""Soft gates: the weight of every wire from the weights of options.

With probabilities p(option | the decision exists) as weights, a wire's gate is the exact probability of its condition,
because terms exclude one another and decisions are independent. Where a decision exists only under a condition, a term
that reads it must say that condition too. At a vertex (one-hot weights)
every gate is exactly 0 or 1, and the mixture equals the child.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nasforge.graph.supergraph import Supergraph
from nasforge.space.decision import Term


def soft_gates(supergraph: Supergraph, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gates of all templates.

    Args:
        supergraph: the compiled space.
        weights: for each decision, one weight per option ``[n_options]``; usually probabilities.

    Returns:
        For each template, ``[n_wires]``; differentiable with respect to `weights`.
    """
    some = next(iter(weights.values()))
    options = {decision.name: decision.options for decision in supergraph.space.decisions}
    gates: dict[str, Tensor] = {}
    for name, template in supergraph.templates.items():
        per_wire = [
            torch.stack([_term(term, options, weights, some) for term in wire.when.terms]).sum()
            for wire in template.wires
        ]
        gates[name] = torch.stack(per_wire) if per_wire else some.new_zeros(0)
    return gates


def support(gates: Mapping[str, Tensor]) -> dict[str, frozenset[int]]:
    """The wires of each template whose gate is not exactly zero; a gate of zero is never multiplied (0 * inf = NaN)."""
    return {name: frozenset(torch.nonzero(values.detach()).flatten().tolist()) for name, values in gates.items()}


def _term(term: Term, options: Mapping[str, tuple[str, ...]], weights: Mapping[str, Tensor], some: Tensor) -> Tensor:
    """The weight of one term: per decision the sum over the options that its literals leave, multiplied."""
    left: dict[str, set[str]] = {}
    for literal in term:
        allowed = left.setdefault(literal.decision, set(options[literal.decision]))
        if literal.positive:
            allowed &= {literal.option}
        else:
            allowed -= {literal.option}
    value = some.new_ones(())
    for decision, allowed in left.items():
        indices = [i for i, option in enumerate(options[decision]) if option in allowed]
        value = value * weights[decision][indices].sum()
    return value
