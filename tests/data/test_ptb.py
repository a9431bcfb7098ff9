"""Tests of the Penn Treebank's loader; those on the real files need NASFORGE_TEST_DATA."""

from __future__ import annotations

from pathlib import Path

import pytest

from nasforge.data.ptb import FILES, TOKENS, load_ptb, ptb_folder, ptb_from_bytes
from nasforge.data.text import SPLITS
from nasforge.errors import DataError


def test_the_real_files_have_the_published_numbers(ptb_source: Path) -> None:
    corpus = load_ptb(ptb_source)
    assert corpus.tokens == {"train": 929_589, "valid": 73_760, "test": 82_430} == TOKENS
    assert len(corpus.vocabulary) == 10_000
    for split in SPLITS:
        lines = (ptb_source / FILES[split]).read_text(encoding="utf-8").splitlines()
        assert corpus.token_text(split).splitlines() == [line.strip() for line in lines]


def test_missing_files_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Penn Treebank is not here: put .* `nasforge data add ptb DIR`") as caught:
        load_ptb()
    assert str(ptb_folder()) in str(caught.value) and ptb_folder() == tmp_path / "own-data" / "ptb"
    (tmp_path / "ptb.train.txt").write_text("a b\n")
    with pytest.raises(DataError, match=r"missing in .*: ptb\.valid\.txt, ptb\.test\.txt$"):
        load_ptb(tmp_path)


def test_wrong_numbers_are_named_for_each_file_at_once(tmp_path: Path) -> None:
    for name in FILES.values():
        (tmp_path / name).write_text("no <unk> here\nof all\n")
    with pytest.raises(DataError) as caught:
        load_ptb(tmp_path)
    for split, expected in (("train", "929,589"), ("valid", "73,760"), ("test", "82,430")):
        assert f"{tmp_path}: {FILES[split]}: 7 tokens with <eos>, expected {expected}" in str(caught.value)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        ptb_from_bytes({"train": b"", "valid": b"a\n\xff", "test": b"a"}, "here")
    text = str(caught.value)
    assert "here: ptb.train.txt: is empty" in text
    assert "here: ptb.valid.txt:2: not UTF-8" in text
    assert "here: ptb.test.txt: 2 tokens" in text


def test_right_counts_with_another_vocabulary_are_refused(ptb_source: Path) -> None:
    contents = {split: (ptb_source / name).read_bytes() for split, name in FILES.items()}
    contents["train"] = contents["train"].replace(b" aer ", b" aerr ", 1).replace(b" the ", b" thee ", 1)
    with pytest.raises(DataError, match=r"ptb\.train\.txt: 10,00[12] different words, expected 10,000"):
        ptb_from_bytes(contents, "here")


def test_a_test_word_outside_training_is_refused(ptb_source: Path) -> None:
    contents = {split: (ptb_source / name).read_bytes() for split, name in FILES.items()}
    contents["test"] = contents["test"].replace(b" the ", b" zzz ", 1)
    with pytest.raises(DataError, match=r"ptb\.test\.txt: holds 'zzz'"):
        ptb_from_bytes(contents, "here")
