"""One build of pydocs for all tests of this folder, the shared PTB files, and folders of their own for each test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nasforge.data.pydocs import load_pydocs
from nasforge.data.text import Corpus


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees or touches the data and caches of whoever runs it."""
    monkeypatch.setenv("NASFORGE_DATA", str(tmp_path / "own-data"))
    monkeypatch.setenv("NASFORGE_CACHE", str(tmp_path / "own-cache"))


@pytest.fixture(scope="session")
def pydocs_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds pydocs; not to be changed."""
    cache = tmp_path_factory.mktemp("cache")
    load_pydocs(cache)
    return cache


@pytest.fixture(scope="session")
def pydocs(pydocs_cache: Path) -> Corpus:
    """The corpus as read back from the cache."""
    return load_pydocs(pydocs_cache)


@pytest.fixture(scope="session")
def ptb_source() -> Path:
    """The folder of Mikolov's three files."""
    shared = os.environ.get("NASFORGE_TEST_DATA", "")
    folder = Path(shared) / "ptb"
    if not shared or not (folder / "ptb.train.txt").is_file():
        pytest.skip("the Penn Treebank may not be shipped: set NASFORGE_TEST_DATA to a folder that holds ptb/")
    return folder
