"""Where data sets and caches lie on this platform."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nasforge.errors import UsageError


def data_folder() -> Path:
    """Return the folder that holds data sets; it need not exist.

    `$NASFORGE_DATA` where that is set and not empty, else `nasforge` below the platform's user data folder:
    `$XDG_DATA_HOME` or `~/.local/share`, `~/Library/Application Support`, `%LOCALAPPDATA%`.
    """
    return _chosen("NASFORGE_DATA") or _user_folder("XDG_DATA_HOME", ".local/share", "Library/Application Support", "")


def cache_folder() -> Path:
    """Return the folder that holds what can be built again; it need not exist.

    `$NASFORGE_CACHE` where that is set and not empty, else `nasforge` below the platform's user cache folder:
    `$XDG_CACHE_HOME` or `~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%` (there in `nasforge/Cache`).
    """
    return _chosen("NASFORGE_CACHE") or _user_folder("XDG_CACHE_HOME", ".cache", "Library/Caches", "Cache")


def _chosen(variable: str) -> Path | None:
    value = os.environ.get(variable, "")
    try:
        return Path(value).expanduser().absolute() if value else None
    except RuntimeError:
        raise UsageError(f"{variable}={value}: there is no such user; name a folder") from None


def _user_folder(xdg: str, linux: str, macos: str, windows: str) -> Path:
    # A local name: mypy takes a comparison with sys.platform as a constant and calls the other branches unreachable.
    platform: str = sys.platform
    if platform == "win32":
        local = os.environ.get("LOCALAPPDATA", "")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "nasforge" / windows
    if platform == "darwin":
        return Path.home() / macos / "nasforge"
    named = Path(os.environ.get(xdg, ""))
    # The XDG specification tells programs to ignore a relative path.
    return (named if named.is_absolute() else Path.home() / linux) / "nasforge"
