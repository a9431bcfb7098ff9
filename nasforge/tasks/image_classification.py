"""Image classification: batches in a drawn order, augmentation, accuracy with its standard error.

The shell is global average pooling, dropout and a linear classifier (Pham et al. 2018; docs/enas.md). Training images
are normalised and changed at random anew at every step; validation and test images are only normalised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasforge.components import Shape
from nasforge.data.images import channel_statistics
from nasforge.errors import DataError
from nasforge.executors.interpreter import Program
from nasforge.executors.network import Core, ImageCore, Network
from nasforge.executors.team import ALONE, Team
from nasforge.executors.transfer import sent
from nasforge.seeds import derive
from nasforge.tasks.augment import augment, normalise
from nasforge.tasks.auxiliary import AuxiliaryClassifier
from nasforge.tasks.base import ImageDescription, Metric, Score, Split, StepLoss, Task
from nasforge.tasks.image_classification_data import used_images, used_split
from nasforge.tasks.image_options import AUXILIARY, ImageClassificationOptions, ImageRecipe

_Chunk = tuple[Tensor, Tensor]
"""Images as networks read them, and their labels: so many as are scored at once."""


class Classifier(nn.Module):
    """A linear layer: weight ``[classes, width]`` from U(±1/sqrt(width)), bias ``[classes]`` from 0."""

    def __init__(self, width: int, classes: int, seed: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        generator = torch.Generator().manual_seed(derive(seed, "weights", "classifier"))
        self.weight = nn.Parameter(torch.empty(classes, width).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(classes))


class ImageClassification(Task):
    """Say which class an image is of."""

    metric = Metric("accuracy", "max")

    def __init__(
        self, config: ImageClassificationOptions, base: Path, *, seed: int, device: str = "cpu", team: Team = ALONE
    ) -> None:
        self._config = config
        self.team = team
        self._device = torch.device(device)
        self._data = used_images(config, base)
        parts = used_split(self._data, config, derive(seed, "split"))
        x, y = self._data.x_train, self._data.y_train
        self._mean, self._deviation = (each.tolist() for each in channel_statistics(x[parts.train]))
        self._parts: dict[Split, tuple[Tensor, Tensor]] = {
            "train": self._tensors(x[parts.train], y[parts.train]),
            "valid": self._tensors(x[parts.valid], y[parts.valid]),
            "test": self._tensors(self._data.x_test, self._data.y_test),
        }
        self._order: tuple[tuple[int, int, int], Tensor] | None = None
        self._minibatch: tuple[tuple[int, int], list[_Chunk]] | None = None

    def _tensors(self, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> tuple[Tensor, Tensor]:
        # Copies: the arrays of the data set are read-only.
        pixels = torch.from_numpy(np.array(images)).to(self._device)
        return pixels, torch.from_numpy(np.array(labels)).to(self._device)

    def facts(self) -> Mapping[str, Any]:
        """Name, sha256, numbers of images, classes and shape."""
        images = {split: len(labels) for split, (_, labels) in self._parts.items()}
        return {**self._data.facts(), "images": images}

    def image_description(self) -> ImageDescription:
        """The images as the networks read them, for exported networks."""
        n = self._data.shape[0]
        mean, deviation = (self._mean, self._deviation) if self._config.normalise else ([0.0] * n, [1.0] * n)
        return ImageDescription(self._data.shape, self._data.classes, tuple(mean), tuple(deviation))

    def input_shapes(self, width: int) -> Mapping[str, Shape]:
        """The images."""
        return {"image": self._data.shape}

    def shell(self, width: int, recipe: ImageRecipe, seed: int) -> Classifier:
        """See `Task`."""
        return Classifier(width, len(self._data.classes), seed).to(self._device)

    def core(self, program: Program) -> Core:
        """See `Task`."""
        return ImageCore(program)

    def training_shell(self, core: Core, recipe: ImageRecipe, seed: int) -> AuxiliaryClassifier:
        """See `Task`."""
        assert isinstance(core, ImageCore)
        classifier = AuxiliaryClassifier(core.output_shapes[AUXILIARY], len(self._data.classes), seed)
        return classifier.to(self._device)

    # Training --------------------------------------------------------------------------------------------------------

    def steps_per_epoch(self, recipe: ImageRecipe) -> int:
        """Full batches; the images that are left over are others in every epoch."""
        batch, there = recipe.batch_size * self.team.size, self._n_train(recipe)
        if self.team.size > 1 and there < batch:
            raise DataError(
                f"{self._data.name}: {there:,} training images, too few for batch_size: {recipe.batch_size} on each of "
                f"{self.team.size} ranks"
            )
        return max(1, there // batch)

    def _n_train(self, recipe: ImageRecipe) -> int:
        """How many images train: the first of the part, which hold every class by its share."""
        there = self.split_items("train")
        return there if recipe.train_images is None else min(there, recipe.train_images)

    def _batch(self, recipe: ImageRecipe, step: int, seed: int) -> tuple[Tensor, Tensor]:
        """Pixels and labels of this rank's part of a training batch."""
        per_epoch = self.steps_per_epoch(recipe)
        epoch, position = divmod(step, per_epoch)
        pixels, labels = self._parts["train"]
        key = epoch, seed, self._n_train(recipe)
        if self._order is None or self._order[0] != key:
            generator = torch.Generator().manual_seed(derive(seed, "order", epoch))
            self._order = key, torch.randperm(key[2], generator=generator).to(self._device)
        begin = position * recipe.batch_size * self.team.size
        chosen = self._order[1][begin:][self.team.rows(recipe.batch_size)]
        return pixels[chosen], labels[chosen]

    def _inputs(self, pixels: Tensor) -> Tensor:
        images = normalise(pixels, self._mean, self._deviation) if self._config.normalise else pixels.float() / 255
        return images.to(memory_format=torch.channels_last)

    def loss(self, network: Network, recipe: ImageRecipe, step: int, state: Any, seed: int) -> StepLoss:
        """See `Task`; nothing is carried from batch to batch."""
        pixels, labels = self._batch(recipe, step, seed)
        images = self._inputs(pixels)
        images = augment(
            images,
            derive(seed, "augmentation", step),
            flip=recipe.flip,
            crop_padding=recipe.crop_padding,
            cutout=recipe.cutout,
            team=self.team,
        )
        auxiliary: Tensor | None = None
        with network.training():
            if network.addition is None:
                pooled = _pooled(network.core, images)
            else:
                core = network.addition.core
                assert isinstance(core, ImageCore)
                features, outputs = core.with_outputs(images)
                pooled, auxiliary = features.mean((2, 3)), network.addition.shell(outputs[AUXILIARY])
        if recipe.dropout:
            generator = torch.Generator().manual_seed(derive(seed, "dropout", step))
            kept, (batch, width) = 1 - recipe.dropout, pooled.shape
            keep = self.team.drawn(batch, lambda n: torch.empty(n, width).bernoulli_(kept, generator=generator))
            pooled = pooled * sent(keep.div_(kept), pooled)
        logits = _logits(network, pooled)
        total = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        data = total if not recipe.label_smoothing else F.cross_entropy(logits.detach(), labels)
        if auxiliary is not None:
            on_the_way = F.cross_entropy(auxiliary, labels, label_smoothing=recipe.label_smoothing)
            total = total + recipe.auxiliary_weight * on_the_way
        return StepLoss(total, data.detach(), len(labels), None)

    # Scoring ---------------------------------------------------------------------------------------------------------

    def score_minibatch(self, network: Network, index: int, seed: int) -> Score:
        """The accuracy on validation images drawn for `index`, without repeats.

        The images of the last `index` are kept ready: they are the same tensors for all candidates.
        """
        if self._minibatch is None or self._minibatch[0] != (index, seed):
            pixels, labels = self._parts["valid"]
            generator = torch.Generator().manual_seed(derive(seed, "reward images", index))
            chosen = torch.randperm(len(labels), generator=generator)[: self.minibatch_items()].to(self._device)
            self._minibatch = (index, seed), list(self._chunks(pixels[chosen], labels[chosen]))
        return self._score(network, self._minibatch[1])

    def split_items(self, split: Split) -> int:
        """Images of a split."""
        return len(self._parts[split][1])

    def minibatch_items(self) -> int:
        """Images that give a reward."""
        return min(self._config.reward_batch_size, self.split_items("valid"))

    def evaluate(self, network: Network, split: Split, *, exact: bool) -> Score:
        """Accuracy in percent over every image of `split`; both protocols are the same."""
        return self._score(network, self._chunks(*self._parts[split]))

    def _chunks(self, pixels: Tensor, labels: Tensor) -> Iterator[_Chunk]:
        size = self._config.evaluation_batch_size
        for begin in range(0, len(labels), size):
            yield self._inputs(pixels[begin : begin + size]), labels[begin : begin + size]

    def _score(self, network: Network, chunks: Iterable[_Chunk]) -> Score:
        loss, right, n = 0.0, 0, 0
        with network.scoring():
            for images, wanted in chunks:
                logits = _logits(network, _pooled(network.core, images))
                loss += float(F.cross_entropy(logits, wanted, reduction="sum"))
                right += int((logits.argmax(1) == wanted).sum())
                n += len(wanted)
        accuracy = right / n if math.isfinite(loss) else math.nan
        return Score(100 * accuracy, loss / n, n, 100 * math.sqrt(accuracy * (1 - accuracy) / n))

    def evaluation(self, network: Network, batch: int) -> Callable[[], Tensor]:
        """From `batch` normalised images to the scores of all classes ``[batch, classes]``."""
        pixels, _ = self._parts["valid"]
        images = self._inputs(pixels[torch.arange(batch, device=self._device) % len(pixels)])

        def call() -> Tensor:
            with network.scoring():
                return _logits(network, _pooled(network.core, images))

        return call

    def reward(self, score: Score) -> float:
        """The accuracy, from 0 to 1 (the paper)."""
        return score.value / 100

    def reference_cores(self, width: int, parameters: int, seed: int) -> Mapping[str, Core]:
        """None: what networks of images are compared with are networks of their own space."""
        return {}


def _pooled(core: Core, images: Tensor) -> Tensor:
    """Global averages of the features ``[batch, width]``."""
    assert isinstance(core, ImageCore)
    return core(images).mean((2, 3))


def _logits(network: Network, pooled: Tensor) -> Tensor:
    shell = network.shell
    assert isinstance(shell, Classifier)
    return F.linear(pooled, shell.weight, shell.bias)
