"""CIFAR-10 in its *binary* version: seven files that the user brings. The pickled version is refused, not read.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009); `cifar-10-binary.tar.gz`, whose folder is
`cifar-10-batches-bin`. A record is a label, one byte, and 3,072 pixels: red, green, blue, each row by row.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nasforge.data.folders import data_folder
from nasforge.data.image_data import ImageData, Part, image_data
from nasforge.errors import DataError

TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
NAMES_FILE = "batches.meta.txt"
FILES = (*TRAIN_FILES, TEST_FILE, NAMES_FILE)
PICKLED = ("batches.meta", "data_batch_1", "test_batch")
"""Files of the pickled version, by which it is known; they are never read."""
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
RECORDS = 10_000
"""Records of each of the six files; each class has a tenth of those of training and of test."""
NOTES: Mapping[str, str] = {"b389f2a9267bad9b1cb925d0a286b36d60dc5480f4b18e209f52101b9a9de714": "JPEG q75"}
"""By the sha256 of the data: what makes them differ from the published ones; reports name the data with it."""

_BYTES = 1 + 3 * 32 * 32


def cifar10_folder() -> Path:
    """Return where the files are looked for; it need not exist."""
    return data_folder() / "cifar10"


def load_cifar10(folder: Path | None = None) -> ImageData:
    """Read the files and check them.

    Args:
        folder: what holds them; `cifar10_folder()` where None.

    Raises:
        DataError: a file is missing, unreadable or not that of CIFAR-10; all faults are named.
    """
    folder = cifar10_folder() if folder is None else folder
    missing = [name for name in FILES if not os.path.isfile(folder / name)]
    if missing:
        raise DataError(
            "CIFAR-10 is not here: have its binary version, cifar-10-binary.tar.gz or the folder in it, as PATH, then"
            f" `nasforge data add cifar10 PATH`\nmissing in {folder}: {', '.join(missing)}"
        )
    try:
        return cifar10_from_bytes({name: (folder / name).read_bytes() for name in FILES}, str(folder))
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be read: {error.strerror}") from error


def cifar10_from_bytes(contents: Mapping[str, bytes], where: str) -> ImageData:
    """Build the data from the contents of the seven files.

    Args:
        contents: the bytes of each of `FILES`.
        where: the folder or archive that they come from, for messages.

    Raises:
        DataError: a file has another size, a label is out of range, the classes have other names or do not have equally
            many images; all faults are named.
    """
    problems = []
    names = tuple(contents[NAMES_FILE].decode("utf-8", "replace").split())
    if names != CLASSES:
        problems.append(
            f"{where}: {NAMES_FILE}: the classes {', '.join(names[:12])[:200] or 'of an empty file'};"
            f" expected {', '.join(CLASSES)}"
        )
    for name in (*TRAIN_FILES, TEST_FILE):
        size = len(contents[name])
        if size != RECORDS * _BYTES:
            problems.append(
                f"{where}: {name}: {size:,} bytes, expected {RECORDS * _BYTES:,}: "
                f"{RECORDS:,} records of {_BYTES:,} bytes"
            )
            continue
        largest = int(np.frombuffer(contents[name], dtype=np.uint8)[::_BYTES].max())
        if largest >= len(CLASSES):
            problems.append(f"{where}: {name}: holds the label {largest}, expected 0 to {len(CLASSES) - 1}")
    if not problems:
        train = _part([contents[name] for name in TRAIN_FILES])
        test = _part([contents[TEST_FILE]])
        problems = _unbalanced(train, "train", where) + _unbalanced(test, "test", where)
    if problems:
        raise DataError("These are not the files of CIFAR-10's binary version:\n" + "\n".join(problems))
    data = image_data("cifar10", CLASSES, train, test, where)
    return dataclasses.replace(data, note=NOTES.get(data.sha256, ""))


def _part(files: list[bytes]) -> Part:
    records = np.concatenate([np.frombuffer(file, dtype=np.uint8) for file in files]).reshape(-1, _BYTES)
    return np.ascontiguousarray(records[:, 1:]).reshape(-1, *SHAPE), records[:, 0].astype(np.int64)


def _unbalanced(part: Part, split: str, where: str) -> list[str]:
    counts = np.bincount(part[1], minlength=len(CLASSES))
    expected = len(part[1]) // len(CLASSES)
    return [
        f"{where}: {split}: {count:,} images of class '{name}', expected {expected:,}"
        for name, count in zip(CLASSES, counts, strict=True)
        if count != expected
    ]
