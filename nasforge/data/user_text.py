"""A corpus from the user's own three text files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nasforge.data.text import Corpus, corpus_from_sentences, sentences_of
from nasforge.errors import DataError


class TextSource(Protocol):
    """What names three text files: `TextFiles`, or a part of a spec with the same attributes."""

    @property
    def train(self) -> str | Path:
        """The training text."""

    @property
    def valid(self) -> str | Path:
        """The validation text."""

    @property
    def test(self) -> str | Path:
        """The test text."""

    @property
    def min_count(self) -> int:
        """How often a word must be in the training text to be kept, 1 or more."""


@dataclass(frozen=True)
class TextFiles:
    """Three UTF-8 text files, one sentence a line, words apart by white space; empty lines do not count.

    Attributes:
        train: path of the training text, relative to the file that names it. So are `valid` and `test`.
        min_count: words that `train` holds fewer times than this become `<unk>`; 1 keeps all.
    """

    train: str | Path
    valid: str | Path
    test: str | Path
    min_count: int = 1


def load_user_text(source: TextSource, base: Path) -> Corpus:
    """Read the user's files. Words of valid and test that training does not keep become `<unk>`.

    Args:
        source: names the files.
        base: the folder that relative paths start from, as a rule that of the YAML file.

    Raises:
        DataError: `min_count` is below 1, or a file is missing, unreadable, empty or not UTF-8; all faults are named.
    """
    problems = []
    if source.min_count < 1:
        problems.append(f"min_count: must be 1 or more, found {source.min_count}")
    sentences = {}
    for split, file in (("train", source.train), ("valid", source.valid), ("test", source.test)):
        path = base / Path(file).expanduser()
        try:
            sentences[split] = sentences_of(path.read_bytes(), str(path))
        except DataError as error:
            problems.append(f"{split}: {error}")
        except FileNotFoundError:
            problems.append(f"{split}: {path}: no such file; relative paths start from {base}")
        except (OSError, ValueError) as error:  # ValueError: a path with a NUL character
            problems.append(f"{split}: {path}: cannot be read: {getattr(error, 'strerror', None) or error}")
    if problems:
        raise DataError("\n".join(problems))
    return corpus_from_sentences("text", sentences, source.min_count)
