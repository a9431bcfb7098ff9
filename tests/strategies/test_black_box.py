"""The loop of proposing, scoring and learning: budgets, failures, asking again, and going on exactly anywhere."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pytest
import torch
from helpers import cell

from nasforge.controllers.base import Controller, ControllerReport
from nasforge.controllers.evolution import EvolutionController
from nasforge.controllers.local_search import LocalSearchController
from nasforge.controllers.lstm import LstmController
from nasforge.controllers.options import CONTROLLERS, EvolutionOptions, LocalSearchOptions, LstmOptions
from nasforge.controllers.random import RandomController
from nasforge.errors import RunFailedError
from nasforge.seeds import stream
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.strategies.black_box import Answer, AskAgain, BlackBox, Query

SPACE = cell(4, ops=("tanh", "relu", "identity")).space
CONTROLLER: Mapping[str, Callable[[SearchSpace], Controller]] = {
    "random": lambda space: RandomController(space, seed=0),
    "evolution": lambda space: EvolutionController(space, EvolutionOptions(population=8, sample=3), seed=0),
    "local_search": lambda space: LocalSearchController(space, LocalSearchOptions(starts=3), seed=0),
    "lstm": lambda space: LstmController(space, LstmOptions(units=8, learning_rate=1e-2), seed=0),
}


class AtMostOneTanh:
    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        count = list(architecture.values()).count("tanh")
        return (f"count of tanh: {count} are more than 1",) if count > 1 else ()


class Scripted(Controller):
    """Proposes what it is given, in that order, and keeps what it is told."""

    def __init__(self, proposals: Sequence[Architecture]) -> None:
        super().__init__(SPACE, None, seed=0)
        self.proposals = list(proposals)
        self.told: list[tuple[list[Architecture], list[float]]] = []

    def propose(self, count: int) -> list[Architecture]:
        taken, self.proposals = self.proposals[:count], self.proposals[count:]
        return taken

    def update(self, proposals: Sequence[Architecture], rewards: Sequence[float]) -> ControllerReport:
        self.told.append((list(proposals), list(rewards)))
        return ControllerReport(0.0, 0.0, 0.0, 0.0)

    def state(self) -> Mapping[str, Any]:
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        raise AssertionError("not used")


A, B, C, *_ = SPACE.everything()


def noisy(architecture: Architecture, query: int) -> float:
    """A score with noise that the number of the query decides; one in seven fails."""
    rng = stream(1, "score", query)
    return math.nan if rng.random() < 1 / 7 else list(architecture.values()).count("relu") + rng.gauss(0, 0.3)


def scripted(values: Sequence[float]) -> Callable[[Architecture, int], float]:
    return lambda architecture, query: values[query]


def test_groups_are_proposed_scored_and_told_until_the_budget_is_spent() -> None:
    controller = Scripted([A, B, C, A, B])
    queries = list(BlackBox(controller, scripted([1.0, 2.0, 3.0, 4.0, 5.0]), budget=5, batch=2).queries())
    assert queries == [Query(n, m, n + 1.0, again=False) for n, m in enumerate([A, B, C, A, B])]
    assert controller.told == [([A, B], [1.0, 2.0]), ([C, A], [3.0, 4.0]), ([B], [5.0])]


def test_the_answer_has_the_best_mean_not_the_best_score() -> None:
    search = BlackBox(Scripted([A, B, A, B]), scripted([9.0, 6.0, 1.0, 6.5]), budget=4)
    assert len(list(search.queries())) == 4
    assert search.answer() == Answer(B, 6.25, (6.0, 6.5))
    assert search.archive == {A: [9.0, 1.0], B: [6.0, 6.5]}


def test_failed_queries_cost_and_are_never_told() -> None:
    controller = Scripted([A, B, C, C])
    search = BlackBox(controller, scripted([math.nan, 2.0, math.inf, -math.inf]), budget=4, batch=2)
    list(search.queries())
    assert controller.told == [([B], [2.0])]
    assert (search.asked, search.failed, search.archive) == (4, 3, {B: [2.0]})


def test_a_group_with_too_few_scores_is_not_told() -> None:
    controller = Scripted([A, B, C, A, B])
    search = BlackBox(controller, scripted([1.0, math.nan, 3.0, 4.0, 5.0]), budget=5, batch=2, smallest_group=2)
    list(search.queries())
    assert controller.told == [([C, A], [3.0, 4.0])]
    assert search.archive == {A: [1.0, 4.0], C: [3.0], B: [5.0]}


def test_where_every_query_failed_the_search_says_so() -> None:
    search = BlackBox(Scripted([A, B]), scripted([math.nan] * 3), budget=3, ask_again=AskAgain(1))
    with pytest.raises(RunFailedError, match="none of 2 queries gave a finite score"):
        list(search.queries())
    with pytest.raises(RunFailedError, match="none of 2 queries"):
        search.answer()


def test_asking_again_goes_to_the_one_with_fewest_scores_among_the_best() -> None:
    controller = Scripted([A, B, C])
    values = [9.0, 8.0, 7.0, 1.0, 2.0, 6.0, 6.0]
    search = BlackBox(controller, scripted(values), budget=7, ask_again=AskAgain(4, top=2))
    again = [query for query in search.queries() if query.again]
    # A and B are the best two. A falls to 5: now B and C are, and B falls to 5, too. Of C and A, who stands before B,
    # C has one score; then both have two, and the better one is asked.
    assert [query.architecture for query in again] == [A, B, C, C]
    assert search.archive == {A: [9.0, 1.0], B: [8.0, 2.0], C: [7.0, 6.0, 6.0]}
    assert search.answer().architecture == C
    assert [proposals for proposals, _ in controller.told] == [[A], [B], [C]]


def test_asking_again_takes_its_part_of_the_budget() -> None:
    search = BlackBox(CONTROLLER["random"](SPACE), noisy, budget=50, batch=4, ask_again=AskAgain(12))
    queries = list(search.queries())
    assert [query.number for query in queries] == list(range(50))
    assert [query.again for query in queries] == [False] * 38 + [True] * 12
    assert {query.architecture for query in queries[38:]} <= {query.architecture for query in queries[:38]}
    assert sum(map(len, search.archive.values())) == 50 - search.failed and search.failed > 0


def test_asking_again_corrects_what_was_lucky() -> None:
    """Scores of pure noise: what the archive says of its best is nearer to the truth, which is 0."""

    def noise(architecture: Architecture, query: int) -> float:
        return stream(2, query).gauss(0, 1)

    means = []
    for again in (None, AskAgain(60)):
        search = BlackBox(CONTROLLER["random"](SPACE), noise, budget=200, ask_again=again)
        list(search.queries())
        means.append(search.answer().mean)
    assert means[0] > 2 > 1.3 > means[1]


@pytest.mark.parametrize("budget", [1, 50, 149, 150, 151, 1000])
def test_the_default_asks_again_from_150_queries_on(budget: int) -> None:
    again = AskAgain.for_budget(budget)
    assert again == (None if budget < 150 else AskAgain(budget // 5, top=5))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"budget": 0}, "budget must be at least 1, not 0"),
        ({"batch": 0}, "batch must be at least 1, not 0"),
        ({"smallest_group": 0}, "smallest_group must be"),
        ({"budget": 9, "ask_again": AskAgain(9)}, "asking again takes 9 of 9 queries"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BlackBox(CONTROLLER["random"](SPACE), noisy, **{"budget": 10, **wrong})


@pytest.mark.parametrize("wrong", [(0, 5), (5, 0)])
def test_asking_again_never_or_nobody_is_refused(wrong: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        AskAgain(*wrong)


# Going on ------------------------------------------------------------------------------------------------------------


def test_every_controller_is_tried_here() -> None:
    assert CONTROLLER.keys() == {kind.name for kind in CONTROLLERS}


def search_with(name: str, *, limited: bool = False) -> BlackBox:
    controller = CONTROLLER[name](SPACE.limited(AtMostOneTanh()) if limited else SPACE)
    return BlackBox(controller, noisy, budget=44, batch=5, ask_again=AskAgain(8, top=3), smallest_group=2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("name", CONTROLLER)
def test_a_search_goes_on_exactly_from_between_any_two_queries(name: str, limited: bool) -> None:
    whole = search_with(name, limited=limited)
    queries, states = [], [plain(whole.state())]
    for query in whole.queries():
        queries.append(query)
        states.append(plain(whole.state()))
    whole = search_with(name, limited=limited)
    steps = whole.queries()
    for stop in range(len(states)):
        resumed = search_with(name, limited=limited)
        resumed.load_state(whole.state())
        # Further than the end of the group after the next.
        ahead = list(islice(resumed.queries(), 12))
        # NaN is not equal to itself.
        assert list(map(repr, ahead)) == list(map(repr, queries[stop : stop + 12]))
        assert plain(resumed.state()) == states[min(stop + 12, len(queries))]
        assert plain(whole.state()) == states[stop]
        assert (resumed.asked, resumed.failed) == (
            stop + len(ahead),
            sum(math.isnan(q.score) for q in queries[: resumed.asked]),
        )
        next(steps, None)
    assert resumed.answer() == whole.answer()


def plain(value: Any) -> Any:
    """`value` with tensors as lists."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("name", CONTROLLER)
def test_a_search_keeps_the_limits(name: str) -> None:
    search = search_with(name, limited=True)
    admits = search.controller.space.admits
    assert all(admits(query.architecture) for query in search.queries())
    assert all(map(admits, search.controller.propose(10_000)))


def test_the_loop_does_not_import_torch() -> None:
    code = "import sys, nasforge.strategies.black_box; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
