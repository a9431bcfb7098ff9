"""NumPy archives (``.npz``): read without unpickling anything, and made as bytes."""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasforge.errors import DataError

_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    OverflowError,
    SyntaxError,
    struct.error,
    zlib.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
)


def read_npz(file: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an archive of `numpy.savez`, by name.

    Raises:
        DataError: there is no such file, or it is damaged, no archive, too large for the memory, or holds objects.
    """
    try:
        # Opened here, since numpy does not close the file of an archive that it cannot read.
        with file.open("rb") as stream:
            archive = np.load(stream)  # objects, which would have to be unpickled, are refused by default
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{file}: holds a single array; expected an archive as numpy.savez writes it")
            with archive:
                return {name: np.asarray(archive[name]) for name in archive.files}
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except MemoryError as error:
        raise DataError(f"{file}: does not fit into memory: {error}") from None
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        raise DataError(f"{file}: cannot be read as a NumPy archive: {reason}") from error


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The compressed archive that `read_npz` reads; equal arrays give equal bytes.

    Raises:
        ValueError: an array holds objects.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(array), None, False)  # the last: no objects
            # A ZipInfo of its own has a fixed date.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
    return made.getvalue()
