"""Rules that leave only some architectures of a space, and drawing under them by bounded rejection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from nasforge.errors import SpaceError
from nasforge.space.architecture import Architecture

TRIES = 10_000
"""Draws in a row without one that the rule admits, after which it is taken to admit none."""


class Rule(Protocol):
    """Says what is wrong with an architecture. It is asked repeatedly and must answer equally each time."""

    def violations(self, architecture: Mapping[str, str]) -> tuple[str, ...]:
        """One sentence ``LIMIT: what is wrong`` for each limit that the architecture breaks; none where it is admitted.

        Args:
            architecture: all choices of an architecture of the space.
        """


class Refusals:
    """A tally of the architectures that a rule did not admit, in a row."""

    def __init__(self) -> None:
        self.tried = 0
        self._times: Counter[str] = Counter()
        self._example: dict[str, str] = {}

    def add(self, violations: tuple[str, ...]) -> None:
        """Count one architecture."""
        self.tried += 1
        for violation in violations:
            limit, _, what = violation.partition(": ")
            self._times[limit] += 1
            self._example.setdefault(limit, what)

    def error(self, what: str) -> SpaceError:
        """Says that none was admitted, and which limits failed how often, with an example each.

        Args:
            what: was tried, in the plural.
        """
        failed = [
            f"{limit} failed {times:,} times, for example {self._example[limit]}"
            for limit, times in self._times.items()
        ]
        return SpaceError(
            f"of {self.tried:,} {what} none is within the limits: {'; '.join(failed)}. Widen these limits, or change "
            "the space"
        )


def draw_within(rule: Rule, draw: Callable[[], Architecture], what: str) -> Architecture:
    """The first architecture of repeated draws that the rule admits: the distribution of `draw`, given the rule.

    Args:
        rule: what must hold.
        draw: gives another architecture each time.
        what: what is drawn, in the plural, for the message.

    Raises:
        SpaceError: none of `TRIES` was admitted; it says which limits failed how often.
    """
    refusals = Refusals()
    while refusals.tried < TRIES:
        architecture = draw()
        violations = rule.violations(architecture)
        if not violations:
            return architecture
        refusals.add(violations)
    raise refusals.error(what)
