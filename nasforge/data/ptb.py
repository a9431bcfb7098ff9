"""The Penn Treebank in Mikolov's form: three files that the user brings, since they may not be shipped.

Mikolov et al., "Recurrent neural network based language model" (2010); the files `ptb.{train,valid,test}.txt` of his
`simple-examples.tgz`, folder `data`. They are checked by their numbers on each load.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nasforge.data.folders import data_folder
from nasforge.data.text import SPLITS, UNK, Corpus, corpus_from_sentences, sentences_of
from nasforge.errors import DataError

FILES: Mapping[str, str] = {split: f"ptb.{split}.txt" for split in SPLITS}
TOKENS: Mapping[str, int] = {"train": 929_589, "valid": 73_760, "test": 82_430}
"""Number of tokens of each file, with an `<eos>` at the end of each line."""
VOCABULARY = 10_000
"""Number of words of the training file, `<eos>` and `<unk>` counted."""


def ptb_folder() -> Path:
    """Return where the three files are looked for; it need not exist."""
    return data_folder() / "ptb"


def load_ptb(folder: Path | None = None) -> Corpus:
    """Read the three files and check them.

    Args:
        folder: what holds them; `ptb_folder()` where None.

    Raises:
        DataError: a file is missing, unreadable or not Mikolov's; all faults are named.
    """
    folder = ptb_folder() if folder is None else folder
    missing = [name for name in FILES.values() if not os.path.isfile(folder / name)]
    if missing:
        raise DataError(
            f"Penn Treebank is not here: put {', '.join(FILES.values())} of Mikolov's simple-examples.tgz into a folder"
            f" DIR, then `nasforge data add ptb DIR`\nmissing in {folder}: {', '.join(missing)}"
        )
    try:
        return ptb_from_bytes({split: (folder / name).read_bytes() for split, name in FILES.items()}, str(folder))
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be read: {error.strerror}") from error


def ptb_from_bytes(contents: Mapping[str, bytes], where: str) -> Corpus:
    """Build the corpus from the contents of the three files.

    Args:
        contents: the bytes of each split.
        where: the folder or archive that they come from, for messages.

    Raises:
        DataError: the numbers are not those of Mikolov's files; each file that differs is named, with its number of
            tokens and the one expected.
    """
    sentences = {}
    problems = []
    for split, name in FILES.items():
        try:
            sentences[split] = sentences_of(contents[split], f"{where}: {name}")
        except DataError as error:
            problems.append(str(error))
            continue
        found = sum(len(sentence) + 1 for sentence in sentences[split])
        if found != TOKENS[split]:
            problems.append(f"{where}: {name}: {found:,} tokens with <eos>, expected {TOKENS[split]:,}")
    if not problems:
        known = {word for sentence in sentences["train"] for word in sentence}
        if len(known) + 1 != VOCABULARY or UNK not in known:
            problems.append(f"{where}: {FILES['train']}: {len(known) + 1:,} different words, expected {VOCABULARY:,}")
        for split in ("valid", "test"):
            strange = sorted({word for sentence in sentences[split] for word in sentence} - known)
            if strange:
                problems.append(f"{where}: {FILES[split]}: holds '{strange[0]}', which {FILES['train']} does not")
    if problems:
        raise DataError("These are not Mikolov's files of the Penn Treebank:\n" + "\n".join(problems))
    return corpus_from_sentences("ptb", sentences)
