"""What the policy of a search prefers at its end, on its own shared weights and on those of random search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from safetensors.torch import load, save

from nasforge.executors.base import Executor
from nasforge.graph.canonical import canonical_digest
from nasforge.run.keeper import Keeper
from nasforge.run.statistics import mean_of
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.strategies import diagnosis
from nasforge.strategies.base import Strategy, Tick
from nasforge.strategies.derive import Candidate, rank
from nasforge.tasks.base import Score

if TYPE_CHECKING:
    from nasforge.run.jobs import Workshop

SHOWN = 100
"""Proposals at the end of a search of which options are counted."""

WEIGHTS = "shared_weights.safetensors"
"""What the random arm leaves for `on_random_weights`."""

_NONE: Mapping[Architecture, Score] = MappingProxyType({})


def preferred(
    shop: Workshop, strategy: Strategy, executor: Executor, watch: diagnosis.Watch, emit: Keeper
) -> dict[str, Any]:
    """What the policy proposes at the end, and what that is worth beside uniform proposals on the same weights.

    Scored for this alone: nothing of it is a candidate. Proposals are taken as they come, so that their mean is that of
    the policy: what it repeats counts as often.
    """
    space, n = strategy.space, shop.spec.derive.probes
    proposals = strategy.controller.propose(SHOWN)
    rng = stream(shop.spec.seed, "uniform probe")
    probes = {
        "policy": strategy.controller.propose(n) if n else [],
        "uniform": [space.sample(rng) for _ in range(n)],
    }
    by_policy = getattr(strategy.config, "sampler", "uniform") in ("policy", "epsilon")
    return {
        "by_option": diagnosis.options(space, proposals),
        "by_role": diagnosis.by_role(space, proposals),
        "alarms": watch.alarms(proposals),
        "probes": {name: [dict(architecture) for architecture in own] for name, own in probes.items()},
        "trained_by_policy": by_policy,
        **_worth(shop, executor, probes, emit, "the same shared weights", by_policy, strategy.scores),
    }


def on_random_weights(shop: Workshop, executor: Executor, emit: Keeper) -> dict[str, Any]:
    """The same proposals, scored with the weights of the random arm, which no policy has helped to train.

    Args:
        shop: whose arms have finished.
        executor: fresh; its weights are replaced.
        emit: hears how far it is.
    """
    executor.load_values(load(shop.directory.read_job_file("baseline", WEIGHTS)))
    space = shop.search_graph.space
    probes = {
        name: [space.architecture(decisions) for decisions in own]
        for name, own in shop.directory.read_job_result("search")["policy"]["probes"].items()
    }
    return _worth(shop, executor, probes, emit, "the shared weights of random search", False, _NONE)


def weights_file(executor: Executor) -> bytes:
    """The shared weights as the content of `WEIGHTS`."""
    return save(dict(executor.values()))


def proxies(
    shop: Workshop,
    executor: Executor,
    architectures: Sequence[Architecture],
    emit: Keeper,
    title: str,
    known: Mapping[Architecture, Score] = _NONE,
) -> dict[Architecture, Score]:
    """The finite scores of `architectures` on the whole validation split; each is scored once."""
    distinct = [(each, canonical_digest(shop.search_graph, each)) for each in dict.fromkeys(architectures)]
    scored: list[Candidate] = []
    for report in rank(distinct, executor, shop.task, scored, known):
        if isinstance(report, Tick):
            emit(Tick(f"{title} (proxy)", report.done, report.total, report.facts))
    return {candidate.architecture: candidate.proxy for candidate in scored}


def _worth(
    shop: Workshop,
    executor: Executor,
    probes: Mapping[str, Sequence[Architecture]],
    emit: Keeper,
    weights: str,
    trained_by_policy: bool,
    known: Mapping[Architecture, Score],
) -> dict[str, Any]:
    """Rewards and proxies of both sets of proposals, and a sentence about them."""
    scores: dict[str, list[Score]] = {}
    for name, own in probes.items():
        found = proxies(shop, executor, own, emit, f"proposals of the {name} sampler", known)
        scores[name] = [found[architecture] for architecture in own if architecture in found]
    rewards = {name: diagnosis.rewards([shop.task.reward(score) for score in own]) for name, own in scores.items()}
    gain = diagnosis.gain(rewards["policy"], rewards["uniform"])
    text = diagnosis.in_words(gain, weights=weights, trained_by_policy=trained_by_policy)
    others = [str(each) for each in shop.spec.objectives if each.name != shop.task.metric.name]
    if text and others:
        text += f" The policy was taught {', '.join(others)}, too, which these rewards leave out."
    return {
        "gain": gain,
        "proxy": {name: asdict(mean_of([s.value for s in own])) if own else None for name, own in scores.items()},
        "text": text,
    }
