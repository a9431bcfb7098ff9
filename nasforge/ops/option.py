"""The operation that stands for an option of a space without networks: it passes its input on."""

from __future__ import annotations

from nasforge.components import Operation, Options


class OptionOptions(Options):
    """Parameters of ``option``.

    Attributes:
        choice: the decision and what is chosen.
    """

    choice: str = ""


OPTION = Operation(
    "option",
    "an option of a space without networks",
    "nasforge.ops.recurrent_torch:identity",
    lambda config, inputs, weights, parts: inputs[0],
    config=OptionOptions,
    flops=lambda config, shapes: 0,
)
