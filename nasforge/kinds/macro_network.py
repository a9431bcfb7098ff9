"""The macro network of ENAS (Pham et al. 2018, section 2.3): a chain of layers with skip connections.

Each layer chooses an operation, which reads the layer right before, and any set of the earlier ones, the stem
included, which are added after the operation (the authors' code)::

    search   y_k = BN(op_k(y_{k-1}) + sum of the chosen y_j)               j < k - 1
    final    y_k = BN(1x1 conv(ReLU(concat of the chosen y_j and op_k(y_{k-1}))))

Before each operation stands 1x1 conv, BN, ReLU. After the layers named by ``reduce_after``, a factorised reduction
halves all values that later layers read; in the final network it doubles the channels, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from nasforge.components import Options, Shape, SpaceKind, Stage
from nasforge.errors import SpaceError
from nasforge.graph.builder import GraphBuilder, TemplateBuilder
from nasforge.graph.supergraph import Chosen, OperationUse
from nasforge.kinds.counting import n_operations, n_widths, numbers
from nasforge.kinds.places import Alternative, Places, given, most_halvings, network_op, scaled
from nasforge.published.macro import ENCODINGS
from nasforge.space.decision import ALWAYS, Condition, all_of
from nasforge.space.decision import Literal as Sign
from nasforge.space.search_space import SearchSpace
from nasforge.spec.choices import (
    ChooseCount,
    ChooseImageOperation,
    ChooseSkips,
    ChooseWidth,
    Count,
    ImageOperation,
    Width,
)

SHARE_KEYS: Mapping[str, tuple[str, str]] = {
    "layer_op": ("layer{layer}.{op}.before", "layer{layer}.{op}"),
    "layer": ("layer{layer}.before", "layer{layer}.{op}"),
}
"""Sharing scopes: the parameter sets of what stands before an operation, and of the operation. In the authors' code
every (layer, operation) has its own of both."""

SIZE = "layers"
"""The decision that says how many layers a network has, where that is searched."""

STEM = "stem"
CHOSEN, LEFT_OUT = "yes", "no"


class Layer(Options):
    """What each layer chooses.

    Attributes:
        op: its operation.
        skips: which earlier layers are added; null for none.
    """

    op: ImageOperation | ChooseImageOperation
    skips: ChooseSkips | None = ChooseSkips()


class FinalStack(Options):
    """The ``train.stack`` block of a macro network: what is different in the final network.

    Attributes:
        channels: of the first layers; null as in the search.
        combine: how a layer combines its operation and the chosen layers: ``concat`` (the authors' code) or ``sum``, as
            in the search.
        double: whether reductions double the channels.
    """

    channels: Width | None = None
    combine: Literal["concat", "sum"] = "concat"
    double: bool = True


def _ascending(layers: tuple[int, ...]) -> tuple[int, ...]:
    for index in range(1, len(layers)):
        if layers[index] <= layers[index - 1]:
            message = f"layers must be listed in ascending order, but {layers[index]} follows {layers[index - 1]}"
            raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": (index,)})
    return layers


class MacroNetworkSpec(Options):
    """The ``space`` block of a macro network.

    Attributes:
        kind: ``macro_network``.
        image: channels, height and width of the images.
        layers: how many (the paper: 12); or a choice of several numbers, which is then the first decision.
        each: what each layer chooses.
        channels: of every layer, or a choice of several numbers.
        reduce_after: numbers of the layers, counted from 1, after which the image is halved.
    """

    kind: Literal["macro_network"] = "macro_network"
    image: tuple[Count, Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field((3, 32, 32), strict=False)
    layers: Count | ChooseCount
    each: Layer
    channels: Width | ChooseWidth = 36
    reduce_after: Annotated[tuple[Count, ...], Field(strict=False), AfterValidator(_ascending)] = ()

    @model_validator(mode="after")
    def _reductions_are_inside(self) -> MacroNetworkSpec:
        most = self.layers if isinstance(self.layers, int) else max(self.layers.from_)
        for index, layer in enumerate(self.reduce_after):
            if layer >= most:
                message = (
                    f"nothing follows layer {layer}: the network has {most} layers, so 1 to {most - 1} can be reduced"
                )
                inner = ("reduce_after", index)
                raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": inner})
        halvings = most_halvings(self.image)
        if len(self.reduce_after) > halvings:
            size, named = f"{self.image[1]}x{self.image[2]}", len(self.reduce_after)
            message = f"`reduce_after` can name at most {halvings} layers for images of {size} pixels, found {named}"
            inner = ("reduce_after", halvings)
            raise PydanticCustomError("repeated_option", "{message}", {"message": message, "inner": inner})
        widths = (self.channels,) if isinstance(self.channels, int) else self.channels.from_
        if self.reduce_after and min(widths) < 2:
            message = "`channels` must be at least 2 where the image is halved: each half reads other pixels, found 1"
            place = () if isinstance(self.channels, int) else ("from", widths.index(1))
            context = {"message": message, "inner": ("channels", *place)}
            raise PydanticCustomError("repeated_option", "{message}", context)
        return self


def build(spec: MacroNetworkSpec, builder: GraphBuilder, stage: Stage) -> None:
    """Emit the decisions and the template ``main``: the image to the features of the last layer.

    Args:
        spec: the validated block.
        builder: what is filled.
        stage: which network; its sharing scope is a key of `SHARE_KEYS`, its stack a `FinalStack`.

    Raises:
        SpaceError: the final stack names channels that the space searches.
    """
    stack = stage.stack or FinalStack()
    if stack.channels == 1 and spec.reduce_after:
        raise SpaceError("train.stack.channels must be at least 2 where the image is halved")
    if stack.channels is not None and not isinstance(spec.channels, int):
        raise SpaceError("train.stack.channels cannot be given where the space searches the channels: leave it out")
    places = Places(builder)
    sizes = places.sizes(SIZE, spec.layers)
    final = stage.name == "final"
    width = places.width("channels", spec.channels if stack.channels is None or not final else stack.channels)
    network = _Network(spec, builder.template("main"), width, stack if final else None, stage.share)
    for layer in range(1, sizes.most + 1):
        name, exists = f"layer{layer}", sizes.above(layer - 1)
        alternatives = places.operations(f"{name}.op", spec.each.op, owner=name, when=exists)
        skips: list[tuple[str, Condition]] = []
        # The stem and all earlier layers but the one right before, which is always connected.
        for earlier in network.values[:-1] if spec.each.skips else ():
            bit = places.decision(f"{name}.skip.{earlier}", [LEFT_OUT, CHOSEN], "bit", owner=name, when=exists)
            skips.append((earlier, all_of(Sign(bit.name, CHOSEN))))
        network.add(layer, alternatives, skips)
    # As in conv cells: the first layer after the last reduction; every network has it.
    tapped = spec.reduce_after[-1] + 1 if spec.reduce_after else 1 + 2 * sizes.most // 3
    network.main.named_output("auxiliary", network.values[min(tapped, *sizes.numbers)])
    ends = [(network.values[size], all_of(*sizes.is_(size))) for size in sizes.numbers]
    main = network.main
    main.output(ends[0][0] if sizes.decision is None else main.merge("output", "sum", ends))


class _Network:
    """The main template while it grows.

    Attributes:
        main: the template.
        values: the owners of the stem and of the layers so far: names of nodes.
    """

    def __init__(
        self, spec: MacroNetworkSpec, main: TemplateBuilder, width: int | Chosen, final: FinalStack | None, share: str
    ) -> None:
        self.main = main
        self._spec, self._width, self._final = spec, width, final
        self._before, self._of_op = SHARE_KEYS[share]
        self.values = [main.op(STEM, network_op("stem", out=width), [main.input("image")])]
        self._made_at: dict[str, int] = {STEM: 0}

    def add(self, layer: int, alternatives: list[Alternative], skips: list[tuple[str, Condition]]) -> None:
        """One layer; `skips` are owners of earlier values."""
        main, name = self.main, f"layer{layer}"
        width = self._out(layer)
        previous = self._at(self.values[-1], layer)
        wires: list[tuple[str, Condition]] = []
        before: dict[str, str] = {}
        for each in alternatives:
            share = self._before.format(layer=layer, op=each.label)
            if share not in before:
                widen = network_op("pointwise", out=width)
                before[share] = main.op(share, widen, [previous], owner=name)
            key = self._of_op.format(layer=layer, op=each.label)
            # The paper applies separable convolutions twice in its cells only.
            use = given(each.use, repeat=1) if each.use.name == "sep_conv" else each.use
            value = main.op(f"{name}.{each.label}", use, [before[share]], share=key, owner=name)
            wires.append(
                (
                    main.op(f"{name}.{each.label}.relu", OperationUse("rectify"), [value], owner=name),
                    all_of(*each.chosen),
                )
            )
        chosen = [(self._at(earlier, layer), when) for earlier, when in skips]
        if self._final is None or self._final.combine == "sum":
            total = main.merge(f"{name}:sum", "sum", [*wires, *chosen], owner=name)
            main.op(name, OperationUse("batch_norm"), [total], owner=name)
        else:
            own = main.merge(f"{name}:op", "sum", wires, owner=name)
            joined = main.merge(f"{name}:concat", "concat", [*chosen, (own, ALWAYS)], owner=name)
            main.op(name, network_op("calibrate", out=width), [joined], owner=name)
        self.values.append(name)
        self._made_at[name] = layer

    def _halvings(self, layer: int) -> int:
        """How often a value is halved before `layer` reads it."""
        return sum(each < layer for each in self._spec.reduce_after)

    def _out(self, layer: int) -> int | Chosen:
        doubled = self._final is not None and self._final.double
        return scaled(self._width, 2 ** self._halvings(layer)) if doubled else self._width

    def _at(self, value: str, layer: int) -> str:
        """The value as `layer` reads it: halved by each reduction in between."""
        node = value
        for number in range(self._halvings(self._made_at[value]), self._halvings(layer)):
            reduced = f"{value}.reduced{number + 1}"
            if reduced not in self.main:
                after = self._spec.reduce_after[number] + 1
                use = network_op("factorised_reduction", out=self._out(after), relu=False)
                self.main.op(reduced, use, [node])
            node = reduced
        return node


def references(spec: MacroNetworkSpec, stack: FinalStack | None) -> Mapping[str, MacroNetworkSpec]:
    """``plain``: as many layers, every one a 3x3 convolution, without skips."""
    channels = spec.channels if stack is None or stack.channels is None else stack.channels
    most = spec.layers if isinstance(spec.layers, int) else max(spec.layers.from_)
    if not isinstance(channels, int):
        return {}
    return {"plain": plain_network(spec.image, most, channels, spec.reduce_after)}


def plain_network(image: Shape, layers: int, channels: int, reduce_after: tuple[int, ...]) -> MacroNetworkSpec:
    """A chain of 3x3 convolutions; as the final network of a space does, it doubles its channels at reductions."""
    plain = Layer.model_construct(op=OperationUse("conv", (("kernel", 3),)), skips=None)
    return MacroNetworkSpec.model_construct(
        kind="macro_network", image=image, layers=layers, each=plain, channels=channels, reduce_after=reduce_after
    )


def shapes(spec: MacroNetworkSpec) -> Mapping[str, Shape]:
    """The image."""
    return {"image": spec.image}


def distinct(spec: MacroNetworkSpec, space: SearchSpace) -> int | None:
    """The number of networks: the chain of layers leaves no two numberings of one.

    Layer k has k - 1 earlier values to choose from. Where operations are shared by name, there is no formula.
    """
    n_layer = n_operations(spec.each.op)
    if n_layer is None:
        return None
    networks = 0
    for n in numbers(spec.layers):
        skips = n * (n - 1) // 2 if spec.each.skips else 0
        networks += n_layer**n << skips
    return networks * n_widths(spec.channels, spec.layers)


KIND = SpaceKind(
    name="macro_network",
    summary="a chain of layers, each with an operation and any skip connections (ENAS macro)",
    config=MacroNetworkSpec,
    build=build,
    share=tuple(SHARE_KEYS),
    distinct=distinct,
    encodings=ENCODINGS,
    references=references,
    shapes=shapes,
    stack=FinalStack,
)
