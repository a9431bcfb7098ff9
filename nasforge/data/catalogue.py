"""What data sets there are, how one is put in place, and the one loader for whatever a spec names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from nasforge.data import ptb
from nasforge.data.archives import MAX_FILE_BYTES, read_members
from nasforge.data.files import make_folder, write_bytes_atomically, write_folder_atomically
from nasforge.data.pydocs import MANIFEST, load_pydocs, pydocs_folder
from nasforge.data.text import SPLITS, Corpus
from nasforge.data.user_text import TextFiles, TextSource, load_user_text
from nasforge.errors import DataError, UsageError, suggest

__all__ = ["Corpus", "DataSet", "TextFiles", "TextSource", "add_data_set", "known_data_sets", "load_corpus"]

CORPORA = ("pydocs", "ptb")
"""The names that `load_corpus` knows."""

_INSIDE = ("", "data/", "ptb/", "simple-examples/data/")


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
    """Return every data set that nasforge knows by name, there or not. Builds nothing; PTB is read and checked."""
    return [_pydocs_entry(), _ptb_entry()]


def add_data_set(name: str, source: Path) -> DataSet:
    """Check a data set that the user has and put a copy in place; nothing is placed that fails the check.

    Args:
        name: `ptb`.
        source: a folder that holds the files, directly or in `data`, `ptb` or `simple-examples/data`, or a `.tgz`,
            `.tar.gz` or `.zip` archive of it.

    Raises:
        UsageError: `name` is not known or needs no files, or `source` is not there.
        DataError: `source` does not hold the data set.
        StorageError: the data folder cannot be written.
    """
    if name == "pydocs":
        raise UsageError("pydocs: nothing to add: nasforge builds it from the running Python on first use")
    if name != "ptb":
        raise UsageError(f"unknown data set '{name}'.{suggest(name, CORPORA)} Known here: {', '.join(CORPORA)}")
    if not os.path.exists(source):  # unlike Path.exists, False where the folder may not be searched
        raise UsageError(f"{source}: no such file or folder, or not permitted")
    contents = _ptb_contents(source)
    corpus = ptb.ptb_from_bytes(contents, str(source))
    place = ptb.ptb_folder()
    files = {ptb.FILES[split]: contents[split] for split in SPLITS}
    if os.path.exists(place):
        # The folder may hold other files of the user's, so only these three are replaced.
        for file, data in files.items():
            write_bytes_atomically(place / file, data)
    else:
        make_folder(place.parent)
        write_folder_atomically(place, files)
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


def _ptb_contents(source: Path) -> dict[str, bytes]:
    paths = {inside: {split: inside + file for split, file in ptb.FILES.items()} for inside in _INSIDE}
    wanted = {path for files in paths.values() for path in files.values()}
    found = _from_folder(source, wanted) if source.is_dir() else read_members(source, wanted)
    best = max(paths.values(), key=lambda files: sum(path in found for path in files.values()))
    missing = [path for path in best.values() if path not in found]
    if missing:
        places = ", ".join(inside or "./" for inside in _INSIDE)
        raise DataError(f"{source}: does not hold {', '.join(missing)}; looked for all three files in {places}")
    return {split: found[path] for split, path in best.items()}


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


def _sizes(tokens: dict[str, int], words: int, sha256: str) -> str:
    return f"{' / '.join(f'{tokens[split]:,}' for split in SPLITS)} tokens, {words:,} words, sha256 {sha256[:12]}"
