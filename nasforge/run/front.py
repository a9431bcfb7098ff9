"""What a search with two objectives leaves: the front of all that it scored on the whole validation split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasforge.controllers.aiming import AimingController
from nasforge.controllers.base import Controller
from nasforge.controllers.pareto import spread
from nasforge.graph.canonical import canonical_digest
from nasforge.run.pareto import Scored, front_of, metric_first, vector, worst_of
from nasforge.strategies.base import Strategy
from nasforge.strategies.derive import Candidate

if TYPE_CHECKING:
    from nasforge.run.jobs import Workshop


def aiming(shop: Workshop, controller: Controller) -> Controller:
    """The controller, which learns from all objectives of the run where it has several."""
    others = [each for each in shop.spec.objectives if each.name != shop.task.metric.name]
    if not others:
        return controller
    return AimingController(controller, lambda m: tuple(each.toward_higher(shop.cost(each.name, m)) for each in others))


def scored_by(shop: Workshop, strategy: Strategy, ranking: Sequence[Candidate]) -> list[Candidate]:
    """The ranked candidates, and what the search scored as they are, without isomorphic copies."""
    found = {each.canonical_digest: each for each in ranking}
    for architecture, score in strategy.scores.items():
        digest = canonical_digest(shop.search_graph, architecture)
        if digest not in found and math.isfinite(score.value):
            found[digest] = Candidate(architecture, digest, score)
    return list(found.values())


def shortlist_and_front(
    shop: Workshop, strategy: Strategy, ranking: Sequence[Candidate], facts: Any
) -> tuple[list[Candidate], dict[str, Any]]:
    """What is trained, evenly spread over the front and then by rank, and what the result says of the front.

    Args:
        shop: of the run.
        strategy: which has searched.
        ranking: the candidates, best first.
        facts: ``facts(candidate)``: what is told of one.
    """
    task = shop.task
    objectives = metric_first(shop.spec.objectives, task.metric.name)
    cost = objectives[1].name
    candidates = {each.architecture.digest: each for each in scored_by(shop, strategy, ranking)}

    def values(candidate: Candidate) -> Mapping[str, float]:
        return {task.metric.name: candidate.proxy.value, cost: shop.cost(cost, candidate.architecture)}

    scored = [Scored(facts(each), values(each)) for each in candidates.values()]
    front = front_of(objectives, scored)
    places = spread([vector(objectives, each.values) for each in front], shop.spec.derive.shortlist)
    chosen = [candidates[front[place].facts["digest"]] for place in places]
    chosen += [each for each in ranking if each not in chosen][: shop.spec.derive.shortlist - len(chosen)]
    told = {
        "scored": len(scored),
        "worst": worst_of(objectives, [each.values for each in scored]),
        "front": [each.plain() for each in front],
    }
    return chosen, told
