"""Weight steps: gradient, guard, clipping, schedule and update over active parameters only.

Of a task with a team, every rank does the step on its part of the batch, with the mean of all gradients.

One trainer serves shared weights and standalone children alike: each step is given the networks that take part. What a
network does not name is not touched: no gradient, no weight decay, no momentum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from nasforge.executors.network import Network
from nasforge.recipe import Recipe
from nasforge.seeds import derive
from nasforge.tasks.base import Task

REPORT_EVERY = 50
"""Weight steps between two readings of their losses."""


@dataclass(frozen=True, eq=False)
class StepReport:
    """What one weight step did.

    The numbers stay where the network is until one is asked for, which waits for the device: ask now and then.

    Attributes:
        numbers: loss, norm of the gradient, and 1 for a skipped step, else 0.
        count: items of the batch, of all ranks together.
    """

    numbers: Tensor
    count: int

    @cached_property
    def _read(self) -> tuple[float, float, float]:
        loss, norm, skipped = self.numbers.tolist()
        return loss, norm, skipped

    @property
    def loss(self) -> float:
        """Mean data loss over the networks; not finite where the step was skipped for it."""
        return self._read[0]

    @property
    def gradient_norm(self) -> float:
        """Global norm before clipping."""
        return self._read[1]

    @property
    def skipped(self) -> bool:
        """Whether the gradient or the loss was not finite: then nothing moved and the carried state starts anew."""
        return self._read[2] != 0


class Losses:
    """The losses of steps that were not skipped, read when they are asked for."""

    def __init__(self) -> None:
        self._read: list[float] = []
        self._unread: list[StepReport] = []

    def add(self, report: StepReport) -> None:
        """Take a step."""
        self._unread.append(report)

    def read(self) -> list[float]:
        """All so far, in order."""
        self._read += [report.loss for report in self._unread if not report.skipped]
        self._unread.clear()
        return self._read

    def load_state(self, state: Sequence[float]) -> None:
        """Go on with what `read` gave."""
        self._read, self._unread = [float(loss) for loss in state], []


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return sum(values) / len(values) if values else None


def learning_rate(recipe: Recipe, step: int, total_steps: int, steps_per_epoch: int) -> float:
    """The rate of step `step`, counted from 0.

    The warm-up rises linearly over ``warmup_steps``, at most a tenth of an epoch; the schedule multiplies it. The bound
    does not depend on the length of the training: a short one, which selects, begins as the final one does.

    ``cosine_restarts`` is SGDR (Loshchilov and Hutter 2017, eq. 5) over steps, not whole epochs as in the authors' code
    of ENAS; the first step of a period has the peak rate and the last one ``final_fraction`` of it, as with ``cosine``.
    """
    warmup = min(recipe.warmup_steps, steps_per_epoch // 10)
    factor = min(1.0, (step + 1) / (warmup + 1))
    if recipe.schedule == "cosine":
        factor *= _cosine(recipe.final_fraction, step, total_steps)
    elif recipe.schedule == "cosine_restarts":
        factor *= _cosine(recipe.final_fraction, *_within_period(recipe, step, steps_per_epoch))
    elif recipe.schedule == "decay":
        factor *= recipe.decay_rate ** max(0, step // steps_per_epoch - recipe.decay_start_epoch)
    return max(recipe.minimum_learning_rate, recipe.learning_rate * factor)


def _cosine(final_fraction: float, step: int, n_steps: int) -> float:
    """From 1 at step 0 to `final_fraction` at step ``n_steps - 1`` and after it."""
    progress = min(1.0, step / max(1, n_steps - 1))
    return final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * progress))


def _within_period(recipe: Recipe, step: int, steps_per_epoch: int) -> tuple[int, int]:
    """The steps since the last restart, and those of the period; whole numbers, so that no rounding adds up."""
    period = recipe.restart_epochs * steps_per_epoch
    if recipe.restart_factor == 1:
        return step % period, period
    while step >= period:
        step, period = step - period, period * recipe.restart_factor
    return step, period


class Trainer:
    """The optimiser and the position in the data of one training.

    Args:
        task: gives losses; its team does the steps together.
        recipe: optimiser and schedule.
        total_steps: the length of the training, for the schedule.
        seed: derives masks and the order of the data.

    Attributes:
        step_number: steps done, skipped ones included.
        items: how many items (tokens, images) were trained on, per network.
    """

    def __init__(self, task: Task, recipe: Recipe, total_steps: int, *, seed: int) -> None:
        self._task = task
        self._team = task.team
        self._recipe = recipe
        self._total_steps = total_steps
        self._seed = seed
        self._steps_per_epoch = task.steps_per_epoch(recipe)
        self._states: list[Any] = []
        # The list of the one group is replaced by the active parameters before every step; state is kept per parameter.
        self._optimizer = _optimizer(recipe)
        self.step_number = 0
        self._skipped = torch.zeros(())
        self.items = 0

    def step(self, networks: Sequence[Network], of_ranks: Sequence[Network] = ()) -> StepReport:
        """One step on the next batch: the mean of the gradients of `networks`, each with its own carried state.

        Args:
            networks: what this rank trains on its part of the batch.
            of_ranks: where each rank of the team trains its own networks, those of all, in the order of the ranks; then
                a weight gets the mean over all ranks, of which those that do not use it count as zeros. Empty where all
                train the same.
        """
        everyone = of_ranks or networks
        if len(self._states) != len(networks):
            self._states = [None] * len(networks)
        before = self._moving(everyone)
        losses, count, states, rate = [], 0, [], self._drop_rate()
        for network, state in zip(networks, self._states, strict=True):
            dropping = network.dropping(rate, derive(self._seed, "drop path", self.step_number), self._team)
            with dropping, network.computing():
                result = self._task.loss(network, self._recipe, self.step_number, state, self._seed)
            (result.total / len(networks)).backward()  # type: ignore[no-untyped-call]
            losses.append(result.data)
            count = result.count * self._team.size
            states.append(result.state)
        active = dict.fromkeys(parameter for network in everyone for parameter in network.trained.values())
        if of_ranks:
            for parameter in active:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        parameters = [parameter for parameter in active if parameter.grad is not None]
        loss = losses[0].clone() if len(losses) == 1 else torch.stack(losses).mean()
        if self._team.size > 1:
            self._average(loss, parameters, before)
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        numbers = torch.stack([loss, norm])
        # From here on the device decides: to read whether all is finite would be to wait for it.
        bad = ~torch.isfinite(numbers).all()
        skipped = bad.float()
        if self._recipe.clip_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self._recipe.clip_norm, norm)
        self._update(parameters, skipped)
        for value, kept in before.items():
            value.copy_(torch.where(bad, kept, value))
        for parameter in parameters:
            parameter.grad = None
        self._states = [_started_anew(state, bad) for state in states]
        self.step_number += 1
        self._skipped = self._skipped + skipped
        self.items += count
        return StepReport(torch.cat([numbers, skipped[None]]), count)

    @property
    def skipped(self) -> int:
        """How many steps were skipped."""
        return int(self._skipped)

    def state(self, named: Mapping[str, nn.Parameter]) -> Mapping[str, Any]:
        """Everything but the weights that `load_state` needs to go on exactly, in the types of `Controller.state`.

        Args:
            named: the weights that were trained, by name.
        """
        name_of: dict[Tensor, str] = {parameter: name for name, parameter in named.items()}
        return {
            "step_number": self.step_number,
            "skipped": self.skipped,
            "items": self.items,
            "carried": [copy_of(state) for state in self._states],
            "optimizer": {
                name_of[parameter]: {key: copy_of(value) for key, value in moments.items()}
                for parameter, moments in self._optimizer.state.items()
            },
        }

    def load_state(self, state: Mapping[str, Any], named: Mapping[str, nn.Parameter]) -> None:
        """Go on where `state` was taken; `named` are the weights, which hold their values already."""
        device = next((weight.device for weight in named.values()), torch.device("cpu"))
        self.step_number, self.items = int(state["step_number"]), int(state["items"])
        self._skipped = torch.tensor(float(state["skipped"]))
        self._states = [_on_device(carried, device) for carried in state["carried"]]
        self._optimizer.state.clear()
        for name, moments in state["optimizer"].items():
            parameter = named[name]
            self._optimizer.state[parameter] = {
                # As the optimiser itself lays them out in memory.
                key: torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.to(device)
                for key, value in moments.items()
            }

    def _update(self, parameters: list[nn.Parameter], skipped: Tensor) -> None:
        """The optimiser's step, which leaves weights and state alone where `skipped` is 1."""
        group = self._optimizer.param_groups[0]
        group["params"] = parameters
        group["lr"] = learning_rate(self._recipe, self.step_number, self._total_steps, self._steps_per_epoch)
        if self._recipe.optimizer == "sgd" and self._recipe.momentum:
            self._start_momentum(parameters)
        # Fused kernels look at it, where torch.amp.GradScaler puts it.
        self._optimizer.found_inf = skipped  # type: ignore[attr-defined]
        self._optimizer.step()

    @staticmethod
    def _moving(networks: Sequence[Network]) -> dict[Tensor, Tensor]:
        """Running statistics that the forward passes of this step move, each with a copy."""
        moving = [network for network in networks if network.train_norms == "update"]
        return {value: value.clone() for network in moving for value in network.core.statistics.values()}

    def _average(self, loss: Tensor, parameters: Sequence[nn.Parameter], moved: Mapping[Tensor, Tensor]) -> None:
        """Average gradients and the loss over the ranks, in place, so that all skip the same steps.

        Running statistics that the step moved are averaged too: ranks see different images and would drift apart. They
        are linear in those of the batches, so that it is all the same how often this is done.
        """
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self._team.average([*gradients, *moved, loss])

    def _drop_rate(self) -> float:
        return self._recipe.drop_rate(min(1.0, (self.step_number + 1) / self._total_steps))

    def _start_momentum(self, parameters: Sequence[nn.Parameter]) -> None:
        """Momentum of 0 for weights that are new to the optimiser.

        The fused kernel wants it for all weights of a step or for none, and here some may be new.
        """
        for parameter in parameters:
            state = self._optimizer.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)


def _started_anew(state: Any, bad: Tensor) -> Any:
    """`state`, or zeros in the place of its tensors where `bad` holds."""
    if isinstance(state, tuple):
        return tuple(_started_anew(part, bad) for part in state)
    return state if state is None else state.masked_fill(bad, 0)


def copy_of(state: Any) -> Any:
    """A copy on the CPU of a tensor, or of a tuple of them; None of None."""
    if isinstance(state, tuple):
        return tuple(copy_of(part) for part in state)
    return None if state is None else state.detach().to("cpu", copy=True).contiguous()


def _on_device(state: Any, device: torch.device) -> Any:
    if isinstance(state, tuple):
        return tuple(_on_device(part, device) for part in state)
    return None if state is None else state.to(device, copy=True)


def _optimizer(recipe: Recipe) -> torch.optim.Optimizer:
    placeholder = [nn.Parameter(torch.zeros(1))]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(
            placeholder, lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay, fused=True
        )
    momentum = recipe.momentum
    return torch.optim.SGD(
        placeholder,
        lr=recipe.learning_rate,
        momentum=momentum,
        nesterov=momentum > 0,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
