"""Which folders become run directories."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from nasforge.errors import RunLockedError, UsageError
from nasforge.run.directory import claim


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("name", ["space.yaml", "resolved.yaml", "notes.txt", "logs", ".git"])
def test_a_folder_with_a_user_s_files_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    for _ in range(2):  # the first refusal leaves nothing that would let the second pass
        with pytest.raises(UsageError, match=f"not empty .it holds {name}"):
            claim(tmp_path)
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "mine"


def test_missing_and_empty_folders_are_taken(tmp_path: Path) -> None:
    claim(tmp_path).unlock()
    claim(tmp_path / "a" / "b").unlock()


def test_what_a_run_left_before_its_run_json_is_taken_over(tmp_path: Path) -> None:
    for name in (".lock", "space.yaml", "resolved.yaml", ".tmp-0123456789abcdef"):
        (tmp_path / name).touch()
    claim(tmp_path).unlock()
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UsageError, match="not empty .it holds mine.txt"):
        claim(tmp_path)


def test_a_folder_that_another_process_is_just_making_is_locked(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(RunLockedError):
        claim(tmp_path)
