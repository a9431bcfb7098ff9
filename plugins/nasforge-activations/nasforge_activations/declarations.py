"""Declarations of the activations. Every command of nasforge imports this module: no torch here."""

from __future__ import annotations

from pydantic import Field

from nasforge import hookimpl
from nasforge.components import Operation, Options, activation

_FUNCTIONS = "nasforge_activations.functions"


class LeakyReluOptions(Options):
    """Parameters of ``leaky_relu``.

    Attributes:
        slope: the factor of negative inputs, from 0 (``relu``) to 1 (``identity``).
    """

    slope: float = Field(default=0.01, ge=0, le=1)


OPERATIONS: tuple[Operation, ...] = (
    activation(
        "gelu",
        "x times the normal distribution function of x (Hendrycks and Gimpel 2016), exact",
        f"{_FUNCTIONS}:gelu",
        "F.gelu({x})",
        flops_per_element=5,
        derivative=f"{_FUNCTIONS}:gelu_derivative",
    ),
    activation(
        "swish",
        "x sigmoid(x) (Ramachandran et al. 2017), also SiLU",
        f"{_FUNCTIONS}:swish",
        "F.silu({x})",
        flops_per_element=2,
        derivative=f"{_FUNCTIONS}:swish_derivative",
    ),
    activation(
        "softsign",
        "x / (1 + |x|)",
        f"{_FUNCTIONS}:softsign",
        "F.softsign({x})",
        flops_per_element=3,
        derivative=f"{_FUNCTIONS}:softsign_derivative",
    ),
    activation("sine", "sin(x)", f"{_FUNCTIONS}:sine", "torch.sin({x})", derivative=f"{_FUNCTIONS}:sine_derivative"),
    activation(
        "leaky_relu",
        "x, or slope x where x is negative (Maas et al. 2013)",
        f"{_FUNCTIONS}:leaky_relu",
        "F.leaky_relu({x}, {slope})",
        config=LeakyReluOptions,
        flops_per_element=2,
        derivative=f"{_FUNCTIONS}:leaky_relu_derivative",
    ),
)


@hookimpl
def nasforge_operations() -> list[Operation]:
    """The activations of this distribution."""
    return list(OPERATIONS)
