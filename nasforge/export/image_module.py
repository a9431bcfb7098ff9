"""A searched image classifier as one readable file of plain torch: no nasforge is needed to load, use or train it.

The file computes what the interpreter computes, with the same calls in the same order. Its parts are the functions that
the operations bring (`Operation.helpers`), a class for each searched cell, the class ``Network``, and a fixed frame:
reading of weights and images, and a command line. Dropout and augmentation, which the task adds in training, are no
part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from nasforge.components import Operation
from nasforge.errors import NasforgeError
from nasforge.export.document import ExportedModule, docstring, module_text
from nasforge.export.image_cells import NETWORK_ATTRIBUTES, cell_classes
from nasforge.export.image_class import ClassWriter
from nasforge.export.image_frame import FRAME_NAMES, LOADING, READING, USAGE
from nasforge.export.image_shapes import Sized, sized
from nasforge.export.names import string_literal, tuple_literal
from nasforge.export.parts import defined_functions, helpers_of
from nasforge.graph.plan import Plan

if TYPE_CHECKING:
    from nasforge.executors.network import Network

_SHELL = {"shell.weight": "classifier.weight", "shell.bias": "classifier.bias"}


def image_classifier_source(
    plan: Plan,
    operations: Mapping[str, Operation],
    network: Network,
    *,
    image_shape: tuple[int, int, int],
    classes: Sequence[str],
    mean: Sequence[float],
    deviation: Sequence[float],
    title: str,
    facts: Sequence[tuple[str, str]],
) -> ExportedModule:
    """Write a derived image classifier as a module that needs torch and safetensors only.

    The text is laid out as ``ruff format --line-length 120`` does, as far as the operations' own sources are.

    Args:
        plan: the plan of one architecture (`plan_architecture`); plans for soft gates are refused where they show.
        operations: the catalogue's operations.
        network: the network of that plan; names and sizes are taken from it, values are not.
        image_shape: (channels, height, width) of the images.
        classes: the names of the classes in the order of the classifier's outputs; any text.
        mean: of each channel, on the scale 0 to 1.
        deviation: likewise, greater than 0.
        title: what the model is, for the file's docstring; any text.
        facts: (name, value) pairs for the docstring, e.g. the test accuracy; any text.

    Raises:
        NasforgeError: the plan cannot be written, its weights are not those of `network`, or an operation's source
            holds what does not belong into an exported network.
    """
    inputs = plan.main.template.inputs
    if inputs != ("image",):
        raise NasforgeError(f"the export writes networks that read 'image'; this one reads {', '.join(inputs)}")
    _check_constants(network, image_shape, classes, mean, deviation)
    main = sized(plan, plan.main, operations, {"image": image_shape})
    calls = [step for step in plan.main.steps if step.node.role == "call"]
    called = dict.fromkeys(call.node.template for call in calls)
    steps = [step for name in ("main", *called) for step in plan.templates[name].steps]
    helpers = helpers_of(steps, operations, FRAME_NAMES)
    reserved = {*FRAME_NAMES, *(name for text in helpers for name in defined_functions(text))}
    cells = cell_classes(plan, operations, network.momentum, main, reserved)
    reserved |= cells.classes
    writer = ClassWriter(main, operations, network.momentum, reserved, NETWORK_ATTRIBUTES, cells.calls)
    names = _SHELL | {f"core.main/{share}.{name}": attribute for share, name, attribute in writer.names} | cells.names
    _check_weights(network, names, {"main/": main, **cells.sized})
    constants = [
        f"IMAGE_SHAPE = {tuple(image_shape)}",
        *tuple_literal("CLASSES", [string_literal(name) for name in classes]),
        *tuple_literal("MEAN", [repr(float(value)) for value in mean]),
        *tuple_literal("DEVIATION", [repr(float(value)) for value in deviation]),
        "FOLDER = Path(__file__).parent",
    ]
    code = [*helpers, *cells.texts, "\n".join(_network(main, writer, len(calls))), LOADING, READING]
    source = module_text(docstring(title or "An image classifier", facts, USAGE), "\n".join(constants), code)
    return ExportedModule(source, names)


def _network(main: Sized, writer: ClassWriter, n_calls: int) -> Iterator[str]:
    number, word = (n_calls, "cell") if n_calls else (writer.n_nodes, "layer")
    what = f"{number} {word}{'s' * (number != 1)}"
    channels, height, width = main.shapes[main.plan.output]
    yield "class Network(nn.Module):"
    yield f'    """A network of {what} with a linear classifier; its weights are not set until they are loaded."""'
    yield ""
    yield "    def __init__(self) -> None:"
    yield "        super().__init__()"
    yield from writer.creation([str(size) for size in main.sizes])
    yield f"        self.classifier = nn.Linear({channels}, len(CLASSES))"
    yield ""
    reads = "images `[n, channels, height, width]`, as `normalise` gives them"
    yield from writer.forward("features", f"The features `[n, {channels}, {height}, {width}]` of {reads}.")
    yield ""
    yield "    def forward(self, image: Tensor) -> Tensor:"
    yield f'        """Logits `[n, classes]` of {reads}."""'
    yield "        return self.classifier(self.features(image).mean((2, 3)))"


def _check_constants(
    network: Network,
    image_shape: tuple[int, int, int],
    classes: Sequence[str],
    mean: Sequence[float],
    deviation: Sequence[float],
) -> None:
    shell = {name: tuple(p.shape) for name, p in network.parameters.items() if name.startswith("shell.")}
    expected = {"shell.weight": (len(classes), network.core.width), "shell.bias": (len(classes),)}
    if shell != expected:
        raise NasforgeError(
            f"the export writes linear classifiers of {len(classes)} classes, with the weights {expected}; this one's "
            f"shell has {shell}"
        )
    numbers = [*mean, *deviation]
    in_range = all(0 <= each <= 1 for each in numbers) and all(each > 0 for each in deviation)
    if len(mean) != image_shape[0] or len(deviation) != image_shape[0] or not in_range:
        raise NasforgeError(
            f"mean and deviation must be a number from 0 to 1 for each of {image_shape[0]} channels, and no deviation "
            f"may be 0; found {list(mean)} and {list(deviation)}"
        )


def _check_weights(network: Network, names: Mapping[str, str], sized: Mapping[str, Sized]) -> None:
    """That the plan owns what the network owns, in equal shapes."""
    there = {*network.parameters, *(f"core.{name}" for name in network.core.statistics)}
    if set(names) != there:
        differing = ", ".join(sorted(set(names) ^ there))
        raise NasforgeError(f"the plan and the network that are exported differ in their weights: {differing}")
    for prefix, of in sized.items():
        for share, each in of.sets.items():
            for spec in (*each.weights, *(spec for norm in each.norms for spec in norm.weights)):
                name = f"core.{prefix}{share}.{spec.name}"
                found = tuple(network.parameters[name].shape)
                if found != spec.shape:
                    raise NasforgeError(f"'{name}' has the shape {found} in the network, and {spec.shape} in the plan")
