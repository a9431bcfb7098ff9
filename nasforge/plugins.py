"""Plugins: found, loaded one at a time, and collected into a catalogue.

Built-ins come first, then installed distributions with an entry point in the group ``nasforge``, then the files that
the user names. pluggy registers and validates; hooks are called one plugin at a time, because pluggy drops the results
of all plugins when one raises. A plugin that raises is recorded and left out whole; the others go on.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pluggy

from nasforge import __version__, builtins, hookspecs
from nasforge.catalogue import SECTIONS, Catalogue, SectionName
from nasforge.errors import PluginError, suggest
from nasforge.plugin_sources import GROUP, files, installed, normalized
from nasforge.spec.nodes import printable

if TYPE_CHECKING:
    from nasforge.errors import Problem
    from nasforge.spec.nodes import Mark

BUILT_IN = "nasforge"
Stage = Literal["import", "registration", "collection"]

_HOOKS = tuple(section.hook for section in SECTIONS)


@dataclass(frozen=True)
class PluginInfo:
    """A plugin that works.

    Attributes:
        name: the name of its entry point, or its file name.
        distribution: the installed distribution that brought it, None for a file.
        version: of the distribution, None for a file.
        origin: ``built in``, ``entry point NAME = MODULE`` or the path of the file.
        registered: section of the catalogue -> names of what it registered; sections without any are left out.
    """

    name: str
    distribution: str | None
    version: str | None
    origin: str
    registered: Mapping[SectionName, tuple[str, ...]]


@dataclass(frozen=True)
class PluginFailure:
    """A plugin that raised and was left out.

    Attributes:
        plugin: the name of its entry point, or its file name.
        distribution: the installed distribution that brought it, None for a file.
        stage: when it failed: at ``import``, at ``registration`` (its hooks do not fit) or at ``collection`` (a hook
            raised, or returned what cannot be used).
        message: what went wrong, one line.
        error: what it raised, for a traceback.
    """

    plugin: str
    distribution: str | None
    stage: Stage
    message: str
    error: BaseException | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        of = f" of '{self.distribution}'" if self.distribution else ""
        return f"plugin '{self.plugin}'{of} failed at {self.stage}: {self.message}"


@dataclass(frozen=True)
class Requirement:
    """What `Plugins.require` found.

    Attributes:
        problems: one for each plugin that is missing or is no plugin of nasforge.
        missing: the distributions that are not installed, as the user wrote them.
    """

    problems: tuple[Problem, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Plugins:
    """What `build_plugins` found; immutable.

    Attributes:
        catalogue: the components of every plugin that works.
        listing: the plugins that work, in the order of their registration.
        failures: the plugins that do not.
    """

    catalogue: Catalogue
    listing: tuple[PluginInfo, ...]
    failures: tuple[PluginFailure, ...]

    def require(self, distributions: Sequence[str], marks: Sequence[Mark]) -> Requirement:
        """Check that the plugins that a spec names are there; names are compared as package indexes do.

        Args:
            distributions: names of distributions, as the user wrote them.
            marks: the place of each.

        Raises:
            PluginError: one of them is installed, but failed.
        """
        problems: list[Problem] = []
        missing: list[str] = []
        working = {normalized(plugin.distribution) for plugin in self.listing if plugin.distribution}
        for name, mark in zip(distributions, marks, strict=True):
            shown = printable(name, 80)
            for failure in self.failures:
                if failure.distribution and normalized(failure.distribution) == normalized(name):
                    hint = f"repair it, or uninstall it: pip uninstall {failure.distribution}"
                    raise PluginError(
                        f"{mark.where}: the space needs this plugin.\n{failure}\n{hint}"
                    ) from failure.error
            if normalized(name) in working:
                continue
            if _is_installed(name):
                message = f"'{shown}' is installed, but is not a plugin of nasforge"
                problems.append(mark.problem(message, f"it has no entry point in the group '{GROUP}'"))
            else:
                missing.append(name)
                message = f"the space needs the plugin '{shown}', which is not installed"
                problems.append(mark.problem(message, f"pip install {shown}"))
        return Requirement(tuple(problems), tuple(missing))


def build_plugins(extra_files: Sequence[Path] = ()) -> Plugins:
    """Load every plugin and collect what they register. Nothing is cached: two calls give two independent results.

    Args:
        extra_files: Python files that the user names, loaded last; ``__name__`` in them is unique to the file, so that
            ``f"{__name__}:factory"`` is a dotted name that can be resolved.

    Raises:
        UsageError: a file is not there, or cannot be read.
    """
    manager = pluggy.PluginManager("nasforge")
    manager.add_hookspecs(hookspecs)
    manager.register(builtins, BUILT_IN)
    registered = _collect(manager, builtins)
    catalogue = Catalogue().extended(BUILT_IN, registered)
    listing = [PluginInfo(BUILT_IN, BUILT_IN, __version__, "built in", _names(registered))]
    failures: list[PluginFailure] = []
    for found in [*installed(), *files(extra_files)]:
        stage: Stage = "import"
        plugin: object = None
        try:
            plugin = found.load()
            stage = "registration"
            manager.register(plugin, f"{found.owner}:{found.name}")
            _check_hooks(manager, plugin)
            stage = "collection"
            registered = _collect(manager, plugin)
            catalogue = catalogue.extended(found.owner, registered)
        except (Exception, SystemExit) as error:  # A plugin may raise anything.
            failures.append(PluginFailure(found.name, found.distribution, stage, _described(error), error))
            if plugin is not None and manager.get_name(plugin) == f"{found.owner}:{found.name}":
                manager.unregister(plugin)
        else:
            info = PluginInfo(found.name, found.distribution, found.version, found.origin, _names(registered))
            listing.append(info)
    return Plugins(catalogue, tuple(listing), tuple(failures))


def _check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Refuse hooks that nothing would ever call; pluggy alone ignores them."""
    faults: list[str] = []
    n_hooks = 0
    for name in dir(plugin):
        if not inspect.isroutine(getattr(plugin, name, None)):
            continue
        if manager.parse_hookimpl_opts(plugin, name) is not None:
            n_hooks += 1
            if name not in _HOOKS:
                faults.append(f"unknown hook '{name}'.{suggest(name, _HOOKS)}")
        elif name in _HOOKS or (name.startswith("nasforge_") and suggest(name, _HOOKS)):
            faults.append(f"'{name}' looks like a hook, but is not marked with @nasforge.hookimpl")
    if not faults and not n_hooks:
        faults.append("it implements no hook")
    if faults:
        raise PluginError(f"{'; '.join(faults)} (hooks: {', '.join(_HOOKS)})")


def _collect(manager: pluggy.PluginManager, plugin: object) -> dict[SectionName, tuple[object, ...]]:
    """Call the hooks of one plugin."""
    others = [other for other in manager.get_plugins() if other is not plugin]
    collected: dict[SectionName, tuple[object, ...]] = {}
    for section in SECTIONS:
        caller = manager.subset_hook_caller(section.hook, others)
        if not caller.get_hookimpls():
            continue
        results = caller()
        # pluggy leaves None out of the results.
        result = results[0] if results else None
        if not isinstance(result, list | tuple):
            expected = f"a list of {section.component.__name__}"
            raise PluginError(f"{section.hook}() must return {expected}, found {printable(repr(result), 60)}")
        collected[section.name] = tuple(result)
    return collected


def _names(registered: Mapping[SectionName, tuple[object, ...]]) -> dict[SectionName, tuple[str, ...]]:
    return {section: tuple(getattr(c, "name", "") for c in components) for section, components in registered.items()}


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False
    return True


def _described(error: BaseException) -> str:
    """One line: what was raised, and by which line of which file where that is not ours."""
    if isinstance(error, PluginError):
        return printable(str(error), 500)
    try:
        # Messages of pluggy and pydantic have several lines.
        text = " ".join(str(error).split())
    except Exception:  # The __str__ of a foreign exception.
        text = "(its message cannot be shown)"
    shown = f"{type(error).__name__}: {printable(text, 300)}" if text else type(error).__name__
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    file = last.tb_frame.f_code.co_filename if last else ""
    foreign = file.endswith(".py") and Path(file).parent not in (Path(__file__).parent, Path(importlib.__file__).parent)
    return f"{shown} ({Path(file).name}:{last.tb_lineno})" if last and foreign else shown
