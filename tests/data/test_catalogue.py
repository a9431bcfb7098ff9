"""Tests of `nasforge data ls`, `nasforge data add` and the loader that tasks use."""

from __future__ import annotations

import errno
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import nasforge
from nasforge.data import archives
from nasforge.data.catalogue import DataSet, TextFiles, add_data_set, known_data_sets, load_corpus
from nasforge.data.ptb import FILES
from nasforge.errors import DataError, StorageError, UsageError


def _entry(name: str) -> DataSet:
    return next(entry for entry in known_data_sets() if entry.name == name)


def _tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for info, data in members:
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def test_what_is_not_there_is_listed_with_what_to_do(tmp_path: Path) -> None:
    assert [entry.name for entry in known_data_sets()] == ["pydocs", "ptb", "digits", "cifar10"]
    ptb, pydocs = _entry("ptb"), _entry("pydocs")
    assert not ptb.present and "nasforge data add ptb DIR" in ptb.detail and ptb.place == tmp_path / "own-data" / "ptb"
    assert not pydocs.present and "first use" in pydocs.detail
    cifar10 = _entry("cifar10")
    assert not cifar10.present and "nasforge data add cifar10 PATH" in cifar10.detail
    assert cifar10.place == tmp_path / "own-data" / "cifar10"
    assert list(tmp_path.iterdir()) == []


def test_pydocs_is_listed_with_its_sizes_once_built(pydocs_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NASFORGE_CACHE", str(pydocs_cache))
    corpus = load_corpus("pydocs", Path())
    entry = _entry("pydocs")
    assert entry.present and f"{corpus.tokens['train']:,} / " in entry.detail and corpus.sha256[:12] in entry.detail


@pytest.mark.parametrize("inside", ["", "data", "ptb", "simple-examples/data"])
def test_ptb_is_added_from_a_folder(ptb_source: Path, tmp_path: Path, inside: str) -> None:
    source = tmp_path / "source" / inside
    shutil.copytree(ptb_source, source)
    entry = add_data_set("ptb", tmp_path / "source")
    assert entry.present and "929,589 / 73,760 / 82,430 tokens, 10,000 words" in entry.detail
    assert entry == _entry("ptb")
    assert sorted(os.listdir(entry.place)) == sorted(FILES.values())
    assert os.listdir(entry.place.parent) == ["ptb"]
    assert load_corpus("ptb", Path()).tokens["train"] == 929_589


@pytest.mark.parametrize("ending", [".tgz", ".tar.gz", ".zip"])
def test_ptb_is_added_from_an_archive(ptb_source: Path, tmp_path: Path, ending: str) -> None:
    archive = tmp_path / f"simple-examples{ending}"
    members = {f"./simple-examples/data/{name}": ptb_source / name for name in FILES.values()}
    if ending == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for name, path in members.items():
                file.write(path, name)
    else:
        _tar(archive, [(tarfile.TarInfo(name), path.read_bytes()) for name, path in members.items()])
    assert add_data_set("ptb", archive).present


def test_adding_again_keeps_the_users_other_files(ptb_source: Path) -> None:
    place = add_data_set("ptb", ptb_source).place
    (place / "NOTES").write_text("mine")
    (place / "ptb.test.txt").write_text("damaged")
    assert not _entry("ptb").present and "ptb.test.txt: 2 tokens" in _entry("ptb").detail
    assert add_data_set("ptb", ptb_source).present
    assert (place / "NOTES").read_text() == "mine"
    assert add_data_set("ptb", place).present


def test_wrong_files_are_not_placed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in FILES.values():
        (source / name).write_text("a b <unk>\n")
    with pytest.raises(DataError, match="4 tokens with <eos>, expected 929,589"):
        add_data_set("ptb", source)
    (source / "ptb.valid.txt").unlink()
    with pytest.raises(DataError, match=r"does not hold ptb\.valid\.txt; looked for all three files in \./, data/"):
        add_data_set("ptb", source)
    assert not (tmp_path / "own-data").exists()


def test_a_full_disk_leaves_nothing_half_written(
    ptb_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    uses = 0

    def full(descriptor: int) -> None:
        nonlocal uses
        uses += 1
        if uses == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="NASFORGE_DATA"):
            add_data_set("ptb", ptb_source)
    assert os.listdir(tmp_path / "own-data") == []


def test_unknown_names_get_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown data set 'ptbb'\. Did you mean 'ptb'\?"):
        add_data_set("ptbb", tmp_path)
    with pytest.raises(UsageError, match="pydocs: nothing to add"):
        add_data_set("pydocs", tmp_path)
    with pytest.raises(UsageError, match="digits: nothing to add"):
        add_data_set("digits", tmp_path)
    with pytest.raises(UsageError, match=r"unknown data set 'cifar'\. Did you mean 'cifar10'\?.*ptb, digits, cifar10"):
        add_data_set("cifar", tmp_path)
    with pytest.raises(UsageError, match="no such file or folder"):
        add_data_set("ptb", tmp_path / "absent")
    with pytest.raises(UsageError, match=r"unknown corpus 'pydoc'\. Did you mean 'pydocs'\?"):
        load_corpus("pydoc", tmp_path)


def test_the_loader_reads_text_files_relative_to_the_spec(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("a b\n")
    assert load_corpus(TextFiles("t", Path("t"), str(tmp_path / "t")), tmp_path).tokens["test"] == 3


def test_only_wanted_regular_members_are_read(tmp_path: Path) -> None:
    link = tarfile.TarInfo("data/b")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    folder = tarfile.TarInfo("data/c")
    folder.type = tarfile.DIRTYPE
    names = ["./data/a", "../data/a", "/data/a", "other", "data/a"]
    members = [(link, b""), (folder, b""), *((tarfile.TarInfo(n), n.encode()) for n in names)]
    archive = _tar(tmp_path / "x.tgz", members)
    assert archives.read_members(archive, {"data/a", "data/b", "data/c"}) == {"data/a": b"./data/a"}
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        linked = zipfile.ZipInfo("data/b")
        linked.external_attr = 0o120777 << 16
        file.writestr(linked, "/etc/passwd")
        for name in names[1:]:
            file.writestr(name, name)
        file.writestr("data/c/", "")
    assert archives.read_members(tmp_path / "x.zip", {"data/a", "data/b", "data/c"}) == {"data/a": b"data/a"}
    assert sorted(os.listdir(tmp_path)) == ["x.tgz", "x.zip"]


@pytest.mark.parametrize("ending", [".tgz", ".zip"])
def test_large_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 2**20)
    archive = tmp_path / f"x{ending}"
    data = bytes(2**20 + 1)
    if ending == ".tgz":
        _tar(archive, [(tarfile.TarInfo("a"), data)])
    else:
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a", data)
    with pytest.raises(DataError, match=f"x{ending}: a: is larger than 1 MB"):
        archives.read_members(archive, {"a"})


def test_a_decompression_bomb_is_stopped_by_its_total(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 2**20)
    archive = _tar(tmp_path / "x.tgz", [(tarfile.TarInfo("bomb"), bytes(2**22)), (tarfile.TarInfo("a"), b"1")])
    with pytest.raises(DataError, match="unpacks to more than 1 MB"):
        archives.read_members(archive, {"a"})


@pytest.mark.parametrize("name", ["x.tgz", "x.tar.gz", "x.zip", "x.rar"])
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 rubbish", b"\x1f\x8b rubbish"])
def test_damaged_and_unknown_archives_are_data_errors(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=name):
        add_data_set("ptb", tmp_path / name)


def test_a_cut_archive_is_a_data_error(tmp_path: Path) -> None:
    members = [(tarfile.TarInfo(name), os.urandom(5000)) for name in FILES.values()]
    archive = _tar(tmp_path / "x.tgz", members)
    data = archive.read_bytes()
    for length in range(1, len(data) - 1, 997):
        archive.write_bytes(data[:length])
        with pytest.raises(DataError):
            add_data_set("ptb", archive)


def test_torch_is_not_imported() -> None:
    program = "import sys, nasforge.data.catalogue as c; c.known_data_sets(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(nasforge.__file__).parents[1])
