"""Reads chosen files out of an archive that nobody has vouched for; nothing is extracted to the disk."""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from nasforge.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Buffer

ENDINGS = (".tgz", ".tar.gz", ".zip")
MAX_FILE_BYTES = 64 * 2**20
MAX_TOTAL_BYTES = 512 * 2**20

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)


def read_members(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """Return the contents of those regular files of an archive whose paths are in `wanted`.

    Links, folders and all other files are passed over; of two files with one path the first counts.

    Args:
        archive: a `.tgz`, `.tar.gz` or `.zip` file.
        wanted: paths inside the archive, with `/`, without a leading `./`.

    Returns:
        path -> content, for what was found.

    Raises:
        DataError: the archive is damaged, encrypted or of another type, a wanted file is larger than
            `MAX_FILE_BYTES`, or a tar archive unpacks to more than `MAX_TOTAL_BYTES`.
    """
    name = archive.name.lower()
    if not name.endswith(ENDINGS):
        raise DataError(f"{archive}: is neither a folder nor an archive that is read here ({', '.join(ENDINGS)})")
    try:
        return _from_zip(archive, wanted) if name.endswith(".zip") else _from_tar(archive, wanted)
    except _DAMAGE as error:
        raise DataError(f"{archive}: the archive cannot be read: {error or type(error).__name__}") from error


def _from_zip(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            path = _normal(info.filename)
            # Zips made on Unix carry the type of the file here; elsewhere it is 0.
            kind = stat.S_IFMT(info.external_attr >> 16)
            if path in wanted and path not in found and not info.is_dir() and kind in (0, stat.S_IFREG):
                with file.open(info) as stream:
                    found[path] = _bounded(stream, f"{archive}: {path}")
    return found


def _from_tar(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    # As a stream: each byte is unpacked once and counted, whatever the headers claim.
    with (
        gzip.open(archive, "rb") as unpacked,
        tarfile.open(fileobj=io.BufferedReader(_Counted(unpacked, archive)), mode="r|") as file,
    ):
        for member in file:
            path = _normal(member.name)
            if path not in wanted or path in found or not member.isreg() or member.issparse():
                continue
            stream = file.extractfile(member)
            if stream is not None:
                found[path] = _bounded(stream, f"{archive}: {path}")
    return found


class _Counted(io.RawIOBase):
    """A stream that ends in an error beyond `MAX_TOTAL_BYTES`."""

    def __init__(self, stream: gzip.GzipFile, archive: Path) -> None:
        self._stream = stream
        self._archive = archive
        self._left = MAX_TOTAL_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        n_read = self._stream.readinto(buffer)
        self._left -= n_read
        if self._left < 0:
            raise DataError(f"{self._archive}: unpacks to more than {MAX_TOTAL_BYTES // 2**20} MB")
        return n_read


def _bounded(stream: IO[bytes], where: str) -> bytes:
    data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{where}: is larger than {MAX_FILE_BYTES // 2**20} MB")
    return data


def _normal(name: str) -> str:
    return str(PurePosixPath(name))  # drops a leading './'; '..' and a leading '/' stay and are never wanted
