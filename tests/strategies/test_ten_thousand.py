"""Ten thousand proposals of every strategy, on each kind of networks and on a table: nothing outside the limits is
trained, scored or answered, although what is rewarded lies outside.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
import torch
from planted import BLOCKS
from random_specs import CATALOGUE, KINDS, declared, supergraph_of

from nasforge.controllers.aiming import AimingController
from nasforge.controllers.base import Controller
from nasforge.controllers.evolution import EvolutionController
from nasforge.controllers.local_search import LocalSearchController
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import LstmOptions
from nasforge.controllers.random import RandomController
from nasforge.data.table import save_table
from nasforge.graph.count import Meter
from nasforge.graph.limits import Bound, Bounds, LimitRule
from nasforge.run.columns import ColumnRule
from nasforge.run.latency import LatencyRule
from nasforge.space.architecture import Architecture
from nasforge.space.decision import Decision
from nasforge.space.search_space import SearchSpace
from nasforge.strategies import weights
from nasforge.strategies.black_box import AskAgain, BlackBox
from nasforge.strategies.enas import Enas
from nasforge.strategies.one_shot import OneShot
from nasforge.strategies.options import EnasOptions, OneShotOptions
from nasforge.tasks.base import Score

N = 10_000
GROUP = 50

CONTROLLERS: Mapping[str, Callable[[SearchSpace], Controller]] = {
    "random": lambda space: RandomController(space, seed=3),
    "evolution": lambda space: EvolutionController(space, seed=3),
    "local_search": lambda space: LocalSearchController(space, seed=3),
    "lstm": lambda space: LstmController(space, LstmOptions(units=8, learning_rate=5e-4), seed=3),
}


class Limited(NamedTuple):
    """A space within limits, what is within by counting alone, and what is rewarded: to be as large as can be."""

    space: SearchSpace
    within: frozenset[Architecture]
    size: Mapping[Architecture, float]


@cache
def networks(kind: str) -> Limited:
    """Parameters, FLOPs and a latency (made up from the digest) each leave about two thirds."""
    block = BLOCKS[kind]
    declared_kind, config = declared(block)
    graph, shapes = supergraph_of(block, "final"), KINDS[kind].shapes
    said = shapes(config) if shapes is not None else {"inputs": (6,), "state": (6,), "mask": (6,)}
    operations = CATALOGUE.operations
    meter = Meter(graph, operations, lambda choices: said)
    everything = graph.space.everything()
    counts = {each: meter.count(each) for each in everything}

    def third(values: list[int]) -> float:
        return sorted(values)[2 * len(values) // 3]

    def latency(architecture: Mapping[str, str]) -> float:
        digest = hashlib.sha256(repr(tuple(architecture.items())).encode()).digest()
        return digest[0] / 64

    flops = Bound(most=third([each.flops for each in counts.values()]))
    several = len({each.parameters for each in counts.values()}) > 1
    parameters = Bound(most=third([each.parameters for each in counts.values()])) if several else None
    rule = LimitRule(Bounds(parameters=parameters, flops=flops), graph, operations, lambda choices: said)
    limited = graph.space.limited(LatencyRule(Bound(most=2.5), rule, latency))
    within = frozenset(
        each
        for each, count in counts.items()
        if count.flops <= (flops.most or 0)
        and (parameters is None or count.parameters <= (parameters.most or 0))
        and latency(each) <= 2.5
    )
    assert 0.1 < len(within) / len(everything) < 0.7
    assert declared_kind.name == kind
    return Limited(limited, within, {each: float(count.flops) for each, count in counts.items()})


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Limited:
    architectures = np.array(list(np.ndindex(3, 3, 3, 3, 3, 3)))
    params = architectures @ np.array([1, 2, 4, 8, 16, 32]) * 1000 + 500
    file = tmp_path_factory.mktemp("table") / "t.npz"
    made = save_table(
        file, architectures=architectures, scores=params[:, None] / 1e3, name="t", metric="m", direction="max",
        columns={"params": params},
    )  # fmt: skip
    space = SearchSpace(Decision(f"d{n}", ("a", "b", "c"), "op", f"d{n}") for n in range(6))
    limited = space.limited(ColumnRule({"params": Bound(10_000, 60_000)}, made, space))
    size = {each: float(params[made.row(space.encode(each))]) for each in space.everything()}
    within = frozenset(each for each, number in size.items() if 10_000 <= number <= 60_000)
    assert 0.2 < len(within) / len(size) < 0.6
    return Limited(limited, within, size)


class FakeTask:
    """A score for what an executor was asked to make."""

    metric = SimpleNamespace(name="m", direction="max")
    team = SimpleNamespace(size=1)

    def __init__(self, size: Mapping[Architecture, float]) -> None:
        self._size = size

    def steps_per_epoch(self, recipe: Any) -> int:
        return 1

    def scores(self, n: int, score: Callable[[int], Score]) -> list[Score]:
        return [score(i) for i in range(n)]

    def score_minibatch(self, network: Any, index: int, seed: int) -> Score:
        return Score(self._size[network.architecture], 0.0, 1)

    def evaluate(self, network: Any, split: str, *, exact: bool) -> Score:
        return self.score_minibatch(network, 0, 0)

    def reward(self, score: Score) -> float:
        return score.value


class FakeExecutor:
    """Remembers every architecture that a network is asked for."""

    def __init__(self) -> None:
        self.seen: list[Architecture] = []

    def network(self, architecture: Architecture) -> Any:
        self.seen.append(architecture)
        return SimpleNamespace(
            architecture=architecture, core=SimpleNamespace(modes=None, code=None), computing=nullcontext
        )

    calibrated = network

    def calibration_items(self) -> int:
        return 0


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weight steps that train nothing, on one thread."""

    def epoch(self: Any, number: int, sampler: Any) -> Iterator[Any]:
        for _ in range(N // 2 // GROUP):
            for architecture in sampler.propose(GROUP):
                self._strategy.executor.network(architecture)
        yield from ()

    monkeypatch.setattr(weights, "Trainer", lambda *args, **kwargs: None)
    monkeypatch.setattr(weights.WeightPhase, "epoch", epoch)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def parts(limited: Limited, controller: Controller) -> dict[str, Any]:
    task, executor = FakeTask(limited.size), FakeExecutor()
    return {
        "space": limited.space, "controller": controller, "executor": executor, "task": task, "recipe": None, "seed": 1
    }  # fmt: skip


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize(
    ("sampler", "controller"),
    [("policy", "lstm"), ("uniform", "random"), ("epsilon", "evolution"), ("fair", "local_search")],
)
def test_enas_trains_scores_and_proposes_nothing_outside(kind: str, sampler: str, controller: str) -> None:
    limited = networks(kind)
    config = EnasOptions(
        epochs=1, warmup_epochs=0, sampler=cast(Any, sampler), controller_steps=N // 2 // GROUP,
        candidates_per_step=GROUP,
    )  # fmt: skip
    given = parts(limited, CONTROLLERS[controller](limited.space))
    search = Enas(config, **given)
    for _ in search.search():
        pass
    seen = [*given["executor"].seen, *search.propose(100)]
    assert len(seen) == N + 100 and limited.within.issuperset(seen)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("name", CONTROLLERS)
def test_one_shot_searches_score_and_propose_nothing_outside(kind: str, name: str, several: bool) -> None:
    limited = networks(kind)
    controller = CONTROLLERS[name](limited.space)
    if several:
        controller = AimingController(controller, lambda each: (-limited.size[each],))
    given = parts(limited, controller)
    n = N // 2
    search = OneShot(cast(Any, OneShotOptions(epochs=1, evaluations=n, batch=GROUP)), **given)
    for _ in search.search():
        pass
    proposed = search.propose(200)
    assert search.cost.evaluations == n and limited.within.issuperset([*given["executor"].seen, *proposed])
    # The search goes where it is rewarded, up to the limits.
    if name in ("evolution", "local_search") and not several:
        best = statistics.fmean(limited.size[each] for each in proposed[:20])
        assert best > statistics.fmean(limited.size[each] for each in limited.within)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", CONTROLLERS)
def test_queries_of_a_table_are_within_its_limits(name: str, several: bool, table: Limited) -> None:
    controller = CONTROLLERS[name](table.space)
    if several:
        controller = AimingController(controller, lambda each: (-table.size[each],))
    search = BlackBox(
        controller, lambda each, query: table.size[each], budget=N, batch=GROUP, smallest_group=2,
        ask_again=AskAgain(100),
    )  # fmt: skip
    asked = [query.architecture for query in search.queries()]
    assert len(asked) == N and table.within.issuperset([*asked, search.answer().architecture])


def test_the_limits_of_this_file_leave_out_what_is_rewarded_most(table: Limited, tmp_path: Path) -> None:
    for limited in (*map(networks, BLOCKS), table):
        assert max(limited.size.values()) > max(limited.size[each] for each in limited.within)
