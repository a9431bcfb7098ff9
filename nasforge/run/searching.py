"""The job of an arm: search, propose candidates, rank them, and say what the policy prefers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from nasforge.components import ControllerKind
from nasforge.controllers.base import Controller
from nasforge.errors import RunFailedError
from nasforge.executors.base import Executor, FromScratch
from nasforge.graph.canonical import canonical_digest
from nasforge.resolve import resolve
from nasforge.run.front import aiming, shortlist_and_front
from nasforge.run.keeper import Keeper
from nasforge.run.plan import Job, judges_policy
from nasforge.run.policy import WEIGHTS, preferred, proxies, weights_file
from nasforge.seeds import derive
from nasforge.space.architecture import Architecture
from nasforge.strategies import diagnosis
from nasforge.strategies.base import Strategy
from nasforge.strategies.derive import Candidate, distinct, drawn, rank

if TYPE_CHECKING:
    from nasforge.run.jobs import Workshop


COPIES = 8
"""The most probable architectures that are asked for, for each candidate that a beam is to give."""


def search(shop: Workshop, job: Job, emit: Keeper) -> dict[str, bytes]:
    """Do the search of an arm; the files that it leaves."""
    spec, seed, task = shop.spec, derive(shop.spec.seed, job.arm), shop.task
    uniform = job.arm == "baseline"
    executor = search_executor(shop)
    config = spec.strategy_kind.uniform(spec.strategy) if uniform else spec.strategy
    kind, options = _controller_of(shop, uniform)
    strategy: Strategy = resolve(spec.strategy_kind.build)(
        config,
        space=shop.search_graph.space,
        controller=_controller(shop, uniform, seed),
        executor=executor,
        task=task,
        recipe=spec.search_recipe,
        seed=seed,
        smallest_group=kind.smallest_group(options),
    )
    group = spec.strategy_kind.group(config)
    watch = diagnosis.Watch(strategy.space, spec.strategy_kind.evaluations(config) // group if group else 0)
    kept = emit.restored()
    if kept is not None:
        strategy.load_state(kept)
    for event in emit.events:
        watch.see(event)
    for reports in strategy.steps():
        for report in reports:
            watch.see(report)
            emit(report)
        emit.step(strategy.state)
    # What follows has no steps: stopped in it, a run comes back to here.
    emit.keep(strategy.state)
    per_candidate, count = task.split_items("valid"), spec.derive.candidates
    if isinstance(executor, Executor):
        # Calibration is part of what ranking one candidate costs.
        per_candidate += executor.calibration_items()
        count += _extra_candidates(shop, per_candidate) if uniform else 0
    candidates = distinct(_proposals(shop, strategy, count, uniform), _canonical(shop), count)
    ranking: list[Candidate] = []
    for report in rank(candidates, executor, task, ranking, strategy.scores):
        emit(report)
    if not ranking:
        raise RunFailedError("no candidate has a finite proxy score; lower executor.recipe.learning_rate")
    shortlist, front = ranking[: spec.derive.shortlist], None
    if len(spec.objectives) > 1:
        shortlist, front = shortlist_and_front(shop, strategy, ranking, partial(_facts, shop))
    result = {
        "data": dict(task.facts()),
        "cost": asdict(strategy.cost),
        "ranked": len(ranking),
        "ranked_items": sum(architecture not in strategy.scores for architecture, _ in candidates) * per_candidate,
        "shortlist": [_facts(shop, candidate) for candidate in shortlist],
        "pareto": front,
        "largest": _facts(shop, max(ranking, key=lambda candidate: _parameters(shop, candidate))),
    }
    files: dict[str, bytes] = {}
    if isinstance(executor, Executor):
        if group and spec.controller_kind.policy:
            result["policy"] = preferred(shop, strategy, executor, watch, emit)
        if spec.compare.correlation:
            result["sample"] = _sample(shop, strategy, executor, emit)
        if uniform and judges_policy(spec):
            # With these weights the proposals of the policy are judged, too, which it has not helped to train.
            files[WEIGHTS] = weights_file(executor)
    return {**files, "result.json": (json.dumps(result, indent=2, allow_nan=False) + "\n").encode()}


def _proposals(shop: Workshop, strategy: Strategy, count: int, uniform: bool) -> Iterable[Architecture]:
    """What candidates are chosen from, as ``derive.proposals`` says; of uniform sampling nothing is more likely."""
    if shop.spec.derive.proposals == "sample" or uniform:
        return drawn(strategy.propose, count)
    # Isomorphic copies are all likely: some more are needed.
    likely = strategy.controller.most_likely(COPIES * count)
    if not likely:
        raise RunFailedError(
            "none of the most probable architectures of the policy is within the limits; set derive.proposals: sample"
        )
    return likely


def search_executor(shop: Workshop) -> Executor | FromScratch:
    """The executor of a search, before its first step."""
    spec = shop.spec
    executor: Executor | FromScratch = resolve(spec.executor_kind.build)(
        shop.search_graph,
        shop.operations,
        shop.task,
        spec.search_recipe,
        spec.executor,
        # Both arms start from the same weights: what differs between them is the search alone.
        seed=derive(spec.seed, "search weights"),
        device=shop.device,
        backend=shop.backend,
    )
    return executor


def _sample(shop: Workshop, strategy: Strategy, executor: Executor, emit: Keeper) -> list[dict[str, Any]]:
    """The proxy of every architecture of the sample, None where it is not finite; nothing of it is a candidate."""
    members = shop.sample
    found = proxies(shop, executor, [member.architecture for member in members], emit, "the sample", strategy.scores)
    return [
        {
            "digest": member.architecture.digest,
            "canonical_digest": member.canonical_digest,
            "decisions": dict(member.architecture),
            "parameters": member.parameters,
            "proxy": found[member.architecture].value if member.architecture in found else None,
        }
        for member in members
    ]


def _controller_of(shop: Workshop, uniform: bool) -> tuple[ControllerKind, Any]:
    kind = shop.plugins.catalogue.controllers["random"] if uniform else shop.spec.controller_kind
    return kind, kind.config() if uniform else shop.spec.controller


def _controller(shop: Workshop, uniform: bool, seed: int) -> Controller:
    kind, config = _controller_of(shop, uniform)
    # Every rank has its own, and all must draw the same: some sums on CUDA differ in the last digit.
    device = shop.device if shop.team.size == 1 else "cpu"
    controller: Controller = resolve(kind.build)(
        shop.search_graph.space, config, seed=derive(seed, "controller"), device=device
    )
    return controller if uniform else aiming(shop, controller)


def _extra_candidates(shop: Workshop, per_candidate: int) -> int:
    """Candidates that can be ranked with as many items as the rewards of the other arm read (rounded down)."""
    kind = shop.spec.strategy_kind
    evaluations = kind.evaluations(shop.spec.strategy)
    if kind.whole_split:
        # The other arm ranks what it has scored.
        return max(0, evaluations - shop.spec.derive.candidates)
    return evaluations * shop.task.minibatch_items() // per_candidate


def _canonical(shop: Workshop) -> Callable[[Architecture], str]:
    return lambda architecture: canonical_digest(shop.search_graph, architecture)


def _parameters(shop: Workshop, candidate: Candidate) -> int:
    """Weights of the final network, the task's own layers apart."""
    return shop.meter.count(candidate.architecture).parameters


def _facts(shop: Workshop, candidate: Candidate) -> Mapping[str, Any]:
    return {
        "digest": candidate.architecture.digest,
        "canonical_digest": candidate.canonical_digest,
        "decisions": dict(candidate.architecture),
        "proxy": candidate.proxy.value,
        **({"latency_ms": shop.latency(candidate.architecture)} if shop.spec.times else {}),
    }
