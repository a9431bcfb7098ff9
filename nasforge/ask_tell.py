"""A search whose loop the user owns: ask for architectures, score them in any way, tell the scores.

    search = AskTell("spaces/digits_macro.yaml", controller="evolution", seed=0)
    for _ in range(50):
        (architecture,) = search.ask()
        search.tell(architecture, score(architecture))
    print(search.best().architecture)

`nasforge.strategies.black_box` is the same where nasforge owns the loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from nasforge.controllers.base import Controller
from nasforge.controllers.limited import within_limits
from nasforge.errors import UsageError, suggest
from nasforge.plugins import Plugins, build_plugins
from nasforge.resolve import resolve
from nasforge.run.columns import compile_within
from nasforge.seeds import derive
from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.spec.run_spec import load_space_spec
from nasforge.strategies.black_box import Answer, answer_of, archive_state, default_batch, load_archive


class AskTell:
    """Asks a controller, and tells it scores in groups.

    `ask` and `tell` may be called in any order and number: several architectures may be asked for before any is told,
    what was asked for need not be told, and what is told need not have been asked for.

    Attributes:
        space: the decisions; `tell` takes its architectures.
        controller: proposes within the limits of the space.
        asked: how many architectures were asked for.
        told: how many scores were told.
        failed: how many of those were not finite.
        archive: every architecture with a finite score, in the order of the first ones, with all its scores.
    """

    def __init__(
        self,
        space: SearchSpace | Path | str,
        controller: str = "evolution",
        *,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        direction: Literal["max", "min"] = "max",
        group: int | None = None,
        plugins: Plugins | None = None,
    ) -> None:
        """Prepare a search.

        Args:
            space: the decisions, or the path of a YAML file; of that only ``space``, ``let`` and ``limits`` are used,
                and the table that these are about.
            controller: its name; those of installed plugins can be named, too.
            seed: derives everything random.
            options: of the controller, as under ``controller`` in YAML.
            direction: whether higher (``max``) or lower (``min``) scores are better.
            group: how many finite scores are told the controller at a time; None for what fits its kind, 1 or 5.
            plugins: what names stand for; None for what is built in and installed.

        Raises:
            UsageError: there is no such controller, it learns from larger groups, or the file limits the latency.
            SpecError: the file has faults.
            pydantic.ValidationError: an option is not of the controller.
        """
        plugins = plugins or build_plugins()
        known = plugins.catalogue.controllers
        if controller not in known:
            raise UsageError(
                f"there is no controller '{controller}'.{suggest(controller, known)} Known here: {', '.join(known)}"
            )
        if not isinstance(space, SearchSpace):
            spec = load_space_spec(Path(space), plugins)
            if spec.limits is not None and spec.limits.latency_ms is not None:
                raise UsageError(f"{space}: limits.latency_ms is measured by `nasforge run` only; leave it out here")
            space = compile_within(spec, "search", plugins.catalogue.operations, Path(space).resolve().parent).space
        kind = known[controller]
        tagged = {"kind": controller} if "kind" in kind.config.model_fields else {}
        config = kind.config.model_validate({**(options or {}), **tagged})
        smallest = kind.smallest_group(config)
        self._group = default_batch(smallest) if group is None else group
        if self._group < smallest:
            raise UsageError(f"'{controller}' learns from groups of at least {smallest}, not {self._group}")
        self.space = space
        own: Controller = resolve(kind.build)(space, config, seed=derive(seed, "controller"))
        self.controller = within_limits(own)
        self.asked = self.told = self.failed = 0
        self.archive: dict[Architecture, list[float]] = {}
        self._sign = 1.0 if direction == "max" else -1.0
        self._waiting: list[tuple[Architecture, float]] = []

    def ask(self, count: int = 1) -> list[Architecture]:
        """Architectures that the controller proposes; repeats are possible."""
        self.asked += count
        return self.controller.propose(count)

    def tell(self, architecture: Architecture | Mapping[str, str], score: float) -> None:
        """A score of an architecture. One that is not finite says that it failed: it is counted, and told no one.

        Raises:
            SpaceError: the architecture is none of the space, or outside of its limits.
        """
        known = self.space.architecture(dict(architecture))
        self.told += 1
        if not math.isfinite(score):
            self.failed += 1
            return
        self.archive.setdefault(known, []).append(self._sign * float(score))
        self._waiting.append((known, self._sign * float(score)))
        if len(self._waiting) >= self._group:
            group, self._waiting = self._waiting, []
            self.controller.update([each for each, _ in group], [reward for _, reward in group])

    def best(self) -> Answer:
        """The architecture with the best mean score so far, in the unit that was told.

        Raises:
            RunFailedError: no finite score was told.
        """
        found = answer_of(self.archive, self.told)
        scores = tuple(self._sign * reward for reward in found.scores)
        return Answer(found.architecture, self._sign * found.mean, scores)

    def state(self) -> Mapping[str, Any]:
        """Everything that `load_state` needs to go on exactly: tensors, numbers, strings, dicts and lists."""
        return {
            "controller": self.controller.state(),
            "counts": [self.asked, self.told, self.failed],
            "archive": archive_state(self.archive),
            "waiting": [{"architecture": dict(each), "reward": reward} for each, reward in self._waiting],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, with equal arguments otherwise."""
        self.controller.load_state(state["controller"])
        self.asked, self.told, self.failed = state["counts"]
        self.archive = load_archive(self.space, state["archive"])
        self._waiting = [
            (self.space.architecture(each["architecture"]), float(each["reward"])) for each in state["waiting"]
        ]
