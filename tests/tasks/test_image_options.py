"""The options of image classification, and what is checked before a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import nasforge
from nasforge.data import images
from nasforge.errors import DataError
from nasforge.tasks import image_options
from nasforge.tasks.image_classification_data import prepare, used_images, used_split
from nasforge.tasks.image_options import ImageClassificationOptions, ImageFilesOptions, ImageRecipe


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with an archive of 60 training and 6 test images of 8x8 in three classes."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (66, 8, 8), dtype=np.uint8)
    y = np.arange(66) % 3
    np.savez(tmp_path / "own.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    return tmp_path


def options(**changed: Any) -> ImageClassificationOptions:
    return ImageClassificationOptions.model_validate(
        {"data": {"npz": "own.npz"}, "valid_fraction": 0.2, "reward_batch_size": 12, **changed}
    )


def recipe(**changed: Any) -> ImageRecipe:
    return ImageRecipe.model_validate({"batch_size": 48, **changed})


def test_names_are_those_that_are_loaded() -> None:
    assert image_options.IMAGE_SETS == images.IMAGE_SETS


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": "digit"}, r"unknown images 'digit'\. Did you mean 'digits'\?"),
        ({"data": 3}, r"images are a name \(digits, cifar10\), \{npz: FILE\} or \{folder: PATH\}"),
        ({"data": {}}, "give one of npz and folder"),
        ({"data": {"npz": "a", "folder": "b"}}, "give one of npz and folder"),
        ({"data": {"file": "a"}}, "Extra inputs"),
        ({"valid_fraction": 0.0}, "greater than 0"),
        ({"valid_fraction": 1.0}, "less than 1"),
        ({"resize": 0}, "greater than or equal to 1"),
        ({"reward_batch_size": 1}, "greater than or equal to 2"),
        ({"evaluation_batch_size": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_options_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ImageClassificationOptions.model_validate(given)


@pytest.mark.parametrize(
    "given",
    [{"batch_size": 0}, {"label_smoothing": 1.0}, {"flip": 1}, {"crop_padding": -1}, {"cutout": -1}, {"dropout": 1.0}]
    + [{"train_images": 1}, {"dropout_words": 0.1}],
)
def test_wrong_recipes_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(given))):
        ImageRecipe.model_validate(given)


def test_defaults_suit_the_digits() -> None:
    config, defaults = ImageClassificationOptions(), ImageRecipe()
    assert (config.data, defaults.batch_size, defaults.flip, defaults.crop_padding) == ("digits", 64, False, 0)
    assert ImageClassificationOptions(data=ImageFilesOptions(folder="a")).data == ImageFilesOptions(folder="a")


def test_prepare_returns_the_identity_of_the_images_whatever_is_used_of_them(base: Path) -> None:
    digest = images.load_images(images.ImageFiles(npz="own.npz"), base).sha256
    assert prepare(options(), [recipe(), recipe(batch_size=2, crop_padding=7, cutout=7)], base) == digest
    assert prepare(options(resize=4), [recipe(train_images=20, batch_size=20, cutout=3)], base) == digest
    assert prepare(options(data={"npz": str(base / "own.npz")}), [], Path()) == digest


def test_images_are_resized_and_the_split_is_of_the_size_asked_for(base: Path) -> None:
    config = options(resize=4)
    data = used_images(config, base)
    whole = images.load_images(images.ImageFiles(npz="own.npz"), base)
    assert data.shape == (1, 4, 4) and data.x_test.shape == (6, 1, 4, 4)
    assert np.array_equal(data.x_train, images.resized(whole.x_train, 4))
    parts = used_split(data, config, 1)
    assert (len(parts.train), len(parts.valid)) == (48, 12)
    assert np.bincount(data.y_train[parts.train[:30]]).tolist() == [10, 10, 10]


@pytest.mark.parametrize(
    ("config", "trained", "message"),
    [
        (
            {},
            {"batch_size": 49},
            "npz: 48 training images, too few for batch_size: 49; use more images or a smaller one",
        ),
        ({}, {"train_images": 20}, "npz: 20 training images, too few for batch_size: 48"),
        ({"reward_batch_size": 13}, {}, "npz: 12 validation images, too few for task.reward_batch_size: 13"),
        ({}, {"crop_padding": 8}, "npz: images of 8x8 pixels are too small for crop_padding: 8"),
        ({"resize": 4}, {"cutout": 4}, "npz: images of 4x4 pixels are too small for cutout: 4"),
        ({"resize": 3}, {}, "npz: images of 8x8 pixels cannot be averaged to 3x3"),
        ({"valid_fraction": 0.01}, {}, "npz: 1 of 60 training images cannot be held out"),
        ({}, {"train_images": 2, "batch_size": 2}, "npz: 2 training images, too few for one of each class: 3"),
        ({"data": {"npz": "absent.npz"}}, {}, "absent.npz: no such file"),
        ({"data": {"folder": "absent"}}, {}, "absent/train: no such folder"),
        ({"data": "cifar10"}, {}, "CIFAR-10 is not here"),
    ],
)
def test_what_cannot_be_used_is_said_before_the_run(
    config: dict[str, Any], trained: dict[str, Any], message: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASFORGE_DATA", str(base / "own-data"))
    with pytest.raises(DataError, match=message):
        prepare(options(**config), [recipe(batch_size=2), recipe(**trained)], base)


def test_images_of_another_shape_than_the_space_is_for_are_refused(base: Path) -> None:
    prepare(options(), [recipe()], base, {"image": (1, 8, 8)})
    with pytest.raises(
        DataError, match=r"of the shape \[1, 8, 8\], but the space is for \[3, 32, 32\]; write space.image"
    ):
        prepare(options(), [recipe()], base, {"image": (3, 32, 32)})


def test_all_faults_of_the_sizes_are_named(base: Path) -> None:
    with pytest.raises(DataError) as caught:
        prepare(options(reward_batch_size=99), [recipe(batch_size=99, crop_padding=9, cutout=9)], base)
    assert len(str(caught.value).splitlines()) == 4


def test_torch_is_not_imported() -> None:
    program = "import sys, nasforge.tasks.image_classification_data; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(nasforge.__file__).parents[1])
