"""Tests of corpora from the user's own files and of what all corpora share."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasforge.data.text import SPLITS, Vocabulary, corpus_from_sentences
from nasforge.data.user_text import TextFiles, load_user_text
from nasforge.errors import DataError


def _files(folder: Path, train: bytes, valid: bytes = b"a\n", test: bytes = b"a\n", min_count: int = 1) -> TextFiles:
    for name, data in (("train", train), ("valid", valid), ("test", test)):
        (folder / f"{name}.txt").write_bytes(data)
    return TextFiles("train.txt", "valid.txt", "test.txt", min_count)


def test_sentences_vocabulary_and_unknown_words(tmp_path: Path) -> None:
    source = _files(tmp_path, b"b a\r\n\n  \nb\tc", "b x é\n".encode(), b"\xef\xbb\xbfc\n")
    corpus = load_user_text(source, tmp_path)
    # b and <eos> twice, a and c once, <unk> never: by count, then by alphabet, <unk> last.
    assert corpus.vocabulary.words == ("<eos>", "b", "a", "c", "<unk>")
    assert corpus.train.tolist() == [1, 2, 0, 1, 3, 0]
    assert corpus.valid.tolist() == [1, 4, 4, 0]
    assert corpus.test.tolist() == [3, 0]
    assert corpus.tokens == {"train": 6, "valid": 4, "test": 2}
    assert corpus.token_text("train") == "b a\nb c\n"
    assert corpus.vocabulary.decode(corpus.valid.tolist()) == ["b", "<unk>", "<unk>", "<eos>"]


def test_min_count_turns_rare_training_words_into_unk(tmp_path: Path) -> None:
    corpus = load_user_text(_files(tmp_path, b"a a b\nb c <unk>\n", b"a c\n", min_count=2), tmp_path)
    assert corpus.vocabulary.words == ("<eos>", "<unk>", "a", "b")
    assert corpus.token_text("train") == "a a b\nb <unk> <unk>\n"
    assert corpus.token_text("valid") == "a <unk>\n"


def test_absolute_paths_ignore_the_base(tmp_path: Path) -> None:
    _files(tmp_path, b"a b\n")
    source = TextFiles(str(tmp_path / "train.txt"), str(tmp_path / "valid.txt"), str(tmp_path / "test.txt"))
    assert load_user_text(source, Path("elsewhere")).tokens == {"train": 3, "valid": 2, "test": 2}


def test_the_digest_follows_tokens_and_nothing_else(tmp_path: Path) -> None:
    digest = load_user_text(_files(tmp_path, b"a b\nc\n"), tmp_path).sha256
    assert load_user_text(_files(tmp_path, b"a   b\r\n\r\nc"), tmp_path).sha256 == digest
    assert load_user_text(_files(tmp_path, b"a b c\n"), tmp_path).sha256 != digest
    assert load_user_text(_files(tmp_path, b"a b\nc\n", b"c\n"), tmp_path).sha256 != digest
    assert len(digest) == 64


def test_all_faults_are_named_with_file_and_line(tmp_path: Path) -> None:
    source = _files(tmp_path, b"fine\nnot \xe9 fine\n", b" \n\n")
    (tmp_path / "test.txt").unlink()
    with pytest.raises(DataError) as caught:
        load_user_text(TextFiles(source.train, source.valid, source.test, 0), tmp_path)
    text = str(caught.value)
    assert f"train: {tmp_path / 'train.txt'}:2: not UTF-8 text: byte 0xe9" in text
    assert f"valid: {tmp_path / 'valid.txt'}: is empty" in text
    assert f"test: {tmp_path / 'test.txt'}: no such file; relative paths start from {tmp_path}" in text
    assert "min_count: must be 1 or more, found 0" in text


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_is_no_file_is_a_data_error(tmp_path: Path, name: str) -> None:
    source = _files(tmp_path, b"a\n")
    with pytest.raises(DataError, match="train: .*cannot be read"):
        load_user_text(TextFiles(name, source.valid, source.test), tmp_path)


def test_eos_in_a_text_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.txt:2: holds the word '<eos>'"):
        load_user_text(_files(tmp_path, b"a\na <eos>\n"), tmp_path)


@pytest.mark.parametrize("words", [("a", "a", "<eos>", "<unk>"), ("a", "<eos>"), ("a", "<unk>")])
def test_a_vocabulary_needs_distinct_words_eos_and_unk(words: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        Vocabulary(words)


_SENTENCES = st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", "<unk>"]), min_size=1, max_size=6), min_size=1)


@given(train=_SENTENCES, valid=_SENTENCES, min_count=st.integers(1, 4))
def test_a_corpus_read_back_from_its_token_texts_is_the_same(
    train: list[list[str]], valid: list[list[str]], min_count: int
) -> None:
    corpus = corpus_from_sentences("x", {"train": train, "valid": valid, "test": valid}, min_count)
    texts = {split: [line.split(" ") for line in corpus.token_text(split).splitlines()] for split in SPLITS}
    again = corpus_from_sentences("x", texts)
    assert again.sha256 == corpus.sha256
    assert again.vocabulary == corpus.vocabulary
    assert [len(line) for line in texts["train"]] == [len(line) for line in train]
    assert all((again.split(split) == corpus.split(split)).all() for split in SPLITS)
