"""A corpus of words: its vocabulary, its three splits as arrays of token ids, and its identity."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nasforge.errors import DataError

SPLITS = ("train", "valid", "test")
EOS = "<eos>"
UNK = "<unk>"

TokenIds: TypeAlias = NDArray[np.int64]
Sentences: TypeAlias = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows; a word's id is its place in `words`.

    Attributes:
        words: distinct words, `<eos>` and `<unk>` among them.
        index: word -> id, in `range(len(words))`.

    Raises:
        ValueError: a word is there twice, or `<eos>` or `<unk>` is not there.
    """

    words: tuple[str, ...]
    index: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = {word: i for i, word in enumerate(self.words)}
        if len(index) != len(self.words):
            raise ValueError("the words of a vocabulary must differ")
        if EOS not in index or UNK not in index:
            raise ValueError(f"a vocabulary holds {EOS} and {UNK}")
        object.__setattr__(self, "index", index)

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Iterable[str]) -> TokenIds:
        """Return the ids of `words`, shape `(n_words,)`; a word that is not known gets the id of `<unk>`."""
        get, unknown = self.index.get, self.index[UNK]
        return np.fromiter((get(word, unknown) for word in words), dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Return the words of `ids`. Raises IndexError for an id beyond the vocabulary."""
        words = self.words
        return [words[i] for i in ids]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Three splits of one text as token ids. Each sentence ends in `<eos>`; sentences follow each other as written.

    Attributes:
        name: `pydocs`, `ptb`, or what the user's files are called in messages.
        vocabulary: the words behind the ids.
        train: ids, shape `(n_tokens,)`, int64, in `range(len(vocabulary))`, read-only. So are `valid` and `test`.
        sha256: 64 hex digits over the three token texts; results compare only where it is equal.
    """

    name: str
    vocabulary: Vocabulary
    train: TokenIds
    valid: TokenIds
    test: TokenIds
    sha256: str

    def __post_init__(self) -> None:
        for split in SPLITS:
            self.split(split).setflags(write=False)

    @property
    def tokens(self) -> dict[str, int]:
        """Number of tokens of each split, `<eos>` counted."""
        return {split: len(self.split(split)) for split in SPLITS}

    def split(self, name: str) -> TokenIds:
        """Return one of `train`, `valid`, `test` by name. Raises KeyError for another name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[name]

    def token_text(self, split: str) -> str:
        """Return a split as text: one sentence a line, words apart by one blank, `<eos>` as the line's end."""
        return _token_text(self.vocabulary.decode(self.split(split).tolist()))


def corpus_from_sentences(name: str, sentences: Mapping[str, Sentences], min_count: int = 1) -> Corpus:
    """Build a corpus. The vocabulary is that of the training text, most frequent word first, ties by alphabet.

    `<eos>` takes its place by its count like a word. So does `<unk>`, which stands for each word that the training
    text holds fewer than `min_count` times, or not at all; where training has none it comes last.

    Args:
        name: what the corpus is called.
        sentences: for each of `train`, `valid`, `test` the sentences, each a list of words without `<eos>`.
        min_count: how often a word must be in `train` to be kept, 1 or more.

    Raises:
        DataError: a split holds no sentence.
    """
    for split in SPLITS:
        if not sentences[split]:
            raise DataError(f"{name}: the {split} text holds no sentence")
    seen = Counter(word for sentence in sentences["train"] for word in sentence)
    counts: Counter[str] = Counter({EOS: len(sentences["train"])})
    for word, count in seen.items():
        counts[word if count >= min_count else UNK] += count
    counts[UNK] += 0
    vocabulary = Vocabulary(tuple(sorted(counts, key=lambda word: (-counts[word], word))))
    if counts[UNK] == 0:
        vocabulary = Vocabulary((*(word for word in vocabulary.words if word != UNK), UNK))
    ids = {split: vocabulary.encode(_flat(sentences[split])) for split in SPLITS}
    digest = digest_of({split: _token_text(vocabulary.decode(ids[split].tolist())) for split in SPLITS})
    return Corpus(name, vocabulary, ids["train"], ids["valid"], ids["test"], digest)


def digest_of(texts: Mapping[str, str]) -> str:
    """Return the sha256, in hex digits, over the three token texts and their lengths."""
    digest = hashlib.sha256()
    for split in SPLITS:
        data = texts[split].encode("utf-8")
        digest.update(f"{split} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


def sentences_of(data: bytes, where: str) -> list[list[str]]:
    r"""Split UTF-8 text into sentences: one a line (`\n` or `\r\n`), words apart by white space, empty lines left out.

    Args:
        data: the bytes of the file; a byte order mark is ignored.
        where: its name, for messages.

    Raises:
        DataError: it is not UTF-8, holds no word, or writes `<eos>` itself; file and line are named.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{where}:{line}: not UTF-8 text: byte 0x{data[error.start]:02x}. Save the file as UTF-8."
        ) from None
    sentences = [line.split() for line in text.split("\n")]
    for number, sentence in enumerate(sentences, 1):
        if EOS in sentence:
            raise DataError(
                f"{where}:{number}: holds the word '{EOS}', which nasforge puts at each line's end. Remove it."
            )
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        raise DataError(f"{where}: is empty; a text with one sentence a line is expected")
    return sentences


def _flat(sentences: Sentences) -> Iterable[str]:
    for sentence in sentences:
        yield from sentence
        yield EOS


def _token_text(words: Sequence[str]) -> str:
    # Each sentence holds a word and the text ends in <eos>, so ' <eos> ' stands between sentences and nowhere else.
    return " ".join(words).replace(f" {EOS} ", "\n").removesuffix(f" {EOS}") + "\n"
