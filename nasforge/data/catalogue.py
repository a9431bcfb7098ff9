"""What data sets there are, how one is put in place, and the one loader for whatever a spec names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from nasforge.data import cifar10, ptb
from nasforge.data.archives import MAX_FILE_BYTES, read_members
from nasforge.data.digits import digits_file, load_digits
from nasforge.data.files import make_folder, write_bytes_atomically, write_folder_atomically
from nasforge.data.image_data import ImageData
from nasforge.data.pydocs import MANIFEST, load_pydocs, pydocs_folder
from nasforge.data.text import SPLITS, Corpus
from nasforge.data.user_text import TextFiles, TextSource, load_user_text
from nasforge.errors import DataError, UsageError, suggest

__all__ = ["Corpus", "DataSet", "TextFiles", "TextSource", "add_data_set", "known_data_sets", "load_corpus"]

CORPORA = ("pydocs", "ptb")
"""The names that `load_corpus` knows."""

DATA_SETS = (*CORPORA, "digits", "cifar10")
"""The names that `add_data_set` knows."""

_PTB_INSIDE = ("", "data/", "ptb/", "simple-examples/data/")
_CIFAR10_INSIDE = ("", "cifar-10-batches-bin/", "cifar10/")
_PICKLED_INSIDE = ("", "cifar-10-batches-py/")


@dataclass(frozen=True)
class DataSet:
    """One line of `nasforge data ls`.

    Attributes:
        name: what a spec calls it.
        summary: one line on what it is.
        place: the folder where it lies, or would.
        present: whether it is there and complete.
        detail: its sizes, or what is missing and what to do.
    """

    name: str
    summary: str
    place: Path
    present: bool
    detail: str


def known_data_sets() -> list[DataSet]:
    """Return every data set that nasforge knows by name, there or not. Builds nothing; what is there is checked."""
    return [_pydocs_entry(), _ptb_entry(), _digits_entry(), _cifar10_entry()]


def add_data_set(name: str, source: Path) -> DataSet:
    """Check a data set that the user has and put a copy in place; nothing is placed that fails the check.

    Args:
        name: `ptb` or `cifar10`.
        source: a folder that holds the files, or a `.tgz`, `.tar.gz` or `.zip` archive of it; they may lie in the
            folders that are usual for the data set.

    Raises:
        UsageError: `name` is not known or needs no files, or `source` is not there.
        DataError: `source` does not hold the data set.
        StorageError: the data folder cannot be written.
    """
    if name == "pydocs":
        raise UsageError("pydocs: nothing to add: nasforge builds it from the running Python on first use")
    if name == "digits":
        raise UsageError("digits: nothing to add: they come with scikit-learn")
    if name not in DATA_SETS:
        raise UsageError(f"unknown data set '{name}'.{suggest(name, DATA_SETS)} Known here: {', '.join(DATA_SETS)}")
    if not os.path.exists(source):  # unlike Path.exists, False where the folder may not be searched
        raise UsageError(f"{source}: no such file or folder, or not permitted")
    if name == "cifar10":
        files = _contents(source, cifar10.FILES, _CIFAR10_INSIDE, cifar10.PICKLED, _PICKLED_INSIDE)
        images = cifar10.cifar10_from_bytes(files, str(source))
        _put(cifar10.cifar10_folder(), files)
        return _cifar10_entry(images)
    files = _contents(source, tuple(ptb.FILES.values()), _PTB_INSIDE)
    corpus = ptb.ptb_from_bytes({split: files[file] for split, file in ptb.FILES.items()}, str(source))
    _put(ptb.ptb_folder(), files)
    return _ptb_entry(corpus)


def load_corpus(source: str | TextSource, base: Path) -> Corpus:
    """Return the corpus that a spec names; pydocs is built on its first use.

    Args:
        source: `pydocs`, `ptb`, or three text files such as `TextFiles`.
        base: the folder that relative paths of text files start from, as a rule that of the YAML file.

    Raises:
        UsageError: the name is not known.
        DataError: the corpus is missing or is not what it claims to be.
        StorageError: the cache of pydocs cannot be written.
    """
    if not isinstance(source, str):
        return load_user_text(source, base)
    if source == "pydocs":
        return load_pydocs()
    if source == "ptb":
        return ptb.load_ptb()
    raise UsageError(
        f"unknown corpus '{source}'.{suggest(source, CORPORA)} Known here: {', '.join(CORPORA)},"
        " or files of your own: {train: FILE, valid: FILE, test: FILE}"
    )


def _put(place: Path, files: dict[str, bytes]) -> None:
    if os.path.exists(place):
        # The folder may hold other files of the user's, so only these are replaced.
        for file, data in files.items():
            write_bytes_atomically(place / file, data)
    else:
        make_folder(place.parent)
        write_folder_atomically(place, files)


def _contents(
    source: Path,
    names: tuple[str, ...],
    inside: tuple[str, ...],
    pickled: tuple[str, ...] = (),
    pickled_inside: tuple[str, ...] = (),
) -> dict[str, bytes]:
    """Read the files `names` from the best of the folders `inside`; `pickled` names what shows the pickled version."""
    paths = {folder: {name: folder + name for name in names} for folder in inside}
    wanted = {path for files in paths.values() for path in files.values()}
    refused = {folder + name for folder in pickled_inside for name in pickled}
    found = _from_folder(source, wanted | refused) if source.is_dir() else read_members(source, wanted | refused)
    best = max(paths.values(), key=lambda files: sum(path in found for path in files.values()))
    missing = [path for path in best.values() if path not in found]
    if missing and refused & found.keys():
        raise DataError(
            f"{source}: is the pickled version, which is not read: a pickle can run any program. Bring the binary "
            f"version, with {names[0]}"
        )
    if missing:
        places = ", ".join(folder or "./" for folder in inside)
        all_files = {3: "three", 7: "seven"}.get(len(names), str(len(names)))
        raise DataError(f"{source}: does not hold {', '.join(missing)}; looked for all {all_files} files in {places}")
    return {name: found[path] for name, path in best.items()}


def _from_folder(folder: Path, wanted: set[str]) -> dict[str, bytes]:
    found = {}
    for path in sorted(wanted):
        file = folder / path
        try:
            if not file.is_file():
                continue
            if file.stat().st_size > MAX_FILE_BYTES:
                raise DataError(f"{file}: is larger than {MAX_FILE_BYTES // 2**20} MB")
            found[path] = file.read_bytes()
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    return found


def _pydocs_entry() -> DataSet:
    folder = pydocs_folder()
    detail = "is built on first use, in seconds"
    present = False
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if all((folder / f"{split}.txt").is_file() for split in SPLITS):
            detail = _sizes(manifest["tokens"], manifest["vocabulary"], manifest["sha256"])
            present = True
    except (OSError, ValueError, KeyError, TypeError):
        pass  # missing or damaged: the next use builds it
    return DataSet("pydocs", "prose from the documentation that every CPython carries", folder, present, detail)


def _ptb_entry(corpus: Corpus | None = None) -> DataSet:
    place = ptb.ptb_folder()
    try:
        corpus = corpus or ptb.load_ptb()
        present, detail = True, _sizes(corpus.tokens, len(corpus.vocabulary), corpus.sha256)
    except DataError as error:
        present, detail = False, str(error)
    return DataSet("ptb", "Penn Treebank, Mikolov's three files; may not be shipped", place, present, detail)


def _digits_entry() -> DataSet:
    place = digits_file() or Path("scikit-learn")
    try:
        present, detail = True, _image_sizes(load_digits())
    except DataError as error:
        present, detail = False, str(error)
    return DataSet("digits", "8x8 images of handwritten digits, which scikit-learn carries", place, present, detail)


def _cifar10_entry(images: ImageData | None = None) -> DataSet:
    try:
        present, detail = True, _image_sizes(images or cifar10.load_cifar10())
    except DataError as error:
        present, detail = False, str(error)
    summary = "32x32 colour images of 10 classes, the binary version"
    return DataSet("cifar10", summary, cifar10.cifar10_folder(), present, detail)


def _image_sizes(images: ImageData) -> str:
    shape = "x".join(str(size) for size in images.shape)
    counts = f"{len(images.y_train):,} / {len(images.y_test):,} images of {shape}, {len(images.classes)} classes"
    return f"{counts}, sha256 {images.sha256[:12]}{f', {images.note}' if images.note else ''}"


def _sizes(tokens: dict[str, int], words: int, sha256: str) -> str:
    return f"{' / '.join(f'{tokens[split]:,}' for split in SPLITS)} tokens, {words:,} words, sha256 {sha256[:12]}"
