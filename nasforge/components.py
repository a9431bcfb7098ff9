"""What a plugin registers: plain data about operations, kinds, controllers, executors, strategies and tasks.

Importing this module, or registering anything, must not import torch: `build` is a dotted name
(``"package.module:factory"``) that is resolved when the component is first built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from nasforge.graph.builder import GraphBuilder
    from nasforge.graph.supergraph import Supergraph
    from nasforge.recipe import Recipe
    from nasforge.space.architecture import Architecture
    from nasforge.space.search_space import SearchSpace

Shape = tuple[int, ...]


class Options(BaseModel):
    """Base of every model of what users write: unknown keys refused, strict types, finite numbers, frozen.

    Attributes:
        given: fields that nasforge fills in and no user writes.
    """

    given: ClassVar[frozenset[str]] = frozenset()

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, validate_default=True, populate_by_name=True
    )


def _not_a_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("one", "{message}", {"message": f"must be 1, found {str(value).lower()}"})
    return value


One = Annotated[Literal[1], BeforeValidator(_not_a_switch)]
"""The number 1; a plain ``Literal[1]`` takes ``true`` too, since True == 1."""

Family = Literal["activation", "image", "structure"]
NAMED_FAMILIES: tuple[Family, ...] = ("activation", "image")
"""Those whose operations can be named in YAML."""


class NoOptions(Options):
    """The configuration of a component that takes no options."""


@dataclass(frozen=True)
class WeightSpec:
    """One tensor of a parameter set.

    Attributes:
        name: its name within the set, e.g. ``weight``.
        shape: its shape.
        fan_in: the number of inputs that are summed; the default initialisation is U(±1/sqrt(fan_in)).
        init: ``uniform`` (see `fan_in`), ``zeros`` or ``ones``.
    """

    name: str
    shape: Shape
    fan_in: int = 1
    init: Literal["uniform", "zeros", "ones"] = "uniform"


@dataclass(frozen=True)
class NormSpec:
    """One batch norm of an operation: a scale and an offset for every channel, and running statistics.

    Attributes:
        name: unique in the operation, e.g. ``norm``.
        channels: the number of channels.
    """

    name: str
    channels: int

    @property
    def weights(self) -> tuple[WeightSpec, WeightSpec]:
        """Its weights: ``NAME.scale``, which starts at 1, and ``NAME.offset``."""
        scale = WeightSpec(f"{self.name}.scale", (self.channels,), init="ones")
        return scale, WeightSpec(f"{self.name}.offset", (self.channels,), init="zeros")


def _same_shape(config: Any, shapes: Sequence[Shape]) -> Shape:
    return shapes[0]


def _no_weights(config: Any, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
    return ()


def _no_norms(config: Any, shapes: Sequence[Shape]) -> tuple[NormSpec, ...]:
    return ()


def _one_per_element(config: Any, shapes: Sequence[Shape]) -> int:
    count = 1
    for size in shapes[0]:
        count *= size
    return count


@dataclass(frozen=True)
class Operation:
    """What a node computes.

    Attributes:
        name: as written in YAML.
        summary: one line for listings.
        build: dotted name of ``factory(config, *parts) -> function(*inputs, *weights, *norms) -> Tensor``; `parts` are
            the functions of the operations that a use of it is made of (none for activations), `norms` are functions
            from a value to a value, one for each of its batch norms. The function must not keep state and must treat
            leading dimensions as independent. Shapes of one number, features, have two of them, time and batch; those
            of three, (channels, height, width), have one, the batch.
        source: ``source(config, inputs, weights, parts) -> str``: the same computation as one expression of plain torch
            (``torch``, ``F``, arithmetic and `helpers`), given the expressions of the inputs and of the weights, which
            those of the norms follow (each a function of one value: in a network a ``nn.BatchNorm2d``); a part is a
            function from an expression to an expression. It is what an exported network consists of; the contract tests
            compare it with `build`.
        helpers: source of top-level functions that `source` calls; equal texts are written once.
        families: where it can be used: ``activation`` (element-wise, in recurrent cells), ``image`` (in networks of
            images: keeps channels and the memory format of its input) or ``structure`` (used by kinds, never named in
            YAML).
        config: pydantic model of its parameters.
        shape: ``shape(config, input shapes) -> output shape``, without batch and time.
        weights: ``weights(config, input shapes) -> specs`` of its parameter set, in the order that `build` takes them.
        flops: ``flops(config, input shapes) -> int`` for one example and one time step; a multiply-add counts two.
        norms: ``norms(config, input shapes) -> specs`` of its batch norms, which alone may mix the examples of a batch.
            Whether they take the statistics of the batch or running ones is the executor's affair.
        derivative: of activations, dotted name of ``factory(config) -> function(x, y) -> Tensor``: the derivative at
            the input `x`, given also the output `y` there; what autograd gives. With it a recurrent cell that uses the
            operation runs as one fused function, without it step by step. Empty for none.
    """

    name: str
    summary: str
    build: str
    source: Callable[[Any, Sequence[str], Sequence[str], Sequence[Callable[[str], str]]], str]
    helpers: tuple[str, ...] = ()
    families: tuple[Family, ...] = ("structure",)
    config: type[Options] = NoOptions
    shape: Callable[[Any, Sequence[Shape]], Shape] = _same_shape
    weights: Callable[[Any, Sequence[Shape]], tuple[WeightSpec, ...]] = _no_weights
    flops: Callable[[Any, Sequence[Shape]], int] = _one_per_element
    norms: Callable[[Any, Sequence[Shape]], tuple[NormSpec, ...]] = _no_norms
    derivative: str = ""

    @property
    def normalises(self) -> bool:
        """Whether it may have batch norms."""
        return self.norms is not _no_norms


def activation(
    name: str,
    summary: str,
    build: str,
    source: str,
    *,
    config: type[Options] = NoOptions,
    flops_per_element: int = 1,
    derivative: str = "",
) -> Operation:
    """An element-wise operation without weights, for recurrent cells.

    Args:
        name: as written in YAML.
        summary: one line for listings.
        build: dotted name of ``factory(config) -> function(x) -> Tensor`` of the same shape.
        source: a format string of one plain-torch expression with ``{x}`` for the input and ``{parameter}`` for each
            field of `config`, e.g. ``"F.leaky_relu({x}, {slope})"``.
        config: the parameters; numbers and booleans only, since they are written into exported code.
        flops_per_element: what one element costs.
        derivative: see `Operation`; makes the recurrent cells that use it faster.
    """

    def expression(
        options: Options, inputs: Sequence[str], weights: Sequence[str], parts: Sequence[Callable[[str], str]]
    ) -> str:
        return source.format(x=inputs[0], **{key: repr(value) for key, value in options.model_dump().items()})

    def flops(options: Options, shapes: Sequence[Shape]) -> int:
        return flops_per_element * _one_per_element(options, shapes)

    return Operation(
        name,
        summary,
        build,
        expression,
        families=("activation",),
        config=config,
        flops=flops,
        derivative=derivative,
    )


@dataclass(frozen=True)
class Encoding:
    """A form in which others publish architectures of a space kind.

    Attributes:
        name: as written after ``--from`` and ``--to``, e.g. ``enas-ptb``.
        summary: one line for listings: whose form, and what the text looks like.
        read: ``read(text, config, space) -> architecture``; `config` is the validated ``space`` block, `space` its
            decisions. Text of another form raises UsageError, an architecture that the space does not hold SpaceError;
            the message names the position and the rule.
        write: ``write(architecture, config, space) -> text``, which `read` turns into an equal architecture. What the
            form cannot express raises SpaceError.
    """

    name: str
    summary: str
    read: Callable[[str, Any, SearchSpace], Architecture]
    write: Callable[[Mapping[str, str], Any, SearchSpace], str]


@dataclass(frozen=True)
class Stage:
    """Which network of a space is built.

    Attributes:
        name: ``search`` (all architectures on shared weights) or ``final`` (one, trained from scratch).
        share: the sharing scope of weights, one of the kind's.
        stack: for the final network what it does differently, an instance of the kind's ``stack``; None for nothing.
    """

    name: Literal["search", "final"]
    share: str
    stack: Any = None


@dataclass(frozen=True)
class SpaceKind:
    """A way to declare a search space.

    Attributes:
        name: the value of ``space.kind``.
        summary: one line for listings.
        config: pydantic model of the ``space`` block.
        build: ``build(config, builder, stage)`` adds decisions and templates to the graph builder. It is a plain
            function, because kinds know operations by name only and never import torch. Both stages have the same
            decisions.
        share: the sharing scopes that the kind can express, best default first.
        references: ``references(config, stack) -> {name: config}``: small fixed networks that every run trains beside
            the winner, each with exactly one architecture; the blocks are of this kind or another. `stack` is what
            ``train.stack`` holds.
        distinct: ``distinct(config, space)``: how many architectures there are up to isomorphism, as the canonical
            digest tells them apart, by a closed formula; None where there is none for `config` and the decisions of
            `space`, or where it takes more than about a second (never an estimate). ``nasforge check`` then lists the
            architectures, if there are few or it is asked to.
        encodings: forms in which others publish its architectures, by their names.
        shapes: ``shapes(config)``: the shape of each input of the template ``main``, where the space itself says it; by
            default the task does, for the ``hidden`` features of ``executor`` and ``train``.
        stack: pydantic model of ``train.stack``: what is different in the final network; None where nothing can be.
        networks: whether its architectures are networks; else nothing of them can be counted, limited or trained.
    """

    name: str
    summary: str
    config: type[Options]
    build: Callable[[Any, GraphBuilder, Stage], None]
    share: tuple[str, ...] = ("node",)
    references: Callable[[Any, Any], Mapping[str, Options]] = field(default=lambda config, stack: {})
    distinct: Callable[[Any, SearchSpace], int | None] = field(default=lambda config, space: None)
    encodings: Mapping[str, Encoding] = field(default_factory=dict)
    shapes: Callable[[Any], Mapping[str, Shape]] | None = None
    stack: type[Options] | None = None
    networks: bool = True


@dataclass(frozen=True)
class ControllerKind:
    """Something that proposes architectures; `build` names a subclass of `nasforge.controllers.base.Controller`.

    Attributes:
        smallest_group: ``smallest_group(config)``: how many proposals one update needs at least.
        policy: whether its proposals are drawn from a distribution that rewards move, which a search reports on.
        most_likely: whether it offers `Controller.most_likely`, which ``derive.proposals: beam`` needs.
        refusal: ``refusal(config, space)``: what of `config` means nothing for that space: paths of keys in its block,
            each with a sentence; empty where all is well. Called before anything is written.
    """

    name: str
    summary: str
    build: str
    config: type[Options] = NoOptions
    smallest_group: Callable[[Any], int] = field(default=lambda config: 1)
    policy: bool = False
    most_likely: bool = False
    refusal: Callable[[Any, SearchSpace], Mapping[tuple[str, ...], str]] = field(default=lambda config, space: {})


Precision = Literal["float32", "bfloat16"]
"""In which type the products of networks are computed."""

SLICES = "slices"
"""The capability of executors that train spaces in which numbers are searched."""


class ExecutorOptions(Options):
    """What every executor that trains weights is told.

    Attributes:
        share: the sharing scope, one of the space kind's.
        hidden: features of the networks during the search.
        backend: how recurrent cells run, in the search and in the trainings from scratch. ``native``: as one function
            over the whole sequence, its time loop in C++ (on the CPU, where there is a compiler). ``python``: the same
            with the loop in Python. ``auto``: native where it can be had, else Python, settled once before a run's
            first step. In all three, cells with an activation that names no derivative run step by step.
            ``interpreter``: step by step always, as plain autograd. All compute the same up to rounding.
        precision: in which type products are computed, in the search and in the trainings from scratch: ``float32``, or
            ``bfloat16``, mixed precision: losses of weight steps, rewards and validation scores on the way by torch's
            autocast. Weights, optimiser, batch norms, losses and recurrent cells stay float32 then; so do the scores
            that are reported of finished trainings, since these are of the float32 weights that a user takes home, and
            the exported network. On a CPU without units for bfloat16 networks of images took twice as long.
        recipe: read with the task's recipe model; here it stays null.
    """

    share: str
    hidden: int = Field(gt=0)
    backend: Literal["auto", "native", "python", "interpreter"] = "auto"
    precision: Precision = "float32"
    recipe: Any = None


class FromScratchOptions(ExecutorOptions):
    """What every executor that trains each child from scratch is told.

    Attributes:
        given: see `Options`.
        epochs: passes over the training data of one training; its schedule is planned for all of them.
        share: nothing is shared; filled in by nasforge.
        hidden: see `ExecutorOptions`, as all below.
        backend: see there.
        precision: see there.
        recipe: see there.
    """

    given: ClassVar[frozenset[str]] = frozenset({"share"})

    epochs: int = Field(default=5, ge=1)
    share: str = "node"


Source = Literal["shared", "scratch", "table"]
"""Where the scores of a search come from: shared weights, trainings from scratch, or a table."""


@dataclass(frozen=True)
class ExecutorKind:
    """Something that runs child models.

    `build` names a subclass of `nasforge.executors.base.Executor`, or, where `config` is a model of
    `FromScratchOptions`, one of `nasforge.executors.base.FromScratch`.

    Attributes:
        capabilities: what it can do beyond choosing among alternatives: ``slices``, train spaces in which numbers are
            searched (operation parameters, channels, the width).
        refusal: ``refusal(config, supergraph, operations)``: what it cannot do of what `config` asks for that space:
            keys of its block, each with a sentence; empty where it can do all. Called before anything is written.
    """

    name: str
    summary: str
    build: str
    config: type[ExecutorOptions]
    capabilities: frozenset[str] = frozenset()
    refusal: Callable[[Any, Supergraph, Mapping[str, Operation]], Mapping[str, str]] = field(default=lambda *given: {})

    @property
    def source(self) -> Source:
        """Where the scores of its children come from."""
        return "scratch" if issubclass(self.config, FromScratchOptions) else "shared"


@dataclass(frozen=True)
class StrategyKind:
    """A search algorithm; `build` names a subclass of `nasforge.strategies.base.Strategy`.

    Attributes:
        passes: ``passes(config)``: passes over the training data that a search makes, for the time left; of trainings
            from scratch, how many whole ones it makes at most.
        evaluations: ``evaluations(config)``: scores of architectures that it asks for.
        whole_split: whether each of these is on the whole validation split, as in ranking; else on a minibatch.
        group: ``group(config)``: how many proposals it gives one update of the controller; 0 where it gives none.
        uniform: ``uniform(config)``: the same search with nothing to learn from rewards, for the random baseline: as
            many weight steps, no evaluations.
        defaults: components that a spec which names only the strategy gets, e.g. ``{"controller": "lstm"}``.
        sources: where its scores may come from; it fits executors of these sources, and tasks that are tables.
        refusal: ``refusal(config, executor config)``: what it cannot do with that executor: keys of its own block, each
            with a sentence; empty where it can do all. Called before anything is written.
    """

    name: str
    summary: str
    build: str
    config: type[Options]
    passes: Callable[[Any], float]
    evaluations: Callable[[Any], int]
    group: Callable[[Any], int]
    uniform: Callable[[Any], Any]
    whole_split: bool = False
    sources: frozenset[Source] = frozenset({"shared"})
    defaults: Mapping[Literal["controller", "executor"], str] = field(default_factory=dict)
    refusal: Callable[[Any, Any], Mapping[str, str]] = field(default=lambda config, executor: {})


@dataclass(frozen=True)
class TaskKind:
    """Data, loss, metric and reward; `build` names a subclass of `nasforge.tasks.base.Task`.

    Attributes:
        config: pydantic model of the ``task`` block.
        recipe: pydantic model of a training recipe (``executor.recipe`` and ``train.recipe``).
        prepare: dotted name of ``prepare(config, recipes, base_folder, shapes) -> str``, called before a run begins or
            goes on; `shapes` are those of the networks' inputs where the space says them, else None. It makes sure that
            the data is there, fits and is large enough, or raises DataError, and returns what identifies the data (a
            digest); a run goes on only with equal data. It must not import torch.
        data_key: the key of the ``task`` block that names the data: faults of the data are shown at its line.
        kinds: the space kinds whose networks fit the task's shapes.
        shapes: ``shapes(config, width)``: the shape of each input of the template ``main``, without time and batch, for
            a network of `width` features; empty where only the data says it. Parameters and FLOPs are counted from it.
        references: names of what every run trains beside the winner: well-known networks (`Task.reference_cores`), or
            ``largest``, the candidate of the search with the most parameters.
        search_recipe: what differs from the recipe's defaults when shared weights are trained.
        metric: the name of what is measured and whether ``max`` or ``min`` is better, as `Task.metric` has them; None
            where only the data says it, and then there are no objectives beside it.
        trains: whether networks are trained; else `build` names ``load(config, base_folder, space) -> Table``,
            `prepare` is not called, and a file has no ``executor``, ``derive`` and ``train``.
    """

    name: str
    summary: str
    build: str
    config: type[Options]
    recipe: type[Recipe]
    prepare: str
    kinds: tuple[str, ...]
    shapes: Callable[[Any, int], Mapping[str, Shape]] = field(default=lambda config, width: {})
    references: tuple[str, ...] = ()
    data_key: str = "kind"
    search_recipe: Mapping[str, Any] = field(default_factory=dict)
    metric: tuple[str, Literal["max", "min"]] | None = None
    trains: bool = True
