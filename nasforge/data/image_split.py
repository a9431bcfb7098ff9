"""Parts of a set of images in which every class has its share, and what is computed over the pixels of a part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nasforge.data.image_data import ImageData, Images, Labels
from nasforge.errors import DataError
from nasforge.seeds import stream

Indices: TypeAlias = NDArray[np.int64]

_CHUNK = 1000
"""Images that are counted at a time, so that little memory is needed."""


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """Which images of the training part train, and which validate.

    Attributes:
        train: indices into `ImageData.x_train`, `(n_train,)`, int64. The first n hold every class by its share, to
            within one image at each end of its list, whatever n is from the number of classes up.
        valid: likewise; no index is in both.
    """

    train: Indices
    valid: Indices

    def __post_init__(self) -> None:
        self.train.setflags(write=False)
        self.valid.setflags(write=False)


def split(data: ImageData, held_out: float | int, seed: int, train_images: int | None = None) -> ImageSplit:
    """Hold out a stratified part of the training images for validation; equal seeds split equally on every machine.

    Args:
        data: the images.
        held_out: how many: an int counts them, a float is a fraction of all (rounded), above 0 and below 1.
        seed: of the order of the images of each class.
        train_images: of those that are left, how many to keep at most; a smaller number keeps a part of what a larger
            one keeps. None for all.

    Raises:
        DataError: a class has fewer than two images, or a part would not hold an image of every class.
        ValueError: a fraction that is not between 0 and 1.
    """
    labels, n_classes = data.y_train, len(data.classes)
    if isinstance(held_out, float) and not 0 < held_out < 1:
        raise ValueError(f"a fraction of the images is above 0 and below 1, found {held_out}")
    n_valid = held_out if isinstance(held_out, int) else round(held_out * len(labels))
    counts = np.bincount(labels, minlength=n_classes)
    smallest = int(counts.argmin())
    if counts[smallest] < 2:
        raise DataError(
            f"{data.name}: class '{data.classes[smallest]}' has one training image; two are needed, for training and "
            "for validation"
        )
    if not n_classes <= n_valid <= len(labels) - n_classes:
        raise DataError(
            f"{data.name}: {n_valid:,} of {len(labels):,} training images cannot be held out for validation: both parts"
            f" must hold one of each of {n_classes} classes, so {n_classes:,} to {len(labels) - n_classes:,} can be"
        )
    if train_images is not None and train_images < n_classes:
        raise DataError(f"{data.name}: {train_images} training images are too few for {n_classes} classes")
    order = _by_share(_shuffled(len(labels), seed), labels)
    valid, rest = order[:n_valid], order[n_valid:]
    # Back in an order that does not depend on shares, so that what is left is spread anew.
    train = _by_share(rest, labels)
    return ImageSplit(train=train[:train_images].copy(), valid=valid.copy())


def every_fifth(labels: Labels) -> tuple[Indices, Indices]:
    """Divide images that come in one part: of each class every fifth image, in the order of the file, is for testing.

    Of a class with fewer than five the last one is; no random number is used.

    Args:
        labels: `(n_images,)`, in `range(n_classes)`.

    Returns:
        The indices of training and test images, ascending.
    """
    ranks, counts = _ranks(labels)
    test = (ranks % 5 == 4) | ((counts < 5) & (ranks == counts - 1))
    return np.flatnonzero(~test), np.flatnonzero(test)


def resized(images: Images, size: int) -> Images:
    """Average blocks of pixels, so that images become `size` pixels high and wide.

    Args:
        images: `(n_images, channels, height, width)`, uint8.
        size: divides height and width.

    Returns:
        `(n_images, channels, size, size)`, uint8, halves rounded up.

    Raises:
        DataError: `size` does not divide them.
    """
    height, width = images.shape[2:]
    if size < 1 or height % size or width % size:
        raise DataError(
            f"images of {height}x{width} pixels cannot be averaged to {size}x{size}: "
            "resize must divide their height and width"
        )
    down, right = height // size, width // size
    sums = np.full((*images.shape[:2], size, size), down * right // 2, dtype=np.uint32)
    for y in range(down):
        for x in range(right):
            sums += images[:, :, y::down, x::right]
    means: Images = (sums // (down * right)).astype(np.uint8)
    return means


def channel_statistics(images: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel over all pixels, on the scale 0 to 1.

    They are computed from counts of values, hence equal on every machine.

    Args:
        images: `(n_images, channels, height, width)`, uint8; pass the images that train and no others.

    Returns:
        Mean and standard deviation, each `(channels,)`. The deviation of a channel of one value is given as 1, so that
        it can be divided by.
    """
    channels = images.shape[1]
    histogram = np.zeros((channels, 256), dtype=np.int64)
    for start in range(0, len(images), _CHUNK):
        for channel in range(channels):
            histogram[channel] += np.bincount(images[start : start + _CHUNK, channel].reshape(-1), minlength=256)
    values = np.arange(256) / 255
    mean = (histogram * values).sum(axis=1) / histogram.sum(axis=1)
    variance = (histogram * (values - mean[:, None]) ** 2).sum(axis=1) / histogram.sum(axis=1)
    one_value = (histogram > 0).sum(axis=1) == 1
    return mean, np.where(one_value, 1.0, np.sqrt(variance))


def _shuffled(n: int, seed: int) -> Indices:
    # Only random.random() is promised to give the same numbers under every version of Python; numpy promises less.
    rng = stream(seed, "data", "split")
    return np.argsort(np.array([rng.random() for _ in range(n)]), kind="stable").astype(np.int64)


def _by_share(order: Indices, labels: Labels) -> Indices:
    """Reorder `order` so that its beginning holds every class by its share (Sainte-Laguë's method).

    Image j of the n of its class stands at (j + 1/2) / n of the way, but for the first of each class, which stand at
    the beginning, and the last, which stand at the end: so every class is in both parts of every cut between them.
    """
    own = labels[order]
    ranks, counts = _ranks(own)
    places = (ranks + 0.5) / counts
    places[ranks == counts - 1] = 1.0
    places[ranks == 0] = 0.0
    return order[np.lexsort((own, places))]


def _ranks(labels: Labels) -> tuple[Indices, Indices]:
    """Which of its class each image is, counted from 0, and how many its class has."""
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks, counts[labels].astype(np.int64)
