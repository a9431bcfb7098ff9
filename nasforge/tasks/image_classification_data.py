"""What image classification asks of its images, checked before a run begins. No torch here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from nasforge.components import Shape
from nasforge.data.images import ImageData, ImageSplit, load_images, resized, split
from nasforge.errors import DataError
from nasforge.tasks.image_options import ImageClassificationOptions, ImageRecipe


def prepare(
    config: ImageClassificationOptions,
    recipes: Sequence[ImageRecipe],
    base: Path,
    shapes: Mapping[str, Shape] | None = None,
) -> str:
    """Load the images and check that every recipe can use them.

    Args:
        config: the ``task`` block.
        recipes: of the search and of the final training.
        base: the folder that relative paths start from.
        shapes: of the inputs of the space's networks, where the space says them.

    Returns:
        The sha256 of the images, by which a resumed run knows its data.

    Raises:
        DataError: a file is missing or wrong, or a part is too small; all faults of the sizes are named.
    """
    data = used_images(config, base)
    if shapes is not None and shapes["image"] != data.shape:
        raise DataError(
            f"{data.name}: images are of the shape {list(data.shape)}, but the space is for {list(shapes['image'])}; "
            f"write space.image: {list(data.shape)}"
        )
    for recipe in recipes:
        check_images(data, config, recipe)
    return data.sha256


def used_images(config: ImageClassificationOptions, base: Path) -> ImageData:
    """The images that the task uses, resized; `sha256` stays that of the images as they were loaded.

    Raises:
        DataError: a file is missing or wrong, or the images cannot be resized.
    """
    data = load_images(config.data, base)
    if config.resize is None:
        return data
    try:
        x_train, x_test = (resized(images, config.resize) for images in (data.x_train, data.x_test))
    except DataError as error:
        raise DataError(f"{data.name}: {error}") from error
    return dataclasses.replace(data, x_train=x_train, x_test=x_test)


def used_split(data: ImageData, config: ImageClassificationOptions, seed: int) -> ImageSplit:
    """Which training images train and which validate.

    Raises:
        DataError: a part would not hold an image of every class.
    """
    return split(data, config.valid_fraction, seed)


def check_images(data: ImageData, config: ImageClassificationOptions, recipe: ImageRecipe) -> None:
    """Raise DataError unless every part fills a batch and the images are larger than what is cut off them."""
    parts = used_split(data, config, seed=0)  # how many there are does not depend on the seed
    n_train = min(len(parts.train), recipe.train_images or len(parts.train))
    problems = [
        f"{data.name}: {n_images:,} {what} images, too few for {option}: {wanted}; use more images or a smaller one"
        for what, n_images, option, wanted in (
            ("training", n_train, "batch_size", recipe.batch_size),
            ("training", n_train, "one of each class", len(data.classes)),
            ("validation", len(parts.valid), "task.reward_batch_size", config.reward_batch_size),
        )
        if n_images < wanted
    ]
    _, height, width = data.shape
    problems += [
        f"{data.name}: images of {height}x{width} pixels are too small for {option}: {wanted}; it must be smaller"
        for option, wanted in (("crop_padding", recipe.crop_padding), ("cutout", recipe.cutout))
        if wanted >= min(height, width)
    ]
    if problems:
        raise DataError("\n".join(problems))
