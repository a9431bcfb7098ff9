"""From the dotted name of a component's factory to the factory: the one place where such names are resolved."""

from __future__ import annotations

import importlib
from typing import Any

from nasforge.errors import PluginError


def resolve(dotted: str) -> Any:
    """The object behind ``package.module:name``.

    Raises:
        PluginError: the module cannot be imported or has no such name; the message gives the cause.
    """
    module_name, _, attribute = dotted.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise PluginError(f"'{dotted}' cannot be loaded: {type(error).__name__}: {error}") from error
