"""What the tests of tasks share."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_images import bright_rows


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small images of bright rows."""
    return bright_rows(tmp_path_factory.mktemp("images"))
