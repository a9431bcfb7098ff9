"""The one module of nasforge that writes files (promise P2: no reader ever sees a half-written file).

A file is written under a temporary name in its own folder, flushed to the disk and then renamed over the old one, so
that a reader, and whoever comes after a crash, finds the old content or the new one. Every refusal of the file system
becomes a `StorageError` that names the path, the reason and what to do.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from nasforge.errors import StorageError

_ADVICE: Mapping[int, str] = {
    errno.ENOSPC: "Free some space on this disk, or choose a place on another one.",
    errno.EDQUOT: "The disk quota is used up: free some space, or choose a place on another disk.",
    errno.EFBIG: "A limit on the size of files was reached (see 'ulimit -f'): raise it, or choose another place.",
    errno.EROFS: "Choose a place that is not mounted read-only.",
    errno.EACCES: "Choose a folder that you may write to, or change its permissions.",
    errno.EPERM: "Choose a folder that you may write to, or change its permissions.",
    errno.ENOENT: "Create the folder first.",
}
# What a rename answers where a folder that holds files is in the way; on Windows any folder.
_IN_THE_WAY = (errno.ENOTEMPTY, errno.EEXIST) if os.name != "nt" else (errno.EACCES,)
_CHOICES = "--run-dir, $NASFORGE_DATA and $NASFORGE_CACHE choose where nasforge writes."


def discard_standard_output() -> None:
    """From here on, what is printed goes nowhere: its reader has gone, and the closed pipe would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def make_folder(path: Path) -> None:
    """Create a folder and its parents where they are missing.

    Raises:
        StorageError: the file system refuses it.
    """
    with _refusals(path):
        path.mkdir(parents=True, exist_ok=True)


def make_new_folder(path: Path) -> bool:
    """Create a folder; False where it is there already, for example made by another process a moment ago.

    Raises:
        StorageError: the file system refuses it.
    """
    with _refusals(path):
        try:
            path.mkdir()
        except FileExistsError:
            return False
    return True


def write_bytes_atomically(path: Path, data: bytes, *, hint: str = _CHOICES) -> None:
    """Put `data` at `path`: a reader finds the old content or all of the new one. The folder must exist.

    Args:
        path: where.
        data: what.
        hint: a last line of the message where the file system refuses; empty where the user named the path.

    Raises:
        StorageError: the file system refuses it; `path` holds its old content or all of the new, and the temporary
            file is gone.
    """
    temporary = _beside(path)
    with _refusals(path, hint):
        try:
            _write_new(temporary, data)
            os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> None:
    """Put `text` at `path` as UTF-8 with its newlines as they are; otherwise like `write_bytes_atomically`."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_json_atomically(path: Path, obj: object) -> None:
    """Put `obj` at `path` as JSON: keys in insertion order, indented by 2, a final newline.

    Raises:
        StorageError: as for `write_bytes_atomically`.
        ValueError: a float is NaN or infinite, which JSON does not know.
        TypeError: something in `obj` has no JSON form.
    """
    write_text_atomically(path, json.dumps(obj, indent=2, allow_nan=False) + "\n")


def write_folder_atomically(path: Path, files: Mapping[str, bytes]) -> None:
    """Put a folder with exactly `files` (plain names to contents) at `path`, in place of what was there.

    It is built beside `path` and renamed, so that it is there with all its files or not at all. A folder that is there
    already is moved aside and deleted; between two renames `path` is absent for a moment. Of several processes that
    write the same folder at once, the last one wins.

    Raises:
        StorageError: the file system refuses it; no part of the new folder remains.
    """
    temporary, old = _beside(path), _beside(path)
    with _refusals(path):
        try:
            temporary.mkdir()
            for name, data in files.items():
                _write_new(temporary / name, data)
            _sync_folder(temporary)
            _swap(temporary, path, old)
            _sync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Delete a folder with all that is in it, or nothing where there is none; what cannot be deleted stays."""
    shutil.rmtree(path, ignore_errors=True)


def append_line(path: Path, line: str, durable: bool = True) -> None:
    """Append `line` and a newline to `path`, which is created where it is missing.

    Args:
        path: a text file whose last line is complete; a torn last line is the reader's to cut before.
        line: text without a newline.
        durable: whether to wait until the disk has it. Without, it outlives a kill of this process but not a power cut.

    Raises:
        StorageError: the file system refuses it; what was written of the line is cut off again.
        ValueError: `line` holds a newline.
    """
    if "\n" in line:
        raise ValueError("append_line takes one line without a newline")
    data = memoryview(line.encode("utf-8") + b"\n")
    with _refusals(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            length = os.fstat(descriptor).st_size
            complete = False
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
                if durable:
                    os.fsync(descriptor)
                complete = True
            finally:
                if not complete:
                    os.ftruncate(descriptor, length)
        finally:
            os.close(descriptor)
        if durable and length == 0:
            _sync_folder(path.parent)


def open_log(path: Path) -> int:
    """A file descriptor that appends to `path`, for the standard error of a child process; the caller closes it.

    Raises:
        StorageError: the file system refuses it.
    """
    with _refusals(path):
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes in hex digits. Raises the `OSError` of reading it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _refusals(path: Path, hint: str = _CHOICES) -> Iterator[None]:
    """Turn an `OSError` into a `StorageError` about `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        advice = _ADVICE.get(error.errno or 0, "Check this place, or choose another one.")
        message = f"{path}: cannot be written: {reason}. {advice}"
        raise StorageError(f"{message}\n{hint}" if hint else message) from error


def _beside(path: Path) -> Path:
    """Return a name in the folder of `path` that nothing has; short, since `path` may be as long as names may be."""
    return path.parent / f".tmp-{secrets.token_hex(8)}"


def _write_new(path: Path, data: bytes) -> None:
    # 'x' refuses to follow a link that somebody put there; unlike tempfile's files, this one obeys the umask.
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _swap(new: Path, path: Path, old: Path) -> None:
    for _ in range(100):
        try:
            os.rename(new, path)
        except OSError as error:
            if os.path.isdir(old):
                _put_back(old, path)
            if error.errno not in _IN_THE_WAY:
                raise
        else:
            shutil.rmtree(old, ignore_errors=True)
            return
        with suppress(FileNotFoundError):  # another process moved it aside first
            os.rename(path, old)
    raise OSError(errno.EBUSY, "other processes keep writing this folder")


def _put_back(old: Path, path: Path) -> None:
    try:
        os.rename(old, path)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        shutil.rmtree(old, ignore_errors=True)  # another process has put its own there


def _sync_folder(path: Path) -> None:
    if os.name == "nt":
        return  # Windows does not open folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; the file itself is on the disk by now.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
