"""What a policy prefers at the end of a search, and whether it collapsed.

Its proposals are scored with the same weights as uniform ones. That they score better says that the policy prefers what
does well with these weights, which it may have helped to train; it is no proof that it learned (a policy that noise has
moved differs from uniform, too), and it says nothing about the architectures once they are trained.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nasforge.space.architecture import Architecture
from nasforge.space.search_space import SearchSpace
from nasforge.strategies.base import Event, Report

FEW_OPTIONS = 0.9
"""The share of the operations that one of them has at least in an alarm."""

LOW_ENTROPY = 0.05
"""The share of the entropy of uniform proposals below which a policy hardly explores."""


@dataclass(frozen=True)
class Rewards:
    """Rewards of proposals with the same weights; higher is better.

    Attributes:
        n: how many are finite.
        mean: of those.
        error: standard error of the mean; None of one.
    """

    n: int
    mean: float
    error: float | None


def rewards(values: Sequence[float]) -> Rewards | None:
    """Mean and error of the finite ones; None where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    error = statistics.stdev(finite) / math.sqrt(len(finite)) if len(finite) > 1 else None
    return Rewards(len(finite), statistics.fmean(finite), error)


def gain(policy: Rewards | None, uniform: Rewards | None) -> dict[str, Any]:
    """What the policy's proposals are worth beside uniform ones, as plain data: rewards, difference, its error."""
    if policy is None or uniform is None:
        return {}
    found: dict[str, Any] = {
        "policy": {"n": policy.n, "reward": policy.mean, "standard_error": policy.error},
        "uniform": {"n": uniform.n, "reward": uniform.mean, "standard_error": uniform.error},
        "difference": policy.mean - uniform.mean,
        "standard_error": None,
    }
    if policy.error is not None and uniform.error is not None:
        found["standard_error"] = math.hypot(policy.error, uniform.error)
    return found


def in_words(found: dict[str, Any], *, weights: str, trained_by_policy: bool) -> str:
    """A sentence about a `gain`; empty where there is none.

    Args:
        found: see `gain`.
        weights: with which both were scored, in words.
        trained_by_policy: whether the weights were trained with proposals of the policy.
    """
    if not found or not found["standard_error"]:
        return ""
    errors = found["difference"] / found["standard_error"]
    verdict = "they score no differently"
    if abs(errors) >= 2:
        verdict = "they score better" if errors > 0 else "they score worse"
    means = {
        name: f"{found[name]['reward']:.4g} ± {found[name]['standard_error']:.2g}" for name in ("policy", "uniform")
    }
    said = (
        f"With {weights} the policy's proposals have a mean reward of {means['policy']}, uniform ones "
        f"{means['uniform']}: {verdict} ({errors:+.1f} standard errors)."
    )
    return f"{said} The weights were trained where the policy went, which favours it." if trained_by_policy else said


class Watch:
    """Looks for a policy that collapses.

    Args:
        space: the decisions.
        updates: how many updates of the controller the search makes.
    """

    def __init__(self, space: SearchSpace, updates: int) -> None:
        self._space = space
        self._updates = updates
        self._seen = 0
        self._low: tuple[int, float] | None = None

    def see(self, report: Report) -> None:
        """Take a report of the search."""
        if isinstance(report, Event) and report.kind == "controller_step":
            self._seen += 1
            early = self._seen <= self._updates / 2
            if early and self._low is None and report.facts["entropy"] < LOW_ENTROPY * math.log(self._space.size):
                self._low = self._seen, report.facts["entropy"]

    def alarms(self, proposals: Sequence[Architecture]) -> list[str]:
        """What looks like a collapse, in sentences.

        Args:
            proposals: of the policy at the end.
        """
        found = []
        if self._low is not None:
            update, entropy = self._low
            found.append(
                f"the entropy of the policy had fallen to {max(0.0, entropy):.2g} nats after {update} of "
                f"{self._updates} updates, of {math.log(self._space.size):.3g} at uniform"
            )
        counted = by_role(self._space, proposals)
        several: list[str] = [decision.role for decision in self._space.decisions if len(decision.options) > 1]
        for role, what in (("op", "operations"), ("bit", "skip connections")):
            counts = Counter(counted.get(role, {}))
            # A single decision says nothing.
            if several.count(role) > 1 and counts.total():
                option, most = counts.most_common(1)[0]
                share = most / counts.total()
                if share >= FEW_OPTIONS:
                    found.append(f"{share:.0%} of the {what} that the policy proposes at the end are '{option}'")
        return found


def by_role(space: SearchSpace, proposals: Sequence[Architecture]) -> dict[str, dict[str, int]]:
    """How often each option is chosen by all decisions of a role together; forced ones are left out."""
    chosen = options(space, proposals)
    counted: dict[str, dict[str, int]] = {}
    for decision in space.decisions:
        if len(decision.options) > 1:
            counts = counted.setdefault(decision.role, {})
            for option, times in chosen[decision.name].items():
                counts[option] = counts.get(option, 0) + times
    return counted


def options(space: SearchSpace, proposals: Sequence[Architecture]) -> dict[str, dict[str, int]]:
    """How often each option is chosen, by decision."""
    return {
        d.name: {option: sum(m.get(d.name) == option for m in proposals) for option in d.options}
        for d in space.decisions
    }
