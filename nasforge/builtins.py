"""The components that come with nasforge, registered through the hooks that every plugin uses."""

from __future__ import annotations

from nasforge.components import ControllerKind, ExecutorKind, Operation, SpaceKind, StrategyKind, TaskKind
from nasforge.controllers.options import CONTROLLERS
from nasforge.executors.options import EXECUTORS
from nasforge.hookspecs import hookimpl
from nasforge.kinds import conv_cell, macro_network, named_choices, recurrent_cell
from nasforge.ops import image, option, recurrent
from nasforge.strategies.options import STRATEGIES
from nasforge.tasks.image_options import IMAGE_CLASSIFICATION
from nasforge.tasks.options import TASKS
from nasforge.tasks.table_options import TABLE


@hookimpl
def nasforge_operations() -> list[Operation]:
    """Operations of recurrent cells and of networks of images."""
    return [*recurrent.OPERATIONS, *image.OPERATIONS, option.OPTION]


@hookimpl
def nasforge_space_kinds() -> list[SpaceKind]:
    """The recurrent cell, the convolutional cell, the macro network, and choices without a network."""
    return [recurrent_cell.KIND, conv_cell.KIND, macro_network.KIND, named_choices.KIND]


@hookimpl
def nasforge_controllers() -> list[ControllerKind]:
    """Random sampling and the LSTM of ENAS."""
    return list(CONTROLLERS)


@hookimpl
def nasforge_executors() -> list[ExecutorKind]:
    """Shared weights."""
    return list(EXECUTORS)


@hookimpl
def nasforge_strategies() -> list[StrategyKind]:
    """ENAS."""
    return list(STRATEGIES)


@hookimpl
def nasforge_tasks() -> list[TaskKind]:
    """Language modelling, image classification, and tables of scores."""
    return [*TASKS, IMAGE_CLASSIFICATION, TABLE]
