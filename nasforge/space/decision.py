"""Decisions, and the conditions under which they exist and wires are open.

A condition is a sum of products of signed literals. The products (terms) of one condition exclude one
another, which is checked when a space is compiled: under a hard choice a condition is 0 or 1, and under
independent option probabilities its value is the exact probability that it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal as OneOf


@dataclass(frozen=True, order=True)
class Literal:
    """``decision = option``, or its negation where `positive` is false.

    A literal about a decision that does not exist is false, whatever its sign: what a term asks for must be decided.
    """

    decision: str
    option: str
    positive: bool = True

    def holds(self, choices: Mapping[str, str]) -> bool:
        """Whether the literal is true under `choices` (decision name to option)."""
        chosen = choices.get(self.decision)
        return chosen is not None and (chosen == self.option) == self.positive

    def __str__(self) -> str:
        return f"{self.decision} {'=' if self.positive else '!='} {self.option}"


Term = tuple[Literal, ...]


@dataclass(frozen=True)
class Condition:
    """A sum of pairwise disjoint products of signed literals."""

    terms: tuple[Term, ...]

    def holds(self, choices: Mapping[str, str]) -> bool:
        """Whether one of the terms is true under `choices`."""
        # Plain loops: this is the innermost step of planning and digesting, where calls and generators cost a quarter.
        for term in self.terms:
            for literal in term:
                chosen = choices.get(literal.decision)
                if chosen is None or (chosen == literal.option) != literal.positive:
                    break
            else:
                return True
        return False

    def decisions(self) -> tuple[str, ...]:
        """The names of the decisions that the condition reads, each once, in order of appearance."""
        return tuple(dict.fromkeys(literal.decision for term in self.terms for literal in term))

    def __str__(self) -> str:
        if self == ALWAYS:
            return "always"
        if self == NEVER:
            return "never"
        return " or ".join(" and ".join(map(str, term)) for term in self.terms)


ALWAYS = Condition(((),))
NEVER = Condition(())


def all_of(*literals: Literal) -> Condition:
    """The condition that every one of `literals` holds (one term)."""
    return Condition((tuple(literals),))


def also(condition: Condition, *literals: Literal) -> Condition:
    """The condition that `condition` holds and every one of `literals`; its terms stay disjoint."""
    return Condition(tuple((*term, *literals) for term in condition.terms))


def exclude_one_another(a: Term, b: Term, options: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether two terms can never hold together.

    Args:
        a: a term.
        b: another term.
        options: the options of every decision, to know when literals leave no option.
    """
    allowed: dict[str, set[str]] = {}
    for literal in (*a, *b):
        left = allowed.setdefault(literal.decision, set(options[literal.decision]))
        if literal.positive:
            left &= {literal.option}
        else:
            left -= {literal.option}
    return any(not left for left in allowed.values())


Role = OneOf["op", "input", "subset", "bit", "number", "size"]


@dataclass(frozen=True)
class Decision:
    """One named categorical choice.

    Attributes:
        name: unique in the space, e.g. ``cell.node3.op``.
        options: what can be chosen, at least one, distinct. For role ``input`` an option is the name of an owner (or of
            a template's input), so that a controller can attend over what was decided before.
        role: what is chosen; a controller shares its output layers by role.
        owner: the node that the decision describes, e.g. ``node3``.
        when: the condition under which the decision exists; it reads earlier decisions only.
    """

    name: str
    options: tuple[str, ...]
    role: Role
    owner: str
    when: Condition = ALWAYS
