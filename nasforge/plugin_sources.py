"""Where plugins come from: entry points of installed distributions, and Python files that the user names."""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from nasforge.errors import UsageError
from nasforge.spec.nodes import printable

GROUP = "nasforge"


@dataclass(frozen=True)
class FoundPlugin:
    """A plugin that was not loaded yet.

    Attributes:
        name: the name of its entry point, or its file name.
        distribution: the installed distribution that brings it, None for a file.
        version: of the distribution, None for a file.
        origin: ``entry point NAME = MODULE`` or the path of the file.
        load: imports it; may raise anything.
    """

    name: str
    distribution: str | None
    version: str | None
    origin: str
    load: Callable[[], object]

    @property
    def owner(self) -> str:
        """What messages call the owner of its components."""
        return self.distribution or self.origin


def normalized(name: str) -> str:
    """The name of a distribution in the form of PEP 503, in which equal names are equal text."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed() -> list[FoundPlugin]:
    """Entry points by the name of their distribution; of a name that is found twice, the first on the path counts.

    A distribution whose entry points cannot be read becomes a plugin whose `load` raises, if it may be one of ours.
    """
    found: list[FoundPlugin] = []
    seen: set[str] = set()
    # Distribution by distribution: `entry_points()` raises for all when the metadata of one cannot be parsed.
    for distribution in importlib.metadata.distributions():
        try:
            points = [point for point in distribution.entry_points if point.group == GROUP]
        except Exception as error:  # What the parser of foreign metadata raises is not promised.
            if f"[{GROUP}]" in _entry_point_text(distribution):
                name, version = _identity(distribution)
                found.append(FoundPlugin("entry_points.txt", name, version, "metadata", partial(_raise, error)))
            continue
        if not points:
            continue
        name, version = _identity(distribution)
        if name is not None and normalized(name) in seen:
            continue
        seen.add(normalized(name or ""))
        found += [
            FoundPlugin(point.name, name, version, f"entry point {point.name} = {point.value}", point.load)
            for point in points
        ]
    return sorted(found, key=lambda plugin: (normalized(plugin.owner), plugin.name))


def files(paths: Sequence[Path]) -> Iterable[FoundPlugin]:
    """The files in the order given, each once.

    Raises:
        UsageError: one is not there.
    """
    found: dict[Path, FoundPlugin] = {}
    for path in paths:
        if not path.is_file():
            raise UsageError(f"no such plugin file: {printable(str(path))}; --plugin takes the path of a Python file")
        found.setdefault(path.resolve(), FoundPlugin(path.name, None, None, str(path), partial(load_file, path)))
    return found.values()


def load_file(path: Path) -> ModuleType:
    """Import the file `path` under a name made of its place and content; ``sys.path`` is not touched.

    The name is the same in every process, so that dotted names into the file can be resolved wherever the file was
    loaded first. A file that was loaded before and has not changed since is not run again.

    Raises:
        Exception: whatever reading or running the file raises.
    """
    source = path.read_bytes()
    digest = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape") + b"\0" + source).hexdigest()
    name = f"nasforge_plugin_file_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _Loader(path.resolve(), source)
    spec = importlib.util.spec_from_loader(name, loader)
    if spec is None:
        raise ImportError(f"no module can be made of {path}")
    module = importlib.util.module_from_spec(spec)
    # Before it runs: pydantic and dataclasses look up the module of a class by its name.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


class _Loader(importlib.abc.ExecutionLoader):
    """Runs source that was read already; unlike the standard loader it writes no bytecode beside the user's file."""

    def __init__(self, path: Path, source: bytes) -> None:
        self._path = path
        self._source = source

    def is_package(self, fullname: str) -> bool:
        return False

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._source)


def _entry_point_text(distribution: importlib.metadata.Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except (OSError, ValueError):
        return ""


def _identity(distribution: importlib.metadata.Distribution) -> tuple[str | None, str | None]:
    """Name and version, None where the metadata does not say."""
    try:
        return str(distribution.metadata["Name"]), distribution.version
    except Exception:  # Foreign metadata again.
        return None, None


def _raise(error: Exception) -> object:
    raise error
