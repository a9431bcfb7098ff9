"""Random changes of images, against loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nasforge.data.images import channel_statistics
from nasforge.seeds import derive
from nasforge.tasks.augment import augment, normalise, random_crop, random_cutout, random_flip

IMAGES = torch.arange(1.0, 1 + 40 * 2 * 5 * 7).view(40, 2, 5, 7)


def drawn(seed: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "augment", purpose))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_flip_mirrors_the_columns_of_about_half_of_the_images(seed: int) -> None:
    flags = torch.rand(40, generator=drawn(seed, "flip")) < 0.5
    assert 8 < int(flags.sum()) < 32
    found = random_flip(IMAGES, seed)
    for n, c, y, x in np.ndindex(*IMAGES.shape):
        assert found[n, c, y, x] == IMAGES[n, c, y, 6 - x if flags[n] else x]


@pytest.mark.parametrize("padding", [1, 2, 4])
def test_a_crop_shifts_and_fills_with_zeros(padding: int) -> None:
    corners = torch.randint(2 * padding + 1, (40, 2), generator=drawn(3, "crop"))
    found = random_crop(IMAGES, padding, 3)
    assert found.shape == IMAGES.shape
    assert set(corners.reshape(-1).tolist()) == set(range(2 * padding + 1))
    for n, c, y, x in np.ndindex(*IMAGES.shape):
        row, column = y + int(corners[n, 0]) - padding, x + int(corners[n, 1]) - padding
        inside = 0 <= row < 5 and 0 <= column < 7
        assert found[n, c, y, x] == (IMAGES[n, c, row, column] if inside else 0.0)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_cutout_is_a_square_around_its_centre(size: int) -> None:
    generator = drawn(4, "cutout")
    rows = torch.randint(5, (40, 1), generator=generator)
    columns = torch.randint(7, (40, 1), generator=generator)
    found = random_cutout(IMAGES, size, 4)
    for n, c, y, x in np.ndindex(*IMAGES.shape):
        top, left = int(rows[n]) - size // 2, int(columns[n]) - size // 2
        cut = top <= y < top + size and left <= x < left + size
        assert found[n, c, y, x] == (0.0 if cut else IMAGES[n, c, y, x])


def test_changes_are_pure_and_independent() -> None:
    before = IMAGES.clone()
    both = augment(IMAGES, 5, flip=True, crop_padding=2, cutout=3)
    torch.manual_seed(99)
    assert torch.equal(both, augment(IMAGES, 5, flip=True, crop_padding=2, cutout=3))
    assert not torch.equal(both, augment(IMAGES, 6, flip=True, crop_padding=2, cutout=3))
    assert torch.equal(both, random_cutout(random_flip(random_crop(IMAGES, 2, 5), 5), 3, 5))
    assert torch.equal(random_flip(IMAGES, 5), augment(IMAGES, 5, flip=True, crop_padding=0, cutout=0))
    assert augment(IMAGES, 5, flip=False, crop_padding=0, cutout=0) is IMAGES
    assert torch.equal(IMAGES, before)


def test_global_random_numbers_are_left_alone() -> None:
    state = torch.get_rng_state()
    augment(IMAGES, 5, flip=True, crop_padding=2, cutout=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_normalised_images_have_mean_0_and_deviation_1() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
    mean, deviation = channel_statistics(images)
    found = normalise(torch.from_numpy(images), mean.tolist(), deviation.tolist())
    assert found.dtype == torch.get_default_dtype()
    assert found.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert found.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], rel=1e-5)
    assert float(found[2, 1, 3, 0]) == pytest.approx((images[2, 1, 3, 0] / 255 - mean[1]) / deviation[1], rel=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no second device here")
def test_devices_agree() -> None:
    on_cpu = augment(IMAGES, 5, flip=True, crop_padding=2, cutout=3)
    assert torch.equal(on_cpu, augment(IMAGES.cuda(), 5, flip=True, crop_padding=2, cutout=3).cpu())
