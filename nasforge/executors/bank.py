"""The weight bank: one parameter set per share key, allocated when it is first used.

Every set is drawn from its own random stream, named by the seed and the key, so the order of allocation changes
nothing and a child trained alone starts from the same numbers whatever was built before it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from nasforge.components import NormSpec, WeightSpec
from nasforge.errors import SpaceError
from nasforge.executors.drops import DropMode
from nasforge.executors.norms import NormMode
from nasforge.executors.reuse import ReuseMode
from nasforge.seeds import derive


@dataclass(frozen=True)
class Modes:
    """What differs between training and scoring of the networks on one bank.

    Attributes:
        norms: which statistics their batch norms take.
        drops: how much their drop-paths drop.
        reuse: what they compute together.
    """

    norms: NormMode = field(default_factory=NormMode)
    drops: DropMode = field(default_factory=DropMode)
    reuse: ReuseMode = field(default_factory=ReuseMode)


class WeightBank:
    """Parameter sets by share key.

    Args:
        seed: derives the stream of every set.
        init_range: initialise matrices by U(±init_range); None for U(±1/sqrt(fan_in)).
        device: where the parameters live.
        dtype: their type.

    Attributes:
        modes: of the networks on it, one of which runs at a time.
        bound: operations that the interpreter bound to parameter sets: the same for every child that uses them.
    """

    def __init__(
        self,
        seed: int,
        *,
        init_range: float | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.modes = Modes()
        self.bound: dict[Hashable, Any] = {}
        self._seed = seed
        self._init_range = init_range
        self._device = torch.device(device)
        self._dtype = dtype
        self._loaded: dict[str, Tensor] = {}
        self._sets: dict[str, tuple[tuple[WeightSpec, ...], tuple[nn.Parameter, ...]]] = {}
        self._statistics: dict[str, Tensor] = {}

    def __len__(self) -> int:
        """How many parameter sets and running statistics were allocated."""
        return len(self._sets) + len(self._statistics)

    def take(self, key: str, specs: Sequence[WeightSpec]) -> tuple[nn.Parameter, ...]:
        """The parameters of `key`, allocated on the first call.

        Raises:
            SpaceError: nodes that share `key` disagree about its tensors.
        """
        wanted = tuple(specs)
        if key not in self._sets:
            self._sets[key] = wanted, tuple(self._fresh(key, spec) for spec in wanted)
        specs_there, parameters = self._sets[key]
        if specs_there != wanted:
            raise SpaceError(f"nodes that share the weights '{key}' disagree: {specs_there} and {wanted}")
        return parameters

    def statistics(self, key: str, norm: NormSpec) -> dict[str, Tensor]:
        """The running mean (0 at first) and variance (1) of one batch norm of `key`, each ``[channels]``, by name."""
        found: dict[str, Tensor] = {}
        for name, start in (("mean", torch.zeros), ("variance", torch.ones)):
            full = f"{key}.{norm.name}.{name}"
            if full not in self._statistics:
                loaded = self._loaded.get(full)
                value = start(norm.channels, dtype=self._dtype)
                if loaded is not None:
                    value = _checked(full, loaded, (norm.channels,)).to(self._dtype, copy=True)
                self._statistics[full] = value.to(self._device)
            found[full] = self._statistics[full]
        return found

    def values(self, *, statistics: bool) -> dict[str, Tensor]:
        """All weights, by name: those that were allocated, and those that were loaded and not asked for yet.

        Args:
            statistics: whether running statistics are among them.
        """
        allocated: dict[str, Tensor] = dict(self.named_parameters())
        running = self.named_statistics()
        found = {name: value for name, value in self._loaded.items() if statistics or not _is_statistic(name)}
        return dict(sorted({**found, **allocated, **(running if statistics else {})}.items()))

    def put_back(self, statistics: Mapping[str, Tensor]) -> None:
        """Copy values into running statistics that were allocated, by name."""
        for name, value in statistics.items():
            self._statistics[name].copy_(value)

    def _fresh(self, key: str, spec: WeightSpec) -> nn.Parameter:
        loaded = self._loaded.get(f"{key}.{spec.name}")
        if loaded is not None:
            value = _checked(f"{key}.{spec.name}", loaded, spec.shape).to(self._dtype, copy=True)
        elif spec.init == "zeros":
            value = torch.zeros(spec.shape, dtype=self._dtype)
        elif spec.init == "ones":
            value = torch.ones(spec.shape, dtype=self._dtype)
        else:
            bound = self._init_range if self._init_range is not None else 1.0 / math.sqrt(spec.fan_in)
            generator = torch.Generator().manual_seed(derive(self._seed, "weights", key, spec.name))
            value = torch.empty(spec.shape, dtype=self._dtype).uniform_(-bound, bound, generator=generator)
        return nn.Parameter(value.to(self._device))

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """All parameters that were allocated, by ``key.name``, in order of the names."""
        listed = {
            f"{key}.{spec.name}": parameter
            for key, (specs, parameters) in self._sets.items()
            for spec, parameter in zip(specs, parameters, strict=True)
        }
        return dict(sorted(listed.items()))

    def named_statistics(self) -> dict[str, Tensor]:
        """All running statistics that were allocated, by name, in order of the names."""
        return dict(sorted(self._statistics.items()))

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Continue with `values`, by the names of `named_parameters` and `named_statistics`.

        What is allocated are overwritten; the others take their value when they are allocated, and what
        `values` does not name is drawn as if nothing had been loaded.

        Raises:
            ValueError: a shape differs.
        """
        self._loaded = dict(values)
        with torch.no_grad():
            for name, parameter in {**self.named_parameters(), **self.named_statistics()}.items():
                if name in values:
                    parameter.copy_(_checked(name, values[name], tuple(parameter.shape)))


def _is_statistic(name: str) -> bool:
    return name.endswith((".mean", ".variance"))


def _checked(name: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(value.shape) != shape:
        raise ValueError(f"'{name}' has shape {tuple(value.shape)}, not {shape}")
    return value
