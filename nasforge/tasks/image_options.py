"""What users write about the classification of images. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from nasforge.components import Options, TaskKind
from nasforge.errors import suggest
from nasforge.recipe import Fraction, NotNegative, Positive, Recipe

IMAGE_SETS = ("digits", "cifar10")

AUXILIARY = "auxiliary"
"""The output of networks of images that an auxiliary classifier reads."""


class ImageFilesOptions(Options):
    """The user's own images: one of the two.

    Attributes:
        npz: path of a NumPy archive with the arrays ``x_train``, ``y_train`` and, both or neither, ``x_test``,
            ``y_test``; relative to the YAML file. Without a test part every fifth image of each class is for testing.
        folder: path of a folder with ``train/CLASS/*.png`` and ``test/CLASS/*.png`` (or ``.jpg``), likewise.
    """

    npz: str | None = None
    folder: str | None = None

    @model_validator(mode="after")
    def _one(self) -> ImageFilesOptions:
        if (self.npz is None) == (self.folder is None):
            raise PydanticCustomError("image_files", "{message}", {"message": "give one of npz and folder"})
        return self


def _images(value: Any) -> Any:
    if isinstance(value, str) and value not in IMAGE_SETS:
        raise PydanticCustomError(
            "unknown_images",
            "{message}",
            {
                "message": f"unknown images '{value}'.{suggest(value, IMAGE_SETS)}",
                "hint": f"known here: {', '.join(IMAGE_SETS)}, or your own: {{npz: FILE}} or {{folder: PATH}}",
            },
        )
    if not isinstance(value, str | dict | ImageFilesOptions):
        raise PydanticCustomError(
            "images_form",
            "{message}",
            {"message": f"images are a name ({', '.join(IMAGE_SETS)}), {{npz: FILE}} or {{folder: PATH}}"},
        )
    return value


class ImageClassificationOptions(Options):
    """The ``task`` block of image classification.

    Attributes:
        kind: ``image_classification``.
        data: ``digits`` (8x8, from scikit-learn), ``cifar10`` (its binary version, brought by the user), or the user's
            own images.
        valid_fraction: which part of the training images validates: rewards and the choice of the winner come from it.
            Stratified by class (the paper: 0.1, the last 5,000 of CIFAR-10 in the order of the file).
        resize: images are averaged to this height and width, which must divide theirs; null for their own.
        normalise: whether each channel gets mean 0 and deviation 1 over the images that train (the paper: yes).
        reward_batch_size: validation images that give a reward (the paper's code: 160 for cells, 128 for macro
            networks).
        evaluation_batch_size: images of a batch when a whole part is scored.
    """

    kind: Literal["image_classification"] = "image_classification"
    data: Annotated[Literal["digits", "cifar10"] | ImageFilesOptions, BeforeValidator(_images)] = "digits"
    valid_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    resize: Annotated[int, Field(ge=1)] | None = None
    normalise: bool = True
    reward_batch_size: int = Field(default=128, ge=2)
    evaluation_batch_size: int = Field(default=250, ge=1)


class ImageRecipe(Recipe):
    """A recipe for image classifiers; dropout values are probabilities of dropping (reference values: docs/enas.md).

    The defaults are for small images of signs, such as `digits`. "The paper" gives the values of its code for cells,
    search / final network, and for macro networks where they differ.

    Attributes:
        train_images: how many of the images that train are used at most, stratified by class; null for all of them.
        batch_size: images of a step, over which batch norms take their statistics (the paper: 160 / 144; macro: 128 /
            100).
        label_smoothing: probability that is spread over all classes (the paper: 0).
        flip: whether half of the images are mirrored, left to right; not for signs (the paper: yes).
        crop_padding: pixels of 0 around an image, of which a random part of the old size is cut (the paper: 4).
        cutout: side of a square that is set to 0 at a random place, in pixels; 0 for none (the paper: none; 16 for its
            best published error).
        drop_path: how often the results of operations are left out of a cell, at the end of the training in the last
            cell; it rises linearly with the training and with the depth (the paper's code: 0 / 0.4; macro: none).
        auxiliary_weight: the loss of an auxiliary classifier on the way, times this, is added; it reads what follows
            the last reduction and is no part of the trained network (the paper's code: 0.4; macro: none).
        dropout: elements of the pooled features before the classifier (the paper: 0.1 / 0.2; macro: 0.1 / 0.5).
    """

    learning_rate: Positive = 3e-3
    weight_decay: NotNegative = 1e-4
    clip_norm: Positive | None = 5.0
    train_images: Annotated[int, Field(ge=2)] | None = None
    batch_size: int = Field(default=64, ge=2)
    label_smoothing: Fraction = 0.0
    flip: bool = False
    crop_padding: int = Field(default=0, ge=0)
    cutout: int = Field(default=0, ge=0)
    dropout: Fraction = 0.1
    drop_path: Fraction = 0.0
    auxiliary_weight: NotNegative = 0.0

    @property
    def training_outputs(self) -> Mapping[str, str]:
        """See `Recipe`."""
        return {"auxiliary_weight": AUXILIARY} if self.auxiliary_weight else {}

    def drop_rate(self, progress: float) -> float:
        """See `Recipe`."""
        return self.drop_path * progress


IMAGE_CLASSIFICATION = TaskKind(
    name="image_classification",
    summary="say which class an image is of; accuracy in percent, higher is better",
    build="nasforge.tasks.image_classification:ImageClassification",
    config=ImageClassificationOptions,
    recipe=ImageRecipe,
    prepare="nasforge.tasks.image_classification_data:prepare",
    kinds=("conv_cell", "macro_network"),
    references=("largest",),
    metric=("accuracy", "max"),
    data_key="data",
)
