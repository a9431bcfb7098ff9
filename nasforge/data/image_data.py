"""A data set of labelled images: its arrays, the checks that all of them pass, and its identity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nasforge.errors import DataError

Images: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]
Part: TypeAlias = tuple[Images, Labels]

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images in two parts, training and test; validation images are taken from training (`image_split`).

    Attributes:
        name: `digits`, `cifar10`, or what the user's data are called in messages.
        classes: names; a label is a place in it. At least two, and each has images in both parts.
        x_train: images, `(n_images, channels, height, width)`, uint8, read-only.
        y_train: labels, `(n_images,)`, int64, in `range(len(classes))`, read-only.
        x_test: like `x_train`, of the same channels, height and width.
        y_test: like `y_train`.
        sha256: 64 hex digits over classes, images and labels; results compare only where it is equal.
        note: how the images differ from the published ones, for reports; empty where they do not.
    """

    name: str
    classes: tuple[str, ...]
    x_train: Images
    y_train: Labels
    x_test: Images
    y_test: Labels
    sha256: str
    note: str = ""

    def __post_init__(self) -> None:
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            array.setflags(write=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        _, channels, height, width = self.x_train.shape
        return channels, height, width

    def facts(self) -> dict[str, Any]:
        """What a result says about the data: name, sha256, counts, shape, and the note where there is one."""
        facts: dict[str, Any] = {
            "name": self.name,
            "sha256": self.sha256,
            "images": {"train": len(self.y_train), "test": len(self.y_test)},
            "classes": len(self.classes),
            "shape": list(self.shape),
        }
        return facts | ({"note": self.note} if self.note else {})


def image_data(name: str, classes: Sequence[str], train: Part, test: Part, where: str) -> ImageData:
    """Check two parts and put them together.

    Args:
        name: what the data are called.
        classes: their names, in the order of the labels.
        train: images `(n_images, channels, height, width)` uint8, labels `(n_images,)` int64.
        test: likewise.
        where: the file or folder they come from, for messages.

    Raises:
        DataError: fewer than two classes, or two of one name; images without pixels or of two shapes; as many labels
            as images are not there; a label out of range; a class without images in a part. All faults are named.
    """
    problems = []
    if len(classes) < 2:
        problems.append(f"{where}: {len(classes)} class{'' if len(classes) == 1 else 'es'} found, expected 2 or more")
    if len(set(classes)) != len(classes):
        problems.append(f"{where}: the names of two classes are equal: {_some(sorted(classes))}")
    for split, (images, labels) in (("train", train), ("test", test)):
        problems += [f"{where}: {split}: {fault}" for fault in _faults(images, labels, classes)]
    if not problems and train[0].shape[1:] != test[0].shape[1:]:
        problems.append(f"{where}: test images have the shape {test[0].shape[1:]}, those of train {train[0].shape[1:]}")
    if problems:
        raise DataError("\n".join(problems))
    digest = digest_of_images(classes, train, test)
    return ImageData(name, tuple(classes), *train, *test, sha256=digest)


def digest_of_images(classes: Sequence[str], train: Part, test: Part) -> str:
    """Return the sha256, in hex digits, over the names of the classes, both parts and their shapes."""
    digest = hashlib.sha256()
    digest.update(repr(list(classes)).encode("utf-8"))
    arrays: Mapping[str, NDArray[Any]] = {
        "x_train": train[0],
        "y_train": train[1],
        "x_test": test[0],
        "y_test": test[1],
    }
    for name, array in arrays.items():
        digest.update(f"\n{name} {array.shape}\n".encode())
        # Little-endian on every machine.
        digest.update(np.ascontiguousarray(array, dtype="u1" if name[0] == "x" else "<i8").data)
    return digest.hexdigest()


def _faults(images: Images, labels: Labels, classes: Sequence[str]) -> list[str]:
    if images.ndim != 4 or images.size == 0:
        return [f"images of shape {images.shape}, expected (images, channels, height, width), none of them 0"]
    if labels.shape != images.shape[:1]:
        return [f"labels of shape {labels.shape} for {len(images):,} images, expected one each"]
    present = np.unique(labels)
    outside = present[(present < 0) | (present >= len(classes))]
    if len(outside):
        known = f"0 to {len(classes) - 1}"
        return [f"holds the labels {_some(outside.tolist())}, expected {known}, one for each class"]
    missing = sorted(set(range(len(classes))) - set(present.tolist()))
    if missing:
        return [f"holds no image of class {_some([classes[i] for i in missing])}; every class must be in both parts"]
    return []


def _some(items: Sequence[object]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(str(item) for item in items[:_SHOWN]) + more
