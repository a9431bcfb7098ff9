"""CIFAR-10's binary version: read, checked, put in place; with 20 records a file where the real ones have 10,000."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nasforge.data import cifar10
from nasforge.data.catalogue import DataSet, add_data_set, known_data_sets
from nasforge.data.images import load_images
from nasforge.errors import DataError

RECORDS = 20
SIZE = 3073


@pytest.fixture(autouse=True)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real" not in request.function.__name__:
        monkeypatch.setattr(cifar10, "RECORDS", RECORDS)


def contents() -> dict[str, bytes]:
    """The seven files: random pixels, each class twice a file."""
    rng = np.random.default_rng(3)
    made = {"batches.meta.txt": ("\n".join(cifar10.CLASSES) + "\n\n").encode()}
    for name in (*cifar10.TRAIN_FILES, cifar10.TEST_FILE):
        records = rng.integers(0, 256, (RECORDS, SIZE), dtype=np.uint8)
        records[:, 0] = rng.permutation(np.arange(RECORDS) % 10)
        made[name] = records.tobytes()
    return made


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def pack(archive: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(archive, "w:gz") as file:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return archive


def entry() -> DataSet:
    return next(entry for entry in known_data_sets() if entry.name == "cifar10")


def test_a_record_is_a_label_and_three_planes() -> None:
    files = contents()
    made = cifar10.cifar10_from_bytes(files, "here")
    assert made.shape == (3, 32, 32) and made.classes == cifar10.CLASSES and made.note == ""
    assert (made.x_train.shape, made.x_test.shape) == ((5 * RECORDS, 3, 32, 32), (RECORDS, 3, 32, 32))
    for number in (0, 1, RECORDS - 1):
        record = files["data_batch_3.bin"][number * SIZE : (number + 1) * SIZE]
        image, label = made.x_train[2 * RECORDS + number], made.y_train[2 * RECORDS + number]
        assert label == record[0]
        for channel, row, column in ((0, 0, 0), (0, 0, 31), (1, 5, 7), (2, 31, 31)):
            assert image[channel, row, column] == record[1 + channel * 1024 + row * 32 + column]
    assert made.y_test.tolist() == list(files["test_batch.bin"][::SIZE])


def test_a_known_difference_from_the_published_images_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    files = contents()
    digest = cifar10.cifar10_from_bytes(files, "here").sha256
    monkeypatch.setattr(cifar10, "NOTES", {digest: "JPEG q75"})
    made = cifar10.cifar10_from_bytes(files, "here")
    assert made.note == made.facts()["note"] == "JPEG q75"


def _changed(name: str, change: Callable[[bytes], bytes]) -> dict[str, bytes]:
    files = contents()
    return {**files, name: change(files[name])}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            _changed("data_batch_2.bin", lambda data: data[:-1]),
            "here: data_batch_2.bin: 61,459 bytes, expected 61,460: 20 records of 3,073 bytes",
        ),
        (_changed("test_batch.bin", lambda data: data + data), "here: test_batch.bin: 122,920 bytes, expected 61,460"),
        (_changed("test_batch.bin", lambda data: b""), "here: test_batch.bin: 0 bytes"),
        (
            _changed("data_batch_1.bin", lambda data: b"\x0a" + data[1:]),
            "data_batch_1.bin: holds the label 10, expected 0",
        ),
        (
            _changed("data_batch_5.bin", lambda data: bytes([(data[0] + 1) % 10]) + data[1:]),
            r"here: train: 1?\d images of class '\w+', expected 10\n.*train: 1?\d images",
        ),
        (
            _changed("test_batch.bin", lambda data: bytes([(data[0] + 1) % 10]) + data[1:]),
            r"here: test: [13] images of class '\w+', expected 2",
        ),
        (
            _changed("batches.meta.txt", lambda data: b""),
            "batches.meta.txt: the classes of an empty file; expected air",
        ),
        (_changed("batches.meta.txt", lambda data: data[5:]), "batches.meta.txt: the classes ane, automobile, "),
        (_changed("batches.meta.txt", lambda data: b"\xff" * 9999), "batches.meta.txt: the classes "),
    ],
)
def test_other_files_are_refused(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        cifar10.cifar10_from_bytes(files, "here")
    assert str(caught.value).startswith("These are not the files of CIFAR-10's binary version:\n")
    assert len(str(caught.value)) < 700


def test_all_faults_are_named() -> None:
    files = dict.fromkeys(cifar10.FILES, b"")
    with pytest.raises(DataError) as caught:
        cifar10.cifar10_from_bytes(files, "here")
    assert all(name in str(caught.value) for name in cifar10.FILES)


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin", "cifar10"])
def test_it_is_added_from_a_folder(inside: str, tmp_path: Path) -> None:
    write(tmp_path / "source" / inside, contents())
    added = add_data_set("cifar10", tmp_path / "source")
    assert added == entry() and added.present
    assert "100 / 20 images of 3x32x32, 10 classes, sha256 " in added.detail
    assert sorted(os.listdir(added.place)) == sorted(cifar10.FILES)
    assert load_images("cifar10", Path()).sha256 == cifar10.cifar10_from_bytes(contents(), "").sha256


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz"])
def test_it_is_added_from_an_archive(ending: str, tmp_path: Path) -> None:
    files = {f"cifar-10-batches-bin/{name}": data for name, data in contents().items()}
    archive = pack(tmp_path / f"cifar-10-binary{ending}", {**files, "cifar-10-batches-bin/readme.html": b"<html>"})
    assert add_data_set("cifar10", archive).present
    (entry().place / "NOTES").write_text("mine")
    assert add_data_set("cifar10", archive).present and (entry().place / "NOTES").read_text() == "mine"


def test_the_pickled_version_is_refused(tmp_path: Path) -> None:
    names = ("data_batch_1", "data_batch_2", "test_batch", "batches.meta")
    pickled = {f"cifar-10-batches-py/{name}": b"\x80\x02}q\x01." for name in names}
    archive = pack(tmp_path / "cifar-10-python.tar.gz", pickled)
    write(tmp_path / "source" / "cifar-10-batches-py", {Path(name).name: data for name, data in pickled.items()})
    for source in (archive, tmp_path / "source", tmp_path / "source" / "cifar-10-batches-py"):
        with pytest.raises(DataError, match="is the pickled version, which is not read: a pickle can run any program"):
            add_data_set("cifar10", source)
    assert not (tmp_path / "own-data").exists()


def test_what_is_missing_or_damaged_is_not_placed(tmp_path: Path) -> None:
    files = contents()
    del files["data_batch_4.bin"]
    with pytest.raises(
        DataError, match=r"does not hold data_batch_4\.bin; looked for all seven files in \./, cifar-10-"
    ):
        add_data_set("cifar10", write(tmp_path / "a", files))
    files = {f"cifar-10-batches-bin/{name}": data for name, data in contents().items()}
    archive = pack(tmp_path / "cifar-10-binary.tar.gz", files)
    archive.write_bytes(archive.read_bytes()[:-5000])
    with pytest.raises(DataError, match="the archive cannot be read"):
        add_data_set("cifar10", archive)
    with pytest.raises(DataError, match="test_batch.bin: 61,459 bytes"):
        add_data_set("cifar10", write(tmp_path / "b", _changed("test_batch.bin", lambda data: data[1:])))
    assert not (tmp_path / "own-data").exists()


def test_what_was_damaged_later_is_listed_as_missing_and_not_loaded(tmp_path: Path) -> None:
    place = add_data_set("cifar10", write(tmp_path / "source", contents())).place
    (place / "data_batch_1.bin").write_bytes(b"")
    assert not entry().present and "data_batch_1.bin: 0 bytes" in entry().detail
    (place / "data_batch_1.bin").unlink()
    with pytest.raises(DataError, match=r"`nasforge data add cifar10 PATH`\nmissing in .*: data_batch_1.bin$"):
        load_images("cifar10", Path())


@pytest.mark.slow
def test_real_files_are_added_with_the_mark_of_their_recompression(tmp_path: Path) -> None:
    shared = Path(os.environ.get("NASFORGE_TEST_DATA", "absent"))
    if not (shared / "make_cifar10_bin.py").is_file():
        pytest.skip("CIFAR-10 is not shipped: set NASFORGE_TEST_DATA to a folder that holds make_cifar10_bin.py")
    try:
        subprocess.run([sys.executable, str(shared / "make_cifar10_bin.py"), str(tmp_path)], check=True)
        added = add_data_set("cifar10", tmp_path)
        assert "50,000 / 10,000 images of 3x32x32, 10 classes, sha256 b389f2a9267b, JPEG q75" in added.detail
        assert load_images("cifar10", Path()).facts()["note"] == "JPEG q75"
    finally:
        shutil.rmtree(tmp_path)  # 0.4 GB, of which pytest would keep three
