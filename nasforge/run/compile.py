"""From a validated spec to the supergraph of a stage, and the shapes that its networks read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

from nasforge.components import SLICES, Operation, Shape, Stage
from nasforge.errors import Problem, SpaceError, SpecError, UsageError
from nasforge.graph.compile import compile_kind
from nasforge.graph.limits import LimitRule
from nasforge.graph.supergraph import Supergraph
from nasforge.recipe import Recipe
from nasforge.seeds import stream
from nasforge.space.search_space import SearchSpace
from nasforge.spec.specs import RunSpec, SearchSpec, SpaceSpec


def compile_space(
    spec: SpaceSpec, stage: Literal["search", "final"], operations: Mapping[str, Operation]
) -> Supergraph:
    """The supergraph of the spec's space; the spec's limits are the rule of its decisions.

    Both stages have the same decisions, and limits are about the final network: the rule of both is one.

    Args:
        spec: the space.
        stage: which network.
        operations: the catalogue's operations by name.

    Raises:
        SpaceError: the kind breaks a rule of the mechanism, or the block asks for what cannot be.
        SpecError: a limit that cannot be checked, since no one says the shapes before the data is read.
    """
    supergraph = _compiled(spec, stage)
    if supergraph.width is not None:
        _refuse_widths(spec)
    if spec.limits is None:
        return supergraph
    final = supergraph if stage == "final" else _compiled(spec, "final")
    bounds, shapes = spec.limits.bounds, input_shapes(spec, final, spec.train.hidden)
    if shapes is None and bounds.need_shapes:
        message = (
            f"limits on {' and '.join(bounds.need_shapes)} cannot be checked: neither the space nor a task says the "
            "shapes of the network's inputs; limit depth or count instead"
        )
        raise at_limits(spec, message)
    rule = LimitRule(bounds, final, operations, shapes)
    return replace(supergraph, space=supergraph.space.limited(rule))


def _refuse_widths(spec: SpaceSpec) -> None:
    """A width that the space searches is nowhere else to be said."""
    said = [f"{name}.hidden" for name in ("executor", "train") if "hidden" in getattr(spec, name).model_fields_set]
    if said:
        message = f"the space searches `hidden`, so that {' and '.join(said)} would mean nothing: leave it out"
        raise SpecError([spec.fault(("space",), message)])


def require_within_limits(spec: SpaceSpec, supergraph: Supergraph) -> None:
    """Make sure that the spec's limits leave something of the space, by drawing one architecture.

    Raises:
        SpecError: none of 10,000 draws is within the limits, which ones failed and how often; shown at their line.
    """
    try:
        supergraph.space.sample(stream(0, "limits"))
    except SpaceError as error:
        raise at_limits(spec, str(error)) from None


def at_limits(spec: SpaceSpec, message: str) -> SpecError:
    """A fault of the spec's limits, shown at their line."""
    return SpecError([spec.fault(("limits",), message, key=False)])


def _compiled(spec: SpaceSpec, stage: Literal["search", "final"]) -> Supergraph:
    """The supergraph; what the kind refuses is a fault of ``space``, or of ``train.stack``, at its line.

    Raises:
        SpecError: the kind refuses the block, or the stack.
    """
    stack = spec.stack if stage == "final" else None
    try:
        return compile_kind(spec.space_kind, spec.space, Stage(stage, spec.executor.share, stack))
    except SpaceError as error:
        raise SpecError([spec.fault(("space",) if stack is None else ("train", "stack"), str(error))]) from None


def refuse_what_cannot_be_trained(spec: SpaceSpec, operations: Mapping[str, Operation]) -> None:
    """Refuse what the networks of the space, or the executor, do not offer, before anything is written.

    Raises:
        UsageError: a space with searched numbers for an executor that cannot train it; the message names them.
        SpecError: the executor or the controller refuses what its block asks for, or a recipe asks the networks for an
            output or a drop-path that they do not have.
    """
    graph = _compiled(spec, "search")
    problems: list[Problem] = []
    if isinstance(spec, RunSpec):
        networks = {"executor": (graph, spec.search_recipe), "train": (_compiled(spec, "final"), spec.final_recipe)}
        for block, (of, recipe) in networks.items():
            problems += [spec.fault((block, "recipe", key), text) for key, text in _asked_in_vain(of, recipe)]
        problems += controller_faults(spec, graph.space)
    for key, message in spec.executor_kind.refusal(spec.executor, graph, operations).items():
        problems.append(spec.fault(("executor", key), message))
    if problems:
        raise SpecError(problems)
    numbers = list(graph.searched_values)
    if numbers and SLICES not in spec.executor_kind.capabilities:
        few = ", ".join(numbers[:3]) + (f" and {len(numbers) - 3} more" if len(numbers) > 3 else "")
        raise UsageError(
            f"{few}: the space searches numbers, which are trained where the executor offers '{SLICES}' (the first n "
            f"channels of the largest weight); the executor '{spec.executor_kind.name}' does not. Write one number "
            "each, or choose another executor; check, show and sample work with any"
        )


def controller_faults(spec: SearchSpec, space: SearchSpace) -> list[Problem]:
    """What the controller refuses of its block, at its lines."""
    refused = spec.controller_kind.refusal(spec.controller, space)
    return [spec.fault(("controller", *keys), message) for keys, message in refused.items()]


def _asked_in_vain(supergraph: Supergraph, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Faults of a recipe, each with the key that is shown."""
    for key, output in recipe.training_outputs.items():
        if output not in supergraph.main.outputs:
            yield key, f"the recipe asks for the output '{output}', which the networks of this space do not have"
    if recipe.drop_rate(1.0) and not supergraph.drops:
        message = "`drop_path` would drop nothing: this space has no cells that add the results of several operations"
        yield "drop_path", message


def input_shapes(
    spec: SpaceSpec, supergraph: Supergraph, hidden: int
) -> Callable[[Mapping[str, str]], Mapping[str, Shape]] | None:
    """The shape of each input of the main template under the choices of an architecture; None where no one says it.

    Args:
        spec: the space, with a task where it has one.
        supergraph: its graph.
        hidden: features where the space does not say them.
    """
    if spec.space_kind.shapes is not None:
        said = spec.space_kind.shapes(spec.space)
        return lambda architecture: said
    if not isinstance(spec, RunSpec) or not spec.task_kind.shapes(spec.task, hidden):
        return None
    task, kind, width = spec.task, spec.task_kind, supergraph.width
    if width is None:
        shapes = kind.shapes(task, hidden)
        return lambda architecture: shapes
    return lambda architecture: kind.shapes(task, width.value(architecture))
