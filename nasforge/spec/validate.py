"""From pydantic's errors to faults at the places where the user wrote them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from nasforge.errors import Problem, SpecError, suggest
from nasforge.spec.expectation import KeyPath, Place, choices_of, expectation, forms_of, keys_of, locate, shown
from nasforge.spec.nodes import Node, find, find_key, on_the_way, plain, printable
from nasforge.spec.yaml_builder import MAX_PROBLEMS

Model = TypeVar("Model", bound=BaseModel)


class Faults:
    """Collects every fault of one spec.

    Attributes:
        root: the tree in which places are looked up.
        context: the validation context that models get.
        unknown_hint: appended to the hint of every unknown name: what may be missing.
        also_known: keys that may stand in a block, though its model does not have them, by where the block stands.
        value_hints: what to do about a wrong value, by its place.
    """

    def __init__(self, root: Node, context: Mapping[str, Any], faulty: Sequence[Node] = ()) -> None:
        """Faults of the tree `root`; at and below the nodes in `faulty` everything was reported."""
        self.root = root
        self.context = dict(context)
        self.unknown_hint = ""
        self.also_known: Mapping[KeyPath, Sequence[str]] = {}
        self.value_hints: dict[KeyPath, str] = {}
        self._data = plain(root)
        self._problems: list[Problem] = []
        # By identity: equal nodes stand at other places, too.
        self._faulty = {id(node): node for node in faulty}

    def validate(self, model: type[Model], data: object, path: KeyPath = ()) -> Model | None:
        """Return `data` as a `model`, or None after its faults were collected.

        Args:
            model: what is expected.
            data: plain data.
            path: where it stands in the tree.
        """
        try:
            # By alias only: the name of a field that has one (``from_``) is no key of the file.
            return model.model_validate(data, context=self.context, by_alias=True, by_name=False)
        except ValidationError as error:
            for detail, place in _of_best_branches(model, error.errors(include_url=False)):
                self._report(model, detail, place, path)
            return None

    def add(self, path: KeyPath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Collect a fault of the value at `path`, or of its key, unless that was reported otherwise."""
        if any(id(node) in self._faulty for node in on_the_way(self.root, path)):
            return
        self._problems.append((find_key if at_key else find)(self.root, path).problem(message, hint))

    def extend(self, problems: Iterable[Problem]) -> None:
        """Collect faults that know their places."""
        self._problems += problems

    def unknown(self, path: KeyPath, what: str, name: str, known: Iterable[str]) -> None:
        """Collect an unknown name of a component, e.g. ``unknown task 'x'``."""
        known = sorted(known)
        message = f"unknown {what} '{printable(name, 60)}'.{suggest(name, known)}"
        self.add(path, message, _lines(f"known here: {', '.join(known)}", self.unknown_hint))

    def raise_if_any(self, otherwise: Sequence[Problem] = ()) -> None:
        """Raise what was collected, each fault once, in the order of places; of very many, the first.

        Args:
            otherwise: what is raised where nothing was collected.

        Raises:
            SpecError: something was collected.
        """
        problems = sorted(dict.fromkeys(self._problems or otherwise), key=_order)
        if len(problems) > MAX_PROBLEMS:
            rest = f"more than {MAX_PROBLEMS} faults; the other {len(problems) - MAX_PROBLEMS} are not shown"
            problems = [*problems[:MAX_PROBLEMS], Problem(problems[MAX_PROBLEMS].where, rest)]
        if problems:
            raise SpecError(problems)

    def _plain_at(self, path: KeyPath) -> object:
        """The plain value at `path`, or None where there is nothing."""
        value: Any = self._data
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def _report(self, model: type[BaseModel], error: ErrorDetails, place: Place, base: KeyPath) -> None:
        path = (*base, *place.path)
        if "message" in error.get("ctx", {}):
            self._report_custom(error["type"], error["ctx"], error["input"], path, _forms_at(model, error))
        elif error["type"] == "extra_forbidden":
            known = self._known(place, path)
            last = str(path[-1])
            better = suggest(last, known)
            hint = f"known here: {', '.join(known)}" if known else "it takes no keys"
            if last == "let":
                better, hint = (
                    "",
                    "`let` stands in the `space` block: {kind: ..., let: {NAME: {choose: 1, from: [...]}}}",
                )
            self.add(path, f"unknown key '{printable(last, 60)}'{_inside(path)}.{better}", hint, at_key=True)
        elif error["type"] == "missing" and isinstance(path[-1], str):
            hint = f"known here: {', '.join(self._known(place, path))}"
            self.add(path[:-1], f"missing key '{path[-1]}'{_inside(path)}", hint, at_key=True)
        elif error["type"] == "missing":
            # An item of a list of fixed length: what is wrong is the list.
            whole = locate(model, error["loc"][:-1])
            self._report_value(error["msg"], self._plain_at(path[:-1]), whole, path[:-1])
        else:
            self._report_value(error["msg"], error["input"], place, path)

    def _known(self, place: Place, path: KeyPath) -> list[str]:
        """The keys that may stand beside the last one of `path`."""
        return [*keys_of(place.holder), *self.also_known.get(path[:-1], ())]

    def _report_custom(
        self, kind: str, context: Mapping[str, Any], value: object, path: KeyPath, forms: Sequence[str]
    ) -> None:
        """Report an error of one of our own types; ``nasforge.spec.choices`` says what its context holds."""
        message, hint = printable(str(context["message"]), 500), str(context.get("hint", ""))
        if kind == "operation_form" and forms:
            message += f", or as {' or '.join(forms)}"
        inner = (*path, *context.get("inner", ()))
        at_key = bool(context.get("at_key"))
        if kind == "unknown_operation":
            hint = _lines(hint, self.unknown_hint)
            if isinstance(value, dict):
                inner, at_key = (*path, *value), True
        elif kind == "operation_parameters" and len(inner) > len(path):
            # With a hint the key itself is at fault, without one its value is wrong.
            at_key = bool(hint)
            message += "" if hint else f", found {shown(self._plain_at(inner))}"
        self.add(inner, message, hint, at_key=at_key)

    def _report_value(self, text: str, value: object, place: Place, path: KeyPath) -> None:
        key = _name(path) or "the file"
        expected = expectation(place.annotation, place.constraints)
        known = keys_of(place.annotation)
        hint = f"it takes {', '.join(known)}" if known and not isinstance(value, dict) else ""
        if forms_of(place.annotation):
            hint = ""  # The form says it.
        hint = _lines(hint, self.value_hints.get(path, ""))
        if expected:
            better = suggest(value, choices_of(place.annotation)) if isinstance(value, str) else ""
            self.add(path, f"{key} must be {expected}, found {shown(value)}{'.' if better else ''}{better}", hint)
        else:
            self.add(path, f"{key}: {text[:1].lower()}{text[1:]}, found {shown(value)}")


def _forms_at(model: type[BaseModel], error: ErrorDetails) -> list[str]:
    """The choose-forms that can stand where an alternative of a union was tried, and failed."""
    return forms_of(locate(model, error["loc"][:-1]).annotation)


def _name(path: Sequence[str | int]) -> str:
    if not path:
        return ""
    last = path[-1]
    return f"item {last + 1} of {_name(path[:-1])}" if isinstance(last, int) else f"`{printable(last, 60)}`"


def _inside(path: KeyPath) -> str:
    around = _name(path[:-1])
    return f" in {around}" if around else ""


def _lines(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _order(problem: Problem) -> tuple[bool, int, int, str]:
    return (problem.line_number is None, problem.line_number or 0, problem.column or 0, problem.where)


def _of_best_branches(model: type[BaseModel], errors: Sequence[ErrorDetails]) -> list[tuple[ErrorDetails, Place]]:
    """Leave out the errors of alternatives that the user did not mean.

    pydantic reports every alternative of a union. The one that got furthest is what was meant: a value of the wrong
    form says least, then wrong keys, then a fault inside.
    """
    located = [(error, locate(model, error["loc"])) for error in errors]
    ranks: dict[KeyPath, dict[str, int]] = {}
    for error, place in located:
        if place.branch is not None:
            union, tag = place.branch
            tags = ranks.setdefault(union, {})
            tags[tag] = max(tags.get(tag, 0), _rank(error, place, union))
    best = {union: max(tags, key=lambda tag: tags[tag]) for union, tags in ranks.items()}
    kept: list[tuple[ErrorDetails, Place]] = []
    for error, place in located:
        if error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]:
            # Long enough as it was written: pydantic counts the items without faults.
            continue
        if place.branch is not None:
            union, tag = place.branch
            if best[union] != tag:
                continue
            if ranks[union][tag] == 0:
                # No alternative fits at all: say what any of them would be.
                place = locate(model, error["loc"][:-1])
        kept.append((error, place))
    return kept


def _rank(error: ErrorDetails, place: Place, union: KeyPath) -> int:
    if error["type"] in ("missing", "extra_forbidden"):
        return 2
    if len(place.path) > len(union):
        return 3
    if error["type"].endswith("_form"):
        return 1
    return 0 if error["type"].endswith("_type") or error["type"] == "literal_error" else 3
