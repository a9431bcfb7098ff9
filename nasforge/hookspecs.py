"""Every extension point of nasforge: the hooks that built-ins and foreign plugins alike implement.

A plugin is an installed distribution with an entry point in the group ``nasforge`` that names a module (or object)
whose functions, marked with ``@nasforge.hookimpl``, return components. See docs/writing-a-plugin.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from nasforge.components import ControllerKind, ExecutorKind, Operation, SpaceKind, StrategyKind, TaskKind

hookspec = pluggy.HookspecMarker("nasforge")
hookimpl = pluggy.HookimplMarker("nasforge")


@hookspec
def nasforge_operations() -> list[Operation]:
    """Operations that spaces can name."""
    return []


@hookspec
def nasforge_space_kinds() -> list[SpaceKind]:
    """Kinds of search space."""
    return []


@hookspec
def nasforge_controllers() -> list[ControllerKind]:
    """Controllers: they propose architectures and learn from rewards."""
    return []


@hookspec
def nasforge_executors() -> list[ExecutorKind]:
    """Executors: they run child models."""
    return []


@hookspec
def nasforge_strategies() -> list[StrategyKind]:
    """Strategies: who trains what and when."""
    return []


@hookspec
def nasforge_tasks() -> list[TaskKind]:
    """Tasks: data, loss, metric, reward."""
    return []
