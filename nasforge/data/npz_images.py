"""Images from the user's own NumPy archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasforge.data.image_data import ImageData, Images, Labels, image_data
from nasforge.data.image_split import every_fifth
from nasforge.data.npz import read_npz
from nasforge.errors import DataError, suggest

ARRAYS = ("x_train", "y_train", "x_test", "y_test", "classes")

_CHUNK = 1000


def load_npz(file: Path) -> ImageData:
    """Read an archive of `numpy.savez` with the arrays `x_train`, `y_train` and, both or neither, `x_test`, `y_test`.

    Images are `(n, height, width)`, `(n, height, width, channels)` or `(n, channels, height, width)` with 1 to 4
    channels, uint8, or floats from 0 to 1, which are rounded to 256 levels. Labels are integers from 0 on. Without a
    test part, every fifth image of each class is for testing (`every_fifth`). `classes`, where it is there, holds the
    names of the classes. Nothing pickled is read.

    Raises:
        DataError: the file is missing or damaged, or an array is missing, not known here or not as described.
    """
    arrays = read_npz(file)
    problems = [f"{file}: holds no array {name}" for name in ("x_train", "y_train") if name not in arrays]
    for name, other in (("x_test", "y_test"), ("y_test", "x_test")):
        if name in arrays and other not in arrays:
            problems.append(f"{file}: holds {name} without {other}")
    unknown = sorted(set(arrays) - set(ARRAYS))
    problems += [
        f"{file}: holds '{name}', which would not be used.{suggest(name, ARRAYS)} Known here: {', '.join(ARRAYS)}"
        for name in unknown
    ]
    if problems:
        raise DataError("\n".join(problems))
    images: dict[str, Images] = {}
    labels: dict[str, Labels] = {}
    for split in ("train", "test"):
        if f"x_{split}" in arrays:
            images[split] = _images(arrays[f"x_{split}"], f"{file}: x_{split}")
            labels[split] = _labels(arrays[f"y_{split}"], len(images[split]), f"{file}: y_{split}")
    classes = _classes(arrays.get("classes"), labels, file)
    if "test" not in images:
        single = np.flatnonzero(np.bincount(labels["train"]) == 1)
        if len(single):
            raise DataError(f"{file}: y_train: class {single[0]} has one image; a test part cannot be held out")
        train, test = every_fifth(labels["train"])
        images = {"train": images["train"][train], "test": images["train"][test]}
        labels = {"train": labels["train"][train], "test": labels["train"][test]}
    return image_data("npz", classes, (images["train"], labels["train"]), (images["test"], labels["test"]), str(file))


def _images(array: NDArray[Any], where: str) -> Images:
    array = _channels_first(array, where)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype.kind != "f":
        raise DataError(f"{where}: of type {array.dtype}, expected uint8, or floats from 0 to 1")
    images = np.empty(array.shape, dtype=np.uint8)
    for start in range(0, len(array), _CHUNK):
        part = array[start : start + _CHUNK].astype(np.float64)
        if not np.isfinite(part).all():
            raise DataError(f"{where}: holds NaN or infinity, expected floats from 0 to 1")
        if part.min() < 0 or part.max() > 1:
            raise DataError(
                f"{where}: floats from {part.min():g} to {part.max():g}, expected 0 to 1; store 0 to 255 as uint8"
            )
        images[start : start + _CHUNK] = np.rint(part * 255)
    return images


def _channels_first(array: NDArray[Any], where: str) -> NDArray[Any]:
    if array.ndim == 3 and array.size:
        return array[:, None]
    first, last = (array.ndim == 4 and 1 <= array.shape[axis] <= 4 for axis in (1, 3))
    if array.size == 0 or not (first or last):
        raise DataError(
            f"{where}: of shape {array.shape}, expected (n, height, width), (n, height, width, channels) or "
            "(n, channels, height, width), with 1 to 4 channels"
        )
    if first and last:
        raise DataError(
            f"{where}: of shape {array.shape}: either the second or the last could be the channels; images must be "
            "higher and wider than 4 pixels"
        )
    return array if first else array.transpose(0, 3, 1, 2)


def _labels(array: NDArray[Any], n_images: int, where: str) -> Labels:
    if array.dtype.kind not in "iu":
        raise DataError(f"{where}: of type {array.dtype}, expected integers")
    if array.shape != (n_images,):
        raise DataError(f"{where}: of shape {array.shape}, expected ({n_images},): a label for each image")
    if array.min() < 0 or array.max() >= 2**31:
        raise DataError(f"{where}: labels from {array.min()} to {array.max()}, expected 0, 1, 2, ...")
    return array.astype(np.int64)


def _classes(names: NDArray[Any] | None, labels: dict[str, Labels], file: Path) -> list[str]:
    if names is not None:
        if names.dtype.kind != "U" or names.ndim != 1:
            raise DataError(f"{file}: classes: of type {names.dtype} and shape {names.shape}, expected a list of texts")
        for split, found in labels.items():
            if found.max() >= len(names):
                raise DataError(f"{file}: y_{split}: holds the label {found.max()}, but classes names {len(names)}")
        return [str(name) for name in names]
    present = np.unique(labels["train"])
    expected = np.arange(len(present))
    if not np.array_equal(present, expected):
        missing = int(expected[present != expected][0])
        raise DataError(
            f"{file}: y_train: labels up to {present[-1]} but none is {missing}; expected every number from 0 on"
        )
    return [str(label) for label in present]
