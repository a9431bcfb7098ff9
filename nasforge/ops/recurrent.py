"""Declarations of the operations of recurrent cells: activations, and the pieces of a highway step.

The highway step is that of ENAS (Pham et al. 2018, section 2.1; reference codes in docs/enas.md)::

    [u, t] = s_p W          s = s_p + sigmoid(t) * (f(u) - s_p)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from pydantic import Field

from nasforge.components import Operation, Options, Shape, WeightSpec, activation

_TORCH = "nasforge.ops.recurrent_torch"


class ProjectionOptions(Options):
    """Parameters of ``projection``.

    Attributes:
        bias: whether a vector is added.
    """

    bias: bool = False


class ClipNormOptions(Options):
    """Parameters of ``clip_norm``: rows longer than `max_norm` (Euclidean) are scaled down to it."""

    max_norm: float = Field(gt=0)


def _projection_weights(config: ProjectionOptions, shapes: Sequence[Shape]) -> tuple[WeightSpec, ...]:
    features = shapes[0][-1]
    weight = WeightSpec("weight", (features, 2 * features), fan_in=features)
    return (weight, WeightSpec("bias", (2 * features,), init="zeros")) if config.bias else (weight,)


def _projection_source(
    config: ProjectionOptions, inputs: Sequence[str], weights: Sequence[str], parts: Sequence[Callable[[str], str]]
) -> str:
    return f"{inputs[0]} @ {weights[0]}" + (f" + {weights[1]}" if config.bias else "")


def _highway_source(
    config: Options, inputs: Sequence[str], weights: Sequence[str], parts: Sequence[Callable[[str], str]]
) -> str:
    return f"highway({inputs[0]}, {inputs[1]}, lambda u: {parts[0]('u')})"


def _add_source(
    config: Options, inputs: Sequence[str], weights: Sequence[str], parts: Sequence[Callable[[str], str]]
) -> str:
    return f"{inputs[0]} + {inputs[1]}"


def _mask_source(
    config: Options, inputs: Sequence[str], weights: Sequence[str], parts: Sequence[Callable[[str], str]]
) -> str:
    return f"apply_mask({inputs[0]}, {inputs[1]})"


def _clip_source(
    config: ClipNormOptions, inputs: Sequence[str], weights: Sequence[str], parts: Sequence[Callable[[str], str]]
) -> str:
    return f"clip_norm({inputs[0]}, {config.max_norm!r})"


_HIGHWAY_HELPER = '''\
def highway(state, pre, activation):
    """A gated step from `state`: pre holds the candidate's and the gate's pre-activations side by side."""
    u, t = pre.chunk(2, -1)
    return torch.lerp(state, activation(u), torch.sigmoid(t))
'''

_MASK_HELPER = '''\
def apply_mask(x, mask):
    """x * mask, or x where there is no mask."""
    return x if mask is None else x * mask
'''

_CLIP_HELPER = '''\
def clip_norm(x, max_norm):
    """Scale down the rows of x that are longer than max_norm."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * (max_norm / norm.clamp_min(max_norm))
'''

OPERATIONS: tuple[Operation, ...] = (
    activation(
        "tanh", "hyperbolic tangent", f"{_TORCH}:tanh", "torch.tanh({x})", derivative=f"{_TORCH}:tanh_derivative"
    ),
    activation(
        "relu", "rectifier max(x, 0)", f"{_TORCH}:relu", "torch.relu({x})", derivative=f"{_TORCH}:relu_derivative"
    ),
    activation(
        "sigmoid",
        "logistic function",
        f"{_TORCH}:sigmoid",
        "torch.sigmoid({x})",
        derivative=f"{_TORCH}:sigmoid_derivative",
    ),
    replace(
        activation(
            "identity",
            "x itself",
            f"{_TORCH}:identity",
            "{x}",
            flops_per_element=0,
            derivative=f"{_TORCH}:identity_derivative",
        ),
        families=("activation", "image"),
    ),
    Operation(
        "projection",
        "matrix product to the pre-activations of candidate and gate",
        f"{_TORCH}:projection",
        _projection_source,
        config=ProjectionOptions,
        shape=lambda config, shapes: (*shapes[0][:-1], 2 * shapes[0][-1]),
        weights=_projection_weights,
        flops=lambda config, shapes: 4 * shapes[0][-1] ** 2 + (2 * shapes[0][-1] if config.bias else 0),
    ),
    Operation(
        "highway",
        "gated step from a state towards an activation of a pre-activation",
        f"{_TORCH}:highway",
        _highway_source,
        (_HIGHWAY_HELPER,),
        flops=lambda config, shapes: 4 * shapes[0][-1],
    ),
    Operation("add", "sum of two values", f"{_TORCH}:add", _add_source),
    Operation("mask", "product with a mask, where there is one", f"{_TORCH}:mask", _mask_source, (_MASK_HELPER,)),
    Operation(
        "clip_norm",
        "scale rows down to a Euclidean norm",
        f"{_TORCH}:clip_norm",
        _clip_source,
        (_CLIP_HELPER,),
        config=ClipNormOptions,
        flops=lambda config, shapes: 3 * shapes[0][-1],
    ),
)
