"""What the tests of every folder share: `helpers` can be imported, and one tiny corpus and its task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nasforge.tasks.language_model import LanguageModel

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three files of `helpers.write_corpus`."""
    from helpers import write_corpus

    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def task(corpus_folder: Path) -> LanguageModel:
    """A language model task on the tiny corpus; tasks are not changed by use."""
    from helpers import language_model

    return language_model(corpus_folder)
