"""Random changes of training images, as pure functions of a batch and a seed; and their normalisation.

Everything random is drawn on the CPU, so that every device sees the same images. Each change has its own stream:
switching one off does not alter the others. As in the code of the paper, images are normalised first, so that the
zeros of padding and cutout are the mean colour.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nasforge.executors.team import ALONE, Team
from nasforge.executors.transfer import sent
from nasforge.seeds import derive


def augment(images: Tensor, seed: int, *, flip: bool, crop_padding: int, cutout: int, team: Team = ALONE) -> Tensor:
    """Crop, mirror and cut out, in this order; a number of 0 leaves a change out.

    Args:
        images: `(batch, channels, height, width)`, floats, normalised.
        seed: of this batch.
        flip: whether half of the images are mirrored.
        crop_padding: as for `random_crop`.
        cutout: as for `random_cutout`.
        team: `images` are one rank's part of its batch; so in all functions here.

    Returns:
        New images of the same shape, or `images` where nothing is to be done.
    """
    if crop_padding:
        images = random_crop(images, crop_padding, seed, team)
    if flip:
        images = random_flip(images, seed, team)
    if cutout:
        images = random_cutout(images, cutout, seed, team)
    return images


def normalise(images: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """Turn bytes into floats of mean 0 and deviation 1 in each channel.

    Args:
        images: `(batch, channels, height, width)`, uint8.
        mean: of each channel, on the scale 0 to 1 (`nasforge.data.images.channel_statistics`).
        deviation: likewise, not 0.

    Returns:
        `(batch, channels, height, width)` in torch's default type.
    """
    floats = images.to(torch.get_default_dtype()) / 255
    shape = (1, -1, 1, 1)
    middle, spread = (sent(torch.tensor(each, dtype=floats.dtype), floats) for each in (mean, deviation))
    return (floats - middle.view(shape)) / spread.view(shape)


def random_flip(images: Tensor, seed: int, team: Team = ALONE) -> Tensor:
    """Mirror each image, left to right, with probability one half. Images are `(batch, channels, height, width)`."""
    generator = _generator(seed, "flip")
    flipped = team.drawn(len(images), lambda n: torch.rand(n, generator=generator)) < 0.5
    return torch.where(sent(flipped, images)[:, None, None, None], images.flip(3), images)


def random_crop(images: Tensor, padding: int, seed: int, team: Team = ALONE) -> Tensor:
    """Put `padding` pixels of 0 around each image and cut a part of the old size out, at a uniformly drawn place.

    Args:
        images: `(batch, channels, height, width)`.
        padding: pixels on each of the four sides.
        seed: of this batch.
        team: see `augment`.
    """
    batch, channels, height, width = images.shape
    generator = _generator(seed, "crop")
    corners = team.drawn(batch, lambda n: torch.randint(2 * padding + 1, (n, 2), generator=generator))
    corners = sent(corners, images)
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    rows = corners[:, :1] + torch.arange(height, device=images.device)
    columns = corners[:, 1:] + torch.arange(width, device=images.device)
    which = torch.arange(batch, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[which, channel, rows[:, None, :, None], columns[:, None, None, :]]


def random_cutout(images: Tensor, size: int, seed: int, team: Team = ALONE) -> Tensor:
    """Set a square to 0 in all channels; its centre is a uniformly drawn pixel, and what lies outside is lost.

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout" (2017).

    Args:
        images: `(batch, channels, height, width)`.
        size: side of the square in pixels; it begins `size // 2` pixels before its centre.
        seed: of this batch.
        team: see `augment`.
    """
    batch, _, height, width = images.shape
    generator = _generator(seed, "cutout")

    def inside(length: int) -> Tensor:
        centre = team.drawn(batch, lambda n: torch.randint(length, (n, 1), generator=generator))
        start = sent(centre - size // 2, images)
        place = torch.arange(length, device=images.device)
        return (place >= start) & (place < start + size)

    rows, columns = inside(height), inside(width)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _generator(seed: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "augment", purpose))
