"""Tests of the one module that writes files, with a file system that refuses at each step."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasforge.data import files
from nasforge.data.folders import cache_folder, data_folder
from nasforge.errors import StorageError, UsageError

REASONS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.EIO)


def _refuse(monkeypatch: pytest.MonkeyPatch, call: str, reason: int, nth: int = 1) -> None:
    """Make the `nth` use of `os.<call>` fail with `reason`, and all later ones."""
    real: Callable[..., Any] = getattr(os, call)
    uses = 0

    def refusing(*args: Any, **options: Any) -> Any:
        nonlocal uses
        uses += 1
        if uses >= nth:
            raise OSError(reason, os.strerror(reason))
        return real(*args, **options)

    monkeypatch.setattr(os, call, refusing)


def test_bytes_text_and_json_are_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.write_bytes_atomically(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    files.write_text_atomically(path, "é\r\n\n")
    assert path.read_bytes() == "é\r\n\n".encode()
    files.write_json_atomically(path, {"b": 1, "a": [2.5, None]})
    assert path.read_text() == '{\n  "b": 1,\n  "a": [\n    2.5,\n    null\n  ]\n}\n'
    assert files.sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), object()])
def test_json_without_a_json_form_leaves_the_old_file(tmp_path: Path, bad: object) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises((ValueError, TypeError)):
        files.write_json_atomically(path, {"x": bad})
    assert path.read_text() == "old"


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_refused_write_keeps_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, reason: int
) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with monkeypatch.context() as patch:
        _refuse(patch, call, reason)
        with pytest.raises(StorageError) as caught:
            files.write_text_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]
    text = str(caught.value)
    assert str(path) in text and os.strerror(reason) in text and "hoose" in text
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_folder_is_there_with_all_its_files_or_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    path = tmp_path / "folder"
    files.write_folder_atomically(path, {"a": b"1", "gone": b"2"})
    with monkeypatch.context() as patch:
        _refuse(patch, "fsync", errno.ENOSPC, nth)
        with pytest.raises(StorageError, match="No space left"):
            files.write_folder_atomically(path, {"a": b"3", "b": b"4"})
    content = {file.name: file.read_bytes() for file in path.iterdir()}
    # The fourth flush is that of the parent, after the renames.
    assert content == ({"a": b"1", "gone": b"2"} if nth < 4 else {"a": b"3", "b": b"4"})
    assert os.listdir(tmp_path) == ["folder"]


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    files.write_folder_atomically(path, {"a": b"old"})
    real = os.rename
    new: list[object] = []

    def rename(source: Path, target: Path) -> None:
        new[:] = new or [source]
        if source == new[0] and not path.exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        with pytest.raises(StorageError):
            files.write_folder_atomically(path, {"a": b"new"})
    assert (path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["folder"]


def test_writers_of_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    failures: list[str] = []

    def write(content: bytes) -> None:
        for _ in range(15):
            try:
                files.write_folder_atomically(path, {"a": content, "b": content})
            except StorageError as error:
                failures.append(f"{error} {error.__cause__!r}")

    writers = [threading.Thread(target=write, args=(bytes([65 + i]),)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert (path / "a").read_bytes() == (path / "b").read_bytes()
    assert os.listdir(tmp_path) == ["folder"]


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            files.write_text_atomically(tmp_path / "a", "new")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_a_storage_error_and_make_folder_helps(tmp_path: Path) -> None:
    path = tmp_path / "x" / "y" / "a"
    for write in (files.write_text_atomically, files.append_line):
        with pytest.raises(StorageError, match="Create the folder first"):
            write(path, "new")
    files.make_folder(path.parent)
    files.write_text_atomically(path, "new")
    assert path.read_text() == "new"
    with pytest.raises(StorageError):
        files.make_folder(path / "below-a-file")


def test_a_reader_never_sees_a_half_written_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    contents = [bytes([65 + i]) * 200_000 for i in range(4)]
    files.write_bytes_atomically(path, contents[0])
    done = threading.Event()
    strange: list[int] = []

    def read() -> None:
        while not done.is_set():
            data = path.read_bytes()
            if data not in contents:
                strange.append(len(data))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(40):
        files.write_bytes_atomically(path, contents[i % 4])
    done.set()
    reader.join()
    assert strange == []


def test_new_files_obey_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        files.write_text_atomically(tmp_path / "a", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_lines_are_appended_and_a_refused_one_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    files.append_line(path, "one")
    files.append_line(path, "zwei ü", durable=False)
    with monkeypatch.context() as patch:
        _refuse(patch, "fsync", errno.ENOSPC)
        with pytest.raises(StorageError):
            files.append_line(path, "three")
    assert path.read_text(encoding="utf-8") == "one\nzwei ü\n"
    with pytest.raises(ValueError, match="newline"):
        files.append_line(path, "a\nb")


@pytest.mark.skipif(os.name == "nt", reason="needs a limit on the size of files")
def test_a_real_limit_in_the_middle_of_a_write_leaves_nothing_torn(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from nasforge.data import files
from nasforge.errors import StorageError
folder = Path(sys.argv[1])
files.append_line(folder / "journal", "x" * 900)
files.write_text_atomically(folder / "a", "old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
for write, name in ((files.append_line, "journal"), (files.write_text_atomically, "a")):
    try:
        write(folder / name, "y" * 5000)
    except StorageError as error:
        assert "ulimit" in str(error), error
    else:
        raise SystemExit("not refused")
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=Path(files.__file__).parents[2])
    assert (tmp_path / "journal").read_text() == "x" * 900 + "\n"
    assert (tmp_path / "a").read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["a", "journal"]


def test_folders_come_from_the_environment_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_folder() == tmp_path / "own-data"
    assert cache_folder() == tmp_path / "own-cache"
    monkeypatch.setenv("NASFORGE_DATA", "relative")
    assert data_folder() == Path.cwd() / "relative"


@pytest.mark.parametrize(
    ("platform", "data", "cache"),
    [
        ("linux", ".local/share/nasforge", ".cache/nasforge"),
        ("darwin", "Library/Application Support/nasforge", "Library/Caches/nasforge"),
        ("win32", "AppData/Local/nasforge", "AppData/Local/nasforge/Cache"),
    ],
)
def test_folders_are_those_of_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, data: str, cache: str
) -> None:
    for variable in ("NASFORGE_DATA", "NASFORGE_CACHE", "XDG_DATA_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", platform)
    assert (data_folder(), cache_folder()) == (tmp_path / data, tmp_path / cache)


def test_xdg_folders_count_where_they_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASFORGE_DATA", "")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "nasforge"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert data_folder() == Path.home() / ".local/share/nasforge"


@pytest.mark.parametrize("variable", ["NASFORGE_DATA", "NASFORGE_CACHE"])
def test_a_folder_of_a_user_who_does_not_exist_is_told(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "~nosuchuser/x")
    with pytest.raises(UsageError, match=f"{variable}=~nosuchuser/x: there is no such user"):
        (data_folder if variable == "NASFORGE_DATA" else cache_folder)()
