"""Images of the user's own: NumPy archives and folders, right ones and every sort of wrong one."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nasforge.data.image_data import ImageData
from nasforge.data.image_folder import load_image_folder
from nasforge.data.images import ImageFiles, load_images
from nasforge.data.npz_images import load_npz
from nasforge.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (6, 5, 7), dtype=np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])


def archive(folder: Path, **changed: Any) -> Path:
    """An archive of six images in three classes for each part; an array that is None is left out."""
    arrays = {"x_train": X, "y_train": Y, "x_test": X[::-1], "y_test": Y[::-1], **changed}
    file = folder / "own.npz"
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return file


# Archives -------------------------------------------------------------------------------------------------------------


def test_grey_images_get_one_channel(tmp_path: Path) -> None:
    made = load_npz(archive(tmp_path))
    assert made.shape == (1, 5, 7) and made.classes == ("0", "1", "2")
    assert np.array_equal(made.x_train[:, 0], X) and np.array_equal(made.x_test[:, 0], X[::-1])
    assert made.y_train.dtype == np.int64 and made.y_test.tolist() == Y[::-1].tolist()
    assert load_images(ImageFiles(npz="own.npz"), tmp_path).sha256 == made.sha256


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_first_and_last_give_the_same_data(channels: int, tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (6, channels, 5, 7), dtype=np.uint8)
    first = load_npz(archive(tmp_path, x_train=x, x_test=x))
    last = load_npz(archive(tmp_path, x_train=x.transpose(0, 2, 3, 1), x_test=x.transpose(0, 2, 3, 1)))
    assert first.shape == (channels, 5, 7) and np.array_equal(first.x_train, x)
    assert first.sha256 == last.sha256


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_from_0_to_1_become_the_bytes_they_came_from(dtype: Any, tmp_path: Path) -> None:
    floats = (X / 255).astype(dtype)
    made = load_npz(archive(tmp_path, x_train=floats, x_test=floats))
    assert np.array_equal(made.x_train[:, 0], X)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_labels_may_be_integers_of_any_size(dtype: Any, tmp_path: Path) -> None:
    assert load_npz(archive(tmp_path, y_train=Y.astype(dtype))).sha256 == load_npz(archive(tmp_path)).sha256


def test_classes_may_have_names(tmp_path: Path) -> None:
    assert load_npz(archive(tmp_path, classes=np.array(["ant", "bee", "cat"]))).classes == ("ant", "bee", "cat")


def test_without_a_test_part_a_fifth_of_each_class_is_held_out(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (30, 5, 7), dtype=np.uint8)
    made = load_npz(archive(tmp_path, x_train=x, y_train=np.arange(30) % 3, x_test=None, y_test=None))
    assert np.array_equal(made.x_test[:, 0], x[[12, 13, 14, 27, 28, 29]])
    assert made.y_test.tolist() == [0, 1, 2, 0, 1, 2] and len(made.y_train) == 24


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_train": None}, "holds no array x_train"),
        ({"y_train": None}, "holds no array y_train"),
        ({"x_test": None}, "holds y_test without x_test"),
        ({"y_test": None}, "holds x_test without y_test"),
        ({"x_valid": X}, "holds 'x_valid', which would not be used"),
        ({"labels": Y}, "holds 'labels', which would not be used.*Known here: x_train, y_train, x_test, y_test"),
        ({"x_train": X[0]}, r"x_train: of shape \(5, 7\), expected \(n, height, width\)"),
        ({"x_train": np.zeros((6, 5, 7, 5), np.uint8)}, r"x_train: of shape \(6, 5, 7, 5\), expected"),
        ({"x_train": np.zeros((6, 0, 7), np.uint8)}, r"x_train: of shape \(6, 0, 7\), expected"),
        ({"x_train": np.zeros((0, 5, 7), np.uint8)}, r"x_train: of shape \(0, 5, 7\), expected"),
        ({"x_train": np.zeros((6, 3, 7, 3), np.uint8)}, "either the second or the last could be the channels"),
        ({"x_train": np.zeros((6, 1, 1, 1, 1), np.uint8)}, r"x_train: of shape \(6, 1, 1, 1, 1\)"),
        ({"x_train": X.astype(np.int64)}, "x_train: of type int64, expected uint8, or floats from 0 to 1"),
        ({"x_train": X > 9}, "x_train: of type bool"),
        (
            {"x_train": X.astype(np.float32)},
            r"x_train: floats from \d+ to 2\d\d, expected 0 to 1; store 0 to 255 as uint8",
        ),
        ({"x_train": X / 255 - 0.5}, "x_train: floats from -0.5 to"),
        ({"x_test": np.where(X[3, 2, 1] == X, np.nan, X / 255)}, "x_test: holds NaN or infinity"),
        ({"x_test": np.where(X[3, 2, 1] == X, np.inf, X / 255)}, "x_test: holds NaN or infinity"),
        ({"x_train": X.astype("c8")}, "x_train: of type complex64"),
        ({"x_train": np.full((6, 5, 7), "a")}, "x_train: of type <U1"),
        ({"x_test": X[:, :4]}, r"test images have the shape \(1, 4, 7\), those of train \(1, 5, 7\)"),
        ({"y_train": Y.astype(np.float64)}, "y_train: of type float64, expected integers"),
        ({"y_train": Y > 0}, "y_train: of type bool, expected integers"),
        ({"y_train": Y[:5]}, r"y_train: of shape \(5,\), expected \(6,\): a label for each image"),
        ({"y_train": Y[:, None]}, r"y_train: of shape \(6, 1\), expected \(6,\)"),
        ({"y_train": Y - 1}, "y_train: labels from -1 to 1, expected 0, 1, 2"),
        ({"y_train": Y * 2}, "y_train: labels up to 4 but none is 1"),
        ({"y_train": Y + 1}, "y_train: labels up to 3 but none is 0"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 2**62])}, "y_train: labels from 0 to 4611686018427387904"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 2**30])}, "y_train: labels up to 1073741824 but none is 3"),
        ({"y_train": np.zeros(6, np.int64), "y_test": np.zeros(6, np.int64)}, "1 class found, expected 2 or more"),
        ({"y_test": np.array([0, 1, 2, 3, 0, 1])}, "test: holds the labels 3, expected 0 to 2"),
        ({"y_test": np.array([0, 1, 0, 1, 0, 1])}, "test: holds no image of class 2"),
        ({"classes": np.array(["a", "b"])}, "y_train: holds the label 2, but classes names 2"),
        ({"classes": np.array(["a", "b", "c", "d"])}, "train: holds no image of class d"),
        ({"classes": np.array(["a", "b", "b"])}, "the names of two classes are equal"),
        ({"classes": np.arange(3)}, "classes: of type int64"),
        ({"x_test": None, "y_test": None, "y_train": np.array([0, 0, 0, 1, 1, 2])}, "class 2 has one image"),
        ({"x_train": np.array([None] * 6)}, "cannot be read as a NumPy archive: Object arrays cannot be loaded"),
        ({"y_train": np.array([0, 1, 2, 0, 1, "b"], dtype=object)}, "Object arrays cannot be loaded"),
    ],
)
def test_wrong_archives_are_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    file = archive(tmp_path, **changed)
    with pytest.raises(DataError, match=message) as caught:
        load_npz(file)
    assert str(caught.value).startswith(str(file))


def test_other_files_are_no_archives(tmp_path: Path) -> None:
    file = tmp_path / "own.npz"
    for content in (b"", b"PK", b"rubbish" * 99, b"\x80\x04N.", b"PK\x03\x04" + bytes(200)):
        file.write_bytes(content)
        with pytest.raises(DataError, match=f"{file}: cannot be read as a NumPy archive"):
            load_npz(file)
    np.save(tmp_path / "own.npy", X)
    with pytest.raises(DataError, match="holds a single array"):
        load_npz(tmp_path / "own.npy")
    with pytest.raises(DataError, match="cannot be read as a NumPy archive"):
        load_npz(tmp_path)


def test_a_cut_or_changed_archive_is_never_taken_for_other_data(tmp_path: Path) -> None:
    file = archive(tmp_path)
    whole = file.read_bytes()
    expected = load_npz(file).sha256
    for length in range(0, len(whole) - 1, 37):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError):
            load_npz(file)
    for place in range(0, len(whole), 11):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            found: ImageData | None = load_npz(file)
        except DataError:
            found = None
        assert found is None or found.sha256 == expected


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (6, 5, 70)}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999, 9999999, 7)}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 5, 7)}",
        b"{'descr': 'nothing', 'fortran_order': False, 'shape': (6, 5, 7)}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (6, 5, 7}",
        b"not a header",
    ],
)
def test_arrays_whose_headers_lie_are_refused(header: bytes, tmp_path: Path) -> None:
    header += b" " * (117 - len(header)) + b"\n"
    lying = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + X.tobytes()
    labels = io.BytesIO()
    np.save(labels, Y)
    with zipfile.ZipFile(tmp_path / "own.npz", "w") as file:
        file.writestr("x_train.npy", lying)
        file.writestr("y_train.npy", labels.getvalue())
    with pytest.raises(DataError, match="own.npz: "):
        load_npz(tmp_path / "own.npz")


# Folders --------------------------------------------------------------------------------------------------------------


def folder(place: Path, mode: str = "L", ending: str = ".png") -> Path:
    """Two images for each of two classes in both parts."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (place / split / name).mkdir(parents=True)
            for number in range(2):
                save(place / split / name / f"{number}{ending}", mode)
    return place


def save(file: Path, mode: str = "L", size: tuple[int, int] = (7, 5)) -> np.ndarray[Any, Any]:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = RNG.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels, mode="L" if mode in "L1P" else mode).convert(
        mode
    ).save(file)
    return pixels


@pytest.mark.parametrize(
    ("mode", "ending", "channels"),
    [("L", ".png", 1), ("RGB", ".png", 3), ("RGBA", ".png", 4), ("P", ".png", 3), ("1", ".png", 1)]
    + [("L", ".jpg", 1), ("RGB", ".JPEG", 3)],
)
def test_a_folder_is_read_with_the_channels_of_its_images(
    mode: str, ending: str, channels: int, tmp_path: Path
) -> None:
    made = load_image_folder(folder(tmp_path, mode, ending))
    assert made.shape == (channels, 5, 7) and made.classes == ("cat", "dog")
    assert made.y_train.tolist() == made.y_test.tolist() == [0, 0, 1, 1]


def test_pixels_are_where_they_were(tmp_path: Path) -> None:
    folder(tmp_path, "RGB")
    pixels = save(tmp_path / "train" / "dog" / "0.png", "RGB")
    (tmp_path / "train" / "dog" / ".hidden").write_text("")
    made = load_images(ImageFiles(folder=str(tmp_path)), Path())
    assert np.array_equal(made.x_train[2], pixels.transpose(2, 0, 1))


def test_faults_of_a_folder_name_the_file(tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            load_image_folder(tmp_path)
        assert str(caught.value).startswith(str(tmp_path))

    refused(f"{tmp_path}/train: no such folder")
    folder(tmp_path)
    last = tmp_path / "test" / "dog" / "1.png"
    whole = last.read_bytes()
    for content in (b"", b"rubbish", whole[:20], whole[:-30], whole[:45] + b"\0\0\0\0" + whole[49:], b"GIF89a" + whole):
        last.write_bytes(content)
        refused(f"{last}: cannot be read as an image")
    save(last, "L", (6, 5))
    refused(f"{last}: 5x6 pixels of 1 channel, but .*/train/cat/0.png is 5x7 pixels of 1 channel; all must be alike")
    save(last, "RGB")
    refused(f"{last}: 5x7 pixels of 3 channels, but")
    Image.fromarray(np.zeros((5, 7), np.uint16)).save(last)
    refused(f"{last}: has the mode I;16, expected one of L, ")
    last.unlink()
    last.mkdir()
    refused(f"{last}: cannot be read as an image")
    last.rmdir()
    (tmp_path / "test" / "dog" / "1.bmp").write_bytes(b"")
    refused("1.bmp: is not one of .png, .jpg, .jpeg")
    (tmp_path / "test" / "dog" / "1.bmp").unlink()
    (tmp_path / "test" / "dog" / "0.png").unlink()
    refused("test: holds no image of class dog")
    (tmp_path / "test" / "dog").rmdir()
    refused("class 'dog' is in train and not in test")
    for name in ("cat/0.png", "cat/1.png"):
        (tmp_path / "test" / name).unlink()
    (tmp_path / "test" / "cat").rmdir()
    (tmp_path / "test" / "ant").mkdir()
    refused("class 'ant' is in test and not in train")


def test_a_folder_without_classes_or_with_one_is_refused(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
    with pytest.raises(DataError, match="0 classes found"):
        load_image_folder(tmp_path)
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir()
        save(tmp_path / split / "cat" / "a.png")
    with pytest.raises(DataError, match="1 class found, expected 2 or more"):
        load_image_folder(tmp_path)
