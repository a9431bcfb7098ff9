"""Images from a folder of the user's: `train/CLASS/*.png` and `test/CLASS/*.png`, or `.jpg`."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasforge.data.image_data import ImageData, Images, Part, image_data
from nasforge.errors import DataError

ENDINGS = (".png", ".jpg", ".jpeg")
_MODES = {"L": "L", "1": "L", "RGB": "RGB", "P": "RGB", "RGBA": "RGBA"}
"""Modes of Pillow, and what they are read as: grey, colour, colour with opacity."""
_SKIPPED = ("Thumbs.db", "desktop.ini")


def load_image_folder(folder: Path) -> ImageData:
    """Read a folder of images; the names of its folders are those of the classes, in alphabetical order.

    Images are all of one size, and all grey, all coloured or all coloured with opacity. Files whose names begin with
    a dot are passed over. Pillow, which matplotlib brings, reads the images.

    Raises:
        DataError: a folder or Pillow is missing, a file is not such an image or is damaged, or has another size than
            the first one. The file is named.
    """
    pillow = _pillow()
    classes = {split: _classes(folder / split) for split in ("train", "test")}
    if classes["train"] != classes["test"]:
        different = sorted(set(classes["train"]) ^ set(classes["test"]))[0]
        has, lacks = ("train", "test") if different in classes["train"] else ("test", "train")
        raise DataError(f"{folder}: class '{different}' is in {has} and not in {lacks}; both hold one folder for each")
    files = {
        split: [(file, label) for label, name in enumerate(names) for file in _files(folder / split / name)]
        for split, names in classes.items()
    }
    first = files["train"][0][0] if files["train"] else folder
    parts: dict[str, Part] = {}
    shape: tuple[int, ...] = ()
    for split, pairs in files.items():
        images: list[Images] = []
        for file, _ in pairs:
            image = _read(pillow, file)
            shape = shape or image.shape
            if image.shape != shape:
                raise DataError(f"{file}: {_size(image.shape)}, but {first} is {_size(shape)}; all must be alike")
            images.append(image)
        labels = np.array([label for _, label in pairs], dtype=np.int64)
        parts[split] = (np.stack(images) if images else np.empty((0, 0, 0, 0), np.uint8), labels)
    return image_data("folder", classes["train"], parts["train"], parts["test"], str(folder))


def _pillow() -> ModuleType:
    try:
        # Only here: other sources of images do without.
        from PIL import Image
    except ImportError:
        raise DataError("a folder of images is read by Pillow, which is not here: `pip install pillow`") from None
    return Image


def _classes(folder: Path) -> list[str]:
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder; expected train and test, each with a folder for each class")
    return [name for name in _listed(folder) if (folder / name).is_dir()]


def _files(folder: Path) -> list[Path]:
    files = [folder / name for name in _listed(folder)]
    for file in files:
        if file.suffix.lower() not in ENDINGS:
            raise DataError(f"{file}: is not one of {', '.join(ENDINGS)}, which are read here; take it away")
    return files


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name[0] != "." and name not in _SKIPPED)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from error


def _read(pillow: Any, file: Path) -> Images:
    damage = (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error, pillow.DecompressionBombError)
    try:
        with pillow.open(file, formats=("PNG", "JPEG")) as image:
            if image.mode not in _MODES:
                raise DataError(f"{file}: has the mode {image.mode}, expected one of {', '.join(_MODES)} (8 bits)")
            pixels: NDArray[np.uint8] = np.array(image.convert(_MODES[image.mode]), dtype=np.uint8)
    except damage as error:
        raise DataError(f"{file}: cannot be read as an image: {getattr(error, 'strerror', None) or error}") from error
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[2]} pixels of {shape[0]} channel{'' if shape[0] == 1 else 's'}"
