"""The images `digits`: 1,797 handwritten digits of 8x8 pixels, which scikit-learn carries.

They are the test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, UCI, 1998). Of each digit
every fifth image, in the order of the file, is for testing; a writer's digits are in both parts. scikit-learn is not
imported, which would take a second for one table: its file is read and checked.
"""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from pathlib import Path

import numpy as np

from nasforge.data.image_data import ImageData, image_data
from nasforge.data.image_split import every_fifth
from nasforge.errors import DataError

N_IMAGES = 1797
LARGEST = 16
"""Pixels are 0 to 16 in the file; here they are scaled to 0 to 255."""

_FILE = "datasets/data/digits.csv.gz"


def digits_file() -> Path | None:
    """Return scikit-learn's file of the digits; None where scikit-learn, or its file, is not there."""
    found = importlib.util.find_spec("sklearn")
    for place in (found.submodule_search_locations or ()) if found else ():
        file = Path(place) / _FILE
        if file.is_file():
            return file
    return None


def load_digits(file: Path | None = None) -> ImageData:
    """Read the digits and check them.

    Args:
        file: a gzipped table, a line for each image: 64 pixels, row by row, and its label; `digits_file()` where None.

    Raises:
        DataError: the file is missing, damaged or not that of the digits.
    """
    file = digits_file() if file is None else file
    if file is None:
        raise DataError("digits: they come with scikit-learn, which is not here: `pip install scikit-learn`")
    try:
        lines = gzip.decompress(file.read_bytes()).decode("ascii").splitlines()
        if len(lines) != N_IMAGES:
            raise DataError(f"{file}: {len(lines)} lines, expected {N_IMAGES}, one for each image")
        table = np.loadtxt(lines, delimiter=",", ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read: {error}. Install scikit-learn anew.") from error
    pixels, labels = table[:, :-1], table[:, -1]
    if table.shape != (N_IMAGES, 65):
        raise DataError(
            f"{file}: a table of {table.shape} numbers, expected ({N_IMAGES}, 65): the digits' file differs"
        )
    if not (np.all(pixels % 1 == 0) and pixels.min() >= 0 and pixels.max() <= LARGEST and np.all(labels % 1 == 0)):
        raise DataError(f"{file}: pixels are expected to be whole numbers from 0 to {LARGEST}, and labels whole")
    scaled = (pixels.astype(np.int64) * 255 + LARGEST // 2) // LARGEST
    images = scaled.astype(np.uint8).reshape(N_IMAGES, 1, 8, 8)
    classes = labels.astype(np.int64)
    if classes.min() < 0 or classes.max() > 9:
        raise DataError(f"{file}: labels from {classes.min()} to {classes.max()}, expected 0 to 9")
    train, test = every_fifth(classes)
    names = [str(digit) for digit in range(10)]
    return image_data("digits", names, (images[train], classes[train]), (images[test], classes[test]), str(file))
