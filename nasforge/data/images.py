"""The one loader for whatever images a spec names. No torch here: images are numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nasforge.data.cifar10 import load_cifar10
from nasforge.data.digits import load_digits
from nasforge.data.image_data import ImageData
from nasforge.data.image_folder import load_image_folder
from nasforge.data.image_split import ImageSplit, channel_statistics, resized, split
from nasforge.data.npz_images import load_npz
from nasforge.errors import DataError, UsageError, suggest

__all__ = ["ImageData", "ImageFiles", "ImageSource", "ImageSplit"]
__all__ += ["channel_statistics", "load_images", "resized", "split"]

IMAGE_SETS = ("digits", "cifar10")
"""The names that `load_images` knows."""


class ImageSource(Protocol):
    """What names the user's own images, in one of two ways: `ImageFiles`, or a part of a spec like it."""

    @property
    def npz(self) -> str | Path | None:
        """A NumPy archive (`nasforge.data.npz_images`)."""

    @property
    def folder(self) -> str | Path | None:
        """A folder of PNG or JPEG files (`nasforge.data.image_folder`)."""


@dataclass(frozen=True)
class ImageFiles:
    """The user's own images: one of the two.

    Attributes:
        npz: a NumPy archive, relative to the file that names it.
        folder: a folder with `train/CLASS/*.png` and `test/CLASS/*.png`, likewise.
    """

    npz: str | Path | None = None
    folder: str | Path | None = None


def load_images(source: str | ImageSource, base: Path) -> ImageData:
    """Return the images that a spec names.

    Args:
        source: `digits`, `cifar10`, or the user's own, such as `ImageFiles`.
        base: the folder that relative paths start from, as a rule that of the YAML file.

    Raises:
        UsageError: the name is not known, or `source` names both an archive and a folder, or neither.
        DataError: the images are missing or are not what they claim to be.
    """
    if not isinstance(source, str):
        return _own_images(source, base)
    if source == "digits":
        return load_digits()
    if source == "cifar10":
        return load_cifar10()
    raise UsageError(
        f"unknown images '{source}'.{suggest(source, IMAGE_SETS)} Known here: {', '.join(IMAGE_SETS)},"
        " or your own: {npz: FILE} or {folder: PATH}"
    )


def _own_images(source: ImageSource, base: Path) -> ImageData:
    given = [path for path in (source.npz, source.folder) if path is not None]
    if len(given) != 1:
        raise UsageError("images of your own are {npz: FILE} or {folder: PATH}, one of the two")
    if "\0" in str(given[0]):
        raise DataError(f"{str(given[0])!r}: not the name of a file")
    path = base / Path(given[0]).expanduser()
    return load_npz(path) if source.npz is not None else load_image_folder(path)
