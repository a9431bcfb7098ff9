"""Tests of the corpus that is built from the running Python."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nasforge
from nasforge.data.pydocs import MANIFEST, build_pydocs, load_pydocs, pydocs_folder
from nasforge.data.text import SPLITS, UNK, Corpus, corpus_from_sentences
from nasforge.errors import DataError, StorageError

_PRINT_DIGEST = "from nasforge.data.pydocs import build_pydocs; print(build_pydocs().sha256)"
PROSE = "This function returns the number of items that were found. It never fails, whatever happens.\n"


def _stdlib(folder: Path, modules: dict[str, str], topics: str = "topics = {'a': 'x'}\n") -> Path:
    for name, text in {**modules, "pydoc_data/topics.py": topics}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def _words(corpus: Corpus) -> str:
    return "".join(corpus.token_text(split) for split in SPLITS)


def test_sizes_are_those_of_a_small_language_model_corpus(pydocs: Corpus) -> None:
    assert 150_000 < pydocs.tokens["train"] < 300_000
    assert 5_000 < pydocs.tokens["valid"] < 25_000
    assert 5_000 < pydocs.tokens["test"] < 25_000
    assert 3_000 < len(pydocs.vocabulary) < 6_000


def test_splits_are_read_only_int64_and_end_in_eos(pydocs: Corpus) -> None:
    for split in SPLITS:
        ids = pydocs.split(split)
        assert ids.dtype == np.int64 and ids.ndim == 1 and not ids.flags.writeable
        assert ids.min() >= 0 and ids.max() < len(pydocs.vocabulary)
        assert pydocs.vocabulary.words[ids[-1]] == "<eos>"
        with pytest.raises(ValueError, match="read-only"):
            ids[0] = 0


def test_vocabulary_falls_by_training_count_then_by_alphabet(pydocs: Corpus) -> None:
    counts = np.bincount(pydocs.train, minlength=len(pydocs.vocabulary)).tolist()
    keys = [(-count, word) for count, word in zip(counts, pydocs.vocabulary.words, strict=True)]
    assert keys == sorted(keys)
    assert min(counts) >= 3


def test_no_sentence_is_in_two_places_and_all_have_the_form_of_the_recipe(pydocs: Corpus) -> None:
    lines = [line for line in _words(pydocs).splitlines() if UNK not in line]
    assert len(set(lines)) == len(lines)
    assert all(len(line.split()) >= 4 for line in _words(pydocs).splitlines())
    assert [word for word in pydocs.vocabulary.words if not re.fullmatch(r"N|<unk>|<eos>|[a-z_][\w']*", word)] == []


def test_the_digest_is_equal_across_processes_and_hash_seeds(pydocs: Corpus) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _PRINT_DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(nasforge.__file__).parents[1],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    assert [process.communicate()[0].strip() for process in processes] == [pydocs.sha256] * 2


def test_the_cache_holds_plain_texts_and_a_manifest(pydocs_cache: Path, pydocs: Corpus) -> None:
    folder = pydocs_folder(pydocs_cache)
    assert sorted(os.listdir(folder)) == ["manifest.json", "test.txt", "train.txt", "valid.txt"]
    assert os.listdir(pydocs_cache) == [folder.name]
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["sha256"] == pydocs.sha256
    assert manifest["tokens"] == pydocs.tokens
    assert manifest["vocabulary"] == len(pydocs.vocabulary)
    for split in SPLITS:
        assert (folder / f"{split}.txt").read_bytes().decode() == pydocs.token_text(split)


@pytest.mark.parametrize("damage", ["flip", "cut", "missing", "manifest", "bytes", "no manifest", "a file"])
def test_a_damaged_cache_is_built_anew_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    modules = {
        "abc.py": f'"""{PROSE}"""\n'
        + "".join(f'def f{i}():\n    """The value {"x" * i} is returned to whoever asked."""\n' for i in range(40))
    }
    small = build_pydocs_of_enough(tmp_path, modules)
    monkeypatch.setattr("nasforge.data.pydocs.build_pydocs", lambda: small)
    cache = tmp_path / "cache"
    load_pydocs(cache)
    folder = pydocs_folder(cache)
    file = folder / "valid.txt"
    data = file.read_bytes()
    if damage == "flip":
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    elif damage == "cut":
        file.write_bytes(data[:-5])
    elif damage == "missing":
        file.unlink()
    elif damage == "manifest":
        (folder / MANIFEST).write_text("[]")
    elif damage == "bytes":
        file.write_bytes(b"\xff" + data)
    elif damage == "no manifest":
        (folder / MANIFEST).unlink()
    else:
        for inner in folder.iterdir():
            inner.unlink()
        folder.rmdir()
        folder.write_text("not a folder")
    with caplog.at_level(logging.WARNING, logger="nasforge.data.pydocs"):
        if damage == "a file":
            with pytest.raises(StorageError):
                load_pydocs(cache)
            return
        assert load_pydocs(cache).sha256 == small.sha256
    assert "damaged" in caplog.text and str(folder) in caplog.text
    assert file.read_bytes() == data
    caplog.clear()
    assert load_pydocs(cache).sha256 == small.sha256
    assert caplog.text == ""


def build_pydocs_of_enough(folder: Path, modules: dict[str, str]) -> Corpus:
    """Build from a small library that has documents in each split."""
    # Topics of one sentence each: none is above 1 % of the tokens, so that 5 % go to valid and 5 % to test.
    topics = {
        f"t{i}": f"The topic number {chr(97 + i % 26) * (1 + i // 26)} is explained here in words." for i in range(300)
    }
    return build_pydocs(_stdlib(folder / "lib", modules, f"topics = {topics!r}\n"))


def test_the_recipe_takes_prose_and_leaves_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {
        "abc.py": '"""Prose about 3 things and 4.5 others isn\'t dropped here.\n\n    >>> this is a doctest with many words.\n\n'
        'a b c d e f g no end\n\nToo short it is.\n\n(((x))) [[y]] {{{z}}} == != ++ -- // ** words here are few.\n"""\n',
        "json/encoder.py": 'class A:\n    def f(self):\n        """Nested methods have documentation that is read as well."""\n',
        "test/support.py": '"""Testing helpers are none of the documents that count."""\n',
        "unittest/test_x.py": '"""Tests inside packages are none of the documents that count."""\n',
        "site-packages/foo.py": '"""Installed packages are none of the documents that count."""\n',
        "sitecustomize.py": '"""Local additions are none of the documents that count."""\n',
        "bisect.py": "def broken(:\n",
        "idlelib/x.py": '"""Editors are none of the documents that count either way."""\n',
    }
    # Keep rare words readable; that they become <unk> is tested on the real corpus and in test_user_text.py.
    monkeypatch.setattr(
        "nasforge.data.pydocs.corpus_from_sentences", lambda n, s, min_count: corpus_from_sentences(n, s)
    )
    corpus = build_pydocs_of_enough(tmp_path, modules)
    lines = {
        line for split in SPLITS for line in corpus.token_text(split).splitlines() if not line.startswith("the topic")
    }
    # In valid and test, words that training lacks are <unk>; these two documents lie in training.
    assert lines == {
        "prose about N things and N others isn't dropped here",
        "nested methods have documentation that is read as well",
    }


def test_repeated_sentences_are_kept_once(tmp_path: Path) -> None:
    text = _words(build_pydocs_of_enough(tmp_path, {"abc.py": f'"""{PROSE}"""', "ast.py": f'"""{PROSE}"""'}))
    assert text.count("\n") == 300 + 2


def test_a_large_document_is_never_held_out(tmp_path: Path) -> None:
    names = [
        "abc",
        "ast",
        "bisect",
        "cmd",
        "code",
        "copy",
        "csv",
        "dis",
        "glob",
        "gzip",
        "heapq",
        "io",
        "json",
        "mimetypes",
    ]
    modules = {
        f"{name}.py": '"""' + " ".join(f"Many {name} words are {'y' * i} in this." for i in range(1, 99)) + '"""'
        for name in names
    }
    corpus = build_pydocs_of_enough(tmp_path, modules)
    for name in names:
        assert name in corpus.vocabulary.index
        assert corpus.vocabulary.index[name] not in corpus.valid.tolist() + corpus.test.tolist()


@pytest.mark.parametrize("topics", [None, "topics = 3\n", "topics = {'a': open('x')}\n", "def (\n", ""])
def test_a_python_without_documentation_is_told_what_to_use(tmp_path: Path, topics: str | None) -> None:
    root = _stdlib(tmp_path / "lib", {"abc.py": f'"""{PROSE}"""'}, topics or "")
    if topics is None:
        (root / "pydoc_data" / "topics.py").unlink()
    with pytest.raises(DataError) as caught:
        build_pydocs(root)
    assert "no documentation" in str(caught.value)
    assert "task.corpus: {train: FILE, valid: FILE, test: FILE}" in str(caught.value)


def test_a_python_without_sources_is_told_what_to_use(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)no sources of its library.*task\.corpus"):
        build_pydocs(_stdlib(tmp_path / "lib", {}))
    with pytest.raises(DataError, match=r"(?s)too little.*task\.corpus"):
        build_pydocs(_stdlib(tmp_path / "lib", {"abc.py": ""}))
