"""Images: what every data set is checked for, the digits, stratified splits, and what is computed over pixels."""

from __future__ import annotations

import gzip
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nasforge
from nasforge.data import digits
from nasforge.data.image_data import ImageData, Part, image_data
from nasforge.data.image_split import every_fifth
from nasforge.data.images import ImageFiles, channel_statistics, load_images, resized, split
from nasforge.errors import DataError, UsageError

needs_digits = pytest.mark.skipif(importlib.util.find_spec("sklearn") is None, reason="scikit-learn is not installed")


def part(labels: list[int], shape: tuple[int, ...] = (1, 2, 3), start: int = 0) -> Part:
    size = len(labels) * int(np.prod(shape))
    pixels = (np.arange(start, start + size) % 256).astype(np.uint8)
    return pixels.reshape(len(labels), *shape), np.array(labels, dtype=np.int64)


def data(counts: list[int]) -> ImageData:
    labels = np.repeat(np.arange(len(counts)), counts)
    labels = labels[np.random.default_rng(0).permutation(len(labels))]
    train = np.zeros((len(labels), 1, 1, 1), np.uint8), labels
    return image_data("toy", [str(i) for i in range(len(counts))], train, part([*range(len(counts))], (1, 1, 1)), "toy")


def test_data_are_read_only_and_say_their_shape_and_facts() -> None:
    made = image_data("toy", ["a", "b"], part([0, 1, 1]), part([1, 0]), "here")
    assert made.shape == (1, 2, 3)
    assert made.facts() == {
        "name": "toy",
        "sha256": made.sha256,
        "images": {"train": 3, "test": 2},
        "classes": 2,
        "shape": [1, 2, 3],
    }
    for array in (made.x_train, made.y_train, made.x_test, made.y_test):
        with pytest.raises(ValueError, match="read-only"):
            array[:1] = 0


def test_the_identity_is_that_of_the_content() -> None:
    one = image_data("toy", ["a", "b"], part([0, 1]), part([1, 0]), "here")
    assert one.sha256 == image_data("other", ["a", "b"], part([0, 1]), part([1, 0]), "there").sha256
    others = [
        image_data("toy", ["a", "c"], part([0, 1]), part([1, 0]), "here"),
        image_data("toy", ["a", "b"], part([1, 0]), part([1, 0]), "here"),
        image_data("toy", ["a", "b"], part([0, 1], start=1), part([1, 0]), "here"),
        image_data("toy", ["a", "b"], part([0, 1]), part([0, 1]), "here"),
        image_data("toy", ["a", "b"], part([0, 1], (3, 2, 1)), part([1, 0], (3, 2, 1)), "here"),
    ]
    assert len({one.sha256, *(other.sha256 for other in others)}) == 6


@pytest.mark.parametrize(
    ("classes", "train", "test", "message"),
    [
        (["a"], part([0]), part([0]), "1 class found, expected 2 or more"),
        ([], part([0]), part([0]), "0 classes found"),
        (["a", "a"], part([0, 1]), part([0, 1]), "the names of two classes are equal: a, a"),
        (["a", "b"], part([0, 2]), part([0, 1]), "train: holds the labels 2, expected 0 to 1"),
        (["a", "b"], part([0, 1]), part([-1, 0, 1]), "test: holds the labels -1, expected 0 to 1"),
        (["a", "b"], part([0, 1]), part([1]), "test: holds no image of class a; every class"),
        (["a", "b"], part([0, 1]), part([]), r"test: images of shape \(0, 1, 2, 3\)"),
        (["a", "b"], part([0, 1]), part([0, 1], (1, 3, 2)), r"test images have the shape \(1, 3, 2\), .*\(1, 2, 3\)"),
        (["a", "b"], part([0, 1]), (part([0, 1])[0], np.array([0])), r"labels of shape \(1,\) for 2 images"),
        (["a", "b"], (np.zeros((2, 3, 4), np.uint8), np.array([0, 1])), part([0, 1]), r"images of shape \(2, 3, 4\)"),
    ],
)
def test_wrong_data_are_refused(classes: list[str], train: Part, test: Part, message: str) -> None:
    with pytest.raises(DataError, match=f"^here: .*{message}"):
        image_data("toy", classes, train, test, "here")


def test_all_faults_are_named() -> None:
    with pytest.raises(DataError) as caught:
        image_data("toy", [str(i) for i in range(9)], part([0]), part([9]), "here")
    first, second = str(caught.value).splitlines()
    assert "train: holds no image of class 1, 2, 3, 4, 5 and 3 more" in first and "labels 9" in second


# Digits ---------------------------------------------------------------------------------------------------------------


@needs_digits
def test_digits_are_scaled_and_split_for_ever() -> None:
    made = load_images("digits", Path())
    assert made.shape == (1, 8, 8) and made.classes == tuple("0123456789")
    assert (len(made.y_train), len(made.y_test)) == (1442, 355)
    assert made.sha256 == "0bc0951ddac08d4fa86d4c1df794a6843c8602db6e30535f0789fdd8f665c7da"
    assert set(np.unique(made.x_train).tolist()) == {(value * 255 + 8) // 16 for value in range(17)}
    assert min(np.bincount(made.y_test)) >= 34


@needs_digits
def test_digits_are_those_of_scikit_learn() -> None:
    table = np.loadtxt(gzip.decompress((digits.digits_file() or Path()).read_bytes()).decode().split(), delimiter=",")
    made = load_images("digits", Path())
    fives: dict[int, int] = {}
    train, test = iter(zip(made.x_train, made.y_train, strict=True)), iter(zip(made.x_test, made.y_test, strict=True))
    for row in table:
        fives[int(row[-1])] = fives.get(int(row[-1]), 0) + 1
        image, label = next(test if fives[int(row[-1])] % 5 == 0 else train)
        assert label == row[-1]
        assert np.abs(image.reshape(-1) / 255 - row[:-1] / 16).max() < 0.5 / 255 + 1e-9
    assert next(train, None) is None and next(test, None) is None


def _table(rows: int = 1797, columns: int = 65, value: str = "3") -> bytes:
    lines = [",".join([value] * (columns - 1) + [str(i % 10)]) for i in range(rows)]
    return gzip.compress("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 lines, expected 1797"),
        (b"not gzip", "cannot be read: Not a gzipped file"),
        (_table()[:-20], "cannot be read"),
        (_table(rows=10), "10 lines, expected 1797"),
        (_table(columns=64), r"a table of \(1797, 64\) numbers"),
        (_table(value="17"), "whole numbers from 0 to 16"),
        (_table(value="-1"), "whole numbers from 0 to 16"),
        (_table(value="0.5"), "whole numbers from 0 to 16"),
        (_table(value="nan"), "whole numbers from 0 to 16"),
        (_table(value="x"), "cannot be read: could not convert"),
        (gzip.compress(gzip.decompress(_table()).replace(b",9\n", b",10\n")), "labels from 0 to 10, expected 0 to 9"),
        (gzip.compress(b"\xff\xff"), "cannot be read"),
    ],
)
def test_a_damaged_file_of_digits_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "digits.csv.gz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        digits.load_digits(file)
    assert str(caught.value).startswith(str(file))


def test_without_scikit_learn_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="come with scikit-learn, which is not here: `pip install scikit-learn`"):
        load_images("digits", Path())


# Splits ---------------------------------------------------------------------------------------------------------------


def test_every_fifth_image_of_a_class_is_for_testing_and_of_few_the_last() -> None:
    labels = np.array([0, 1, 0, 1, 0, 0, 0, 0, 1, 2, 2])
    train, test = every_fifth(labels)
    assert test.tolist() == [6, 8, 10]
    assert sorted([*train, *test]) == list(range(11))


@given(
    st.lists(st.integers(2, 40), min_size=2, max_size=6),
    st.floats(0.05, 0.95),
    st.integers(0, 99),
)
def test_both_parts_of_a_split_hold_each_class_by_its_share(counts: list[int], fraction: float, seed: int) -> None:
    made = data(counts)
    n = sum(counts)
    n_valid = min(max(round(fraction * n), len(counts)), n - len(counts))
    parts = split(made, n_valid, seed)
    assert sorted([*parts.train, *parts.valid]) == list(range(n)) and len(parts.valid) == n_valid
    for n_train in {len(counts), (len(counts) + len(parts.train)) // 2, len(parts.train)}:
        kept = split(made, n_valid, seed, train_images=n_train).train
        assert kept.tolist() == parts.train[:n_train].tolist()
        assert set(made.y_train[kept].tolist()) == set(range(len(counts)))
    held = np.bincount(made.y_train[parts.valid], minlength=len(counts))
    assert all(1 <= found < count for found, count in zip(held, counts, strict=True))
    # The first and the last image of each class are set; the others are shared out, hence the slack of one a class.
    assert all(abs(found - count * n_valid / n) <= len(counts) for found, count in zip(held, counts, strict=True))


def test_a_balanced_set_is_split_in_balance() -> None:
    parts = split(data([50] * 10), 0.2, 3, train_images=130)
    made = data([50] * 10)
    assert np.bincount(made.y_train[parts.valid]).tolist() == [10] * 10
    assert np.bincount(made.y_train[parts.train]).tolist() == [13] * 10


def test_seeds_split_differently_and_equal_ones_equally_in_every_process() -> None:
    made = data([30, 20])
    ours = split(made, 0.2, 7)
    assert split(made, 10, 7).valid.tolist() == ours.valid.tolist() != split(made, 10, 8).valid.tolist()
    program = (
        "import numpy as np\n"
        "from nasforge.data.image_data import image_data\nfrom nasforge.data.images import split\n"
        "np.random.seed(5)\n"
        "labels = np.repeat([0, 1], [30, 20])[np.random.default_rng(0).permutation(50)]\n"
        "x = np.zeros((50, 1, 1, 1), np.uint8)\n"
        "d = image_data('toy', ['0', '1'], (x, labels), (x[:2], np.arange(2)), 'toy')\n"
        "print(split(d, 0.2, 7).valid.tolist(), split(d, 0.2, 7).train.tolist())"
    )
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(nasforge.__file__).parents[1])},
        )
        assert done.stdout.strip() == f"{ours.valid.tolist()} {ours.train.tolist()}"


def test_a_split_is_the_same_on_every_machine() -> None:
    parts = split(data([4, 6]), 0.3, 0)
    assert (parts.train.tolist(), parts.valid.tolist()) == ([7, 8, 6, 4, 3, 9, 5], [2, 0, 1])


@pytest.mark.parametrize(
    ("counts", "held_out", "train_images", "message"),
    [
        ([5, 1, 5], 3, None, "class '1' has one training image; two are needed"),
        ([5, 5], 1, None, "1 of 10 training images cannot be held out .* 2 classes, so 2 to 8 can be"),
        ([5, 5], 9, None, "9 of 10 training images"),
        ([50, 50], 0.01, None, "1 of 100 training images"),
        ([5, 5, 5], 3, 2, "2 training images are too few for 3 classes"),
    ],
)
def test_too_few_images_cannot_be_split(
    counts: list[int], held_out: float | int, train_images: int | None, message: str
) -> None:
    with pytest.raises(DataError, match=f"^toy: .*{message}"):
        split(data(counts), held_out, 0, train_images)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_is_between_0_and_1(fraction: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        split(data([5, 5]), fraction, 0)


# Pixels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "size"), [(8, 8, 4), (8, 8, 8), (6, 9, 3), (4, 4, 1), (28, 28, 14)])
def test_resizing_averages_blocks_and_rounds_halves_up(height: int, width: int, size: int) -> None:
    images = np.random.default_rng(1).integers(0, 256, (3, 2, height, width), dtype=np.uint8)
    found = resized(images, size)
    assert found.shape == (3, 2, size, size) and found.dtype == np.uint8
    down, right = height // size, width // size
    for n, c, y, x in np.ndindex(3, 2, size, size):
        block = images[n, c, y * down : (y + 1) * down, x * right : (x + 1) * right]
        assert found[n, c, y, x] == int(block.astype(np.float64).mean() + 0.5)
    assert resized(np.full_like(images, 255), size).min() == 255


@pytest.mark.parametrize("size", [0, 3, 16, 12])
def test_resizing_must_divide(size: int) -> None:
    with pytest.raises(DataError, match=f"8x8 pixels cannot be averaged to {size}x{size}: resize must divide"):
        resized(np.zeros((1, 1, 8, 8), np.uint8), size)


def test_statistics_are_those_of_numpy_over_all_pixels() -> None:
    images = np.random.default_rng(2).integers(0, 256, (2001, 3, 4, 5), dtype=np.uint8)
    images[:, 2] = 7
    mean, deviation = channel_statistics(images)
    assert mean == pytest.approx((images / 255).mean(axis=(0, 2, 3)), rel=1e-12)
    assert deviation[:2] == pytest.approx((images / 255).std(axis=(0, 2, 3))[:2], rel=1e-12)
    assert deviation[2] == 1.0


# The loader -----------------------------------------------------------------------------------------------------------


def test_unknown_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown images 'digit'\. Did you mean 'digits'\?.*\{npz: FILE\}"):
        load_images("digit", tmp_path)
    for source in (ImageFiles(), ImageFiles("a", "b")):
        with pytest.raises(UsageError, match="one of the two"):
            load_images(source, tmp_path)
    with pytest.raises(DataError, match="not the name of a file"):
        load_images(ImageFiles(npz="a\0"), tmp_path)
    with pytest.raises(DataError, match=f"{tmp_path}/absent.npz: no such file"):
        load_images(ImageFiles(npz="absent.npz"), tmp_path)


def test_neither_torch_nor_scikit_learn_is_imported() -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from nasforge.data.images import load_images\nfrom nasforge.errors import DataError\n"
        "try: load_images('digits', Path())\n"
        "except DataError: pass\n"
        "sys.exit(bool({'torch', 'sklearn', 'scipy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(nasforge.__file__).parents[1])
