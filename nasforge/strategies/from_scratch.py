"""Search by trainings from scratch: each proposal is trained on weights of its own, and its score is learned from.

Regularised evolution (Real et al. 2019) where the controller is ``evolution``, neural architecture search with
reinforcement learning (Zoph and Le 2017) where it is ``lstm``, random search where it is ``random``. The order of
things is that of `nasforge.strategies.black_box`: a training is a query, and the last of many queries go to the best
again, with other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from nasforge.errors import RunFailedError
from nasforge.executors.base import FromScratch
from nasforge.space.architecture import Architecture
from nasforge.strategies.base import Event, Report, Strategy
from nasforge.strategies.black_box import AskAgain, BlackBox, default_batch, update_facts
from nasforge.strategies.children import Children, Found, best_first
from nasforge.strategies.options import BlackBoxOptions


class FromScratchSearch(Strategy):
    """See the module."""

    executor: FromScratch

    _best = -math.inf
    _cause = ""
    _proposed = 0

    @cached_property
    def _search(self) -> BlackBox:
        config: BlackBoxOptions = self.config
        return BlackBox(
            self.controller,
            budget=config.queries,
            batch=config.batch or default_batch(self.smallest_group),
            ask_again=asking_again(config),
            smallest_group=self.smallest_group,
        )

    @cached_property
    def _found(self) -> Found:
        return Found()

    def steps(self) -> Iterator[Sequence[Report]]:
        """See `Strategy`."""
        n, search = self.config.queries, self._search
        steps = self.executor.epochs * self.task.steps_per_epoch(self.recipe)
        children = Children(self, n * steps)
        while not search.done:
            try:
                question = search.ask()
            except RunFailedError as error:
                if search.archive or not self._cause:
                    raise  # proposing failed, not the trainings
                raise self._nothing(error) from None
            begin = partial(self.executor.begin, question.architecture, question.number)
            trained = yield from children.train(begin, steps, f"training proposal {question.number + 1}/{n}")
            score = trained.score
            reward = math.nan if score is None else self.task.reward(score)
            search.tell(reward)
            if score is not None:
                self._found.add(question.architecture, score)
                self._best = max(self._best, reward)
            self._cause = self._cause or trained.cause
            facts = {
                "query": question.number,
                "digest": question.architecture.digest,
                "proxy": None if score is None else score.value,
                "reward": None if score is None else reward,
                "best": self._best if math.isfinite(self._best) else None,
                "epochs": self.executor.epochs,
                "again": question.again,
                **({"failed": trained.cause} if trained.cause else {}),
            }
            reports: list[Report] = [Event("evaluation", facts)]
            if search.updates > self.cost.controller_steps and search.report is not None:
                self.cost.controller_steps = search.updates
                told = {"epoch": 0, **update_facts(search.report, search.updates, self._best)}
                reports.append(Event("controller_step", told))
            yield reports
        try:
            search.answer()
        except RunFailedError as error:
            raise self._nothing(error) from None
        self.scores = self._found.means()

    def _nothing(self, error: RunFailedError) -> RunFailedError:
        return RunFailedError(f"{error}. The first training failed: {self._cause}")

    def propose(self, count: int) -> list[Architecture]:
        """Those with the best mean scores, at the next call those after them."""
        begin, self._proposed = self._proposed, self._proposed + count
        return best_first(self)[begin : begin + count]

    def position(self) -> Mapping[str, Any]:
        """See `Strategy`; a training that is under way begins again."""
        return {
            "search": self._search.state(),
            "found": self._found.state(),
            "best": self._best,
            "cause": self._cause,
        }

    def load_position(self, position: Mapping[str, Any]) -> None:
        """See `Strategy`."""
        self._search.load_state(position["search"])
        self._found.load_state(self, position["found"])
        self._best, self._cause = position["best"], position["cause"]


def asking_again(config: BlackBoxOptions) -> AskAgain | None:
    """What the option says of scores that differ from query to query."""
    if config.ask_again is None:
        return AskAgain.for_budget(config.queries)
    return AskAgain(config.ask_again) if config.ask_again else None
