r"""The corpus `pydocs`: English prose that every CPython carries, built on the user's machine from its own files.

The recipe (number `RECIPE`). Documents are the topics of `pydoc_data` and the modules of the standard library, each
with all its docstrings, read by `ast`; nothing is imported, and a file that does not parse is left out. Of their
paragraphs those remain that hold six words or more, end in one of `.!?:`, hold no doctest, and of whose characters at
least 82 % are letters or spaces. They are split into sentences after `.!?` and a blank, put in lower case and cut into
words by `_WORD`; numbers become `N`; sentences of fewer than four words and exact repetitions anywhere in the corpus
are dropped, documents taken by name. The sha256 of a document's name, modulo 20, sends it to valid (0), test (1) or
train, and a document with more than 1 % of the tokens to train. Words that training holds fewer than three times
become `<unk>`.

CPython 3.11.7 gives about 205,000 / 11,000 / 11,000 tokens and 3,976 words. Another Python has other documentation:
results compare only where `Corpus.sha256` is equal.
"""

from __future__ import annotations

import ast
import hashlib
import json
import logging
import os
import platform
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from nasforge.data.files import make_folder, write_folder_atomically
from nasforge.data.folders import cache_folder
from nasforge.data.text import SPLITS, Corpus, corpus_from_sentences, digest_of
from nasforge.errors import DataError

RECIPE = 1
MANIFEST = "manifest.json"

_SKIPPED = frozenset({"idlelib", "idle_test", "tkinter", "lib2to3", "turtledemo", "ensurepip", "pydoc_data"})
_SKIPPED |= {"site-packages", "dist-packages", "lib-dynload", "__pycache__", "__phello__"}
_WORD = re.compile(r"[a-z]+(?:_[a-z0-9]+)*(?:'[a-z]+)?|\d+(?:\.\d+)*|[a-z_]\w*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_PARAGRAPH_END = re.compile(r"\n\s*\n")
_INSTEAD = "Use texts of your own instead: task.corpus: {train: FILE, valid: FILE, test: FILE}"

_log = logging.getLogger(__name__)


def load_pydocs(cache: Path | None = None) -> Corpus:
    """Return the corpus from the cache; it is built there first, in seconds, where it is missing or damaged.

    Args:
        cache: the folder of caches; `cache_folder()` where None.

    Raises:
        DataError: this Python carries no documentation or no sources.
        StorageError: the cache cannot be written.
    """
    folder = pydocs_folder(cache)
    if os.path.exists(folder):  # unlike Path.exists, False where the cache may not be searched
        try:
            return _read(folder)
        except (OSError, ValueError, KeyError, TypeError, DataError) as error:
            _log.warning("%s: the cached corpus is damaged and is built anew (%s)", folder, error)
    corpus = build_pydocs()
    texts = {split: corpus.token_text(split) for split in SPLITS}
    files = {f"{split}.txt": text.encode("utf-8") for split, text in texts.items()}
    manifest = {
        "recipe": RECIPE,
        "python": platform.python_version(),
        "sha256": corpus.sha256,
        "tokens": corpus.tokens,
        "vocabulary": len(corpus.vocabulary),
    }
    files[MANIFEST] = (json.dumps(manifest, indent=2) + "\n").encode()
    make_folder(folder.parent)
    write_folder_atomically(folder, files)
    return corpus


def pydocs_folder(cache: Path | None = None) -> Path:
    """Return where the corpus of this Python is cached; it need not exist."""
    return (cache_folder() if cache is None else cache) / f"pydocs-{platform.python_version()}-{RECIPE}"


def build_pydocs(stdlib: Path | None = None) -> Corpus:
    """Build the corpus from the files of this Python, without the cache. Takes seconds.

    Args:
        stdlib: the folder of the standard library; that of the running Python where None.

    Raises:
        DataError: there is no `pydoc_data` or no sources of the standard library, or they hold too little text.
    """
    root = Path(sysconfig.get_path("stdlib")) if stdlib is None else stdlib
    seen: set[tuple[str, ...]] = set()
    documents: dict[str, list[tuple[str, ...]]] = {}
    for name, texts in sorted([*_topics(root), *_modules(root)]):
        documents[name] = []
        for sentence in _sentences(texts):
            if sentence not in seen:
                seen.add(sentence)
                documents[name].append(sentence)
    sizes = {name: sum(len(sentence) + 1 for sentence in document) for name, document in documents.items()}
    total = sum(sizes.values())
    splits: dict[str, list[tuple[str, ...]]] = {split: [] for split in SPLITS}
    for name, document in documents.items():
        part = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 20
        held_out = {0: "valid", 1: "test"}.get(part, "train")
        splits["train" if sizes[name] > total / 100 else held_out] += document
    try:
        return corpus_from_sentences("pydocs", splits, min_count=3)
    except DataError:
        raise DataError(f"pydocs: {root} holds too little documentation to make a corpus of. {_INSTEAD}") from None


def _read(folder: Path) -> Corpus:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    texts = {split: (folder / f"{split}.txt").read_bytes().decode("utf-8") for split in SPLITS}
    if digest_of(texts) != manifest["sha256"]:
        raise ValueError("its sha256 is not the one in the manifest")
    sentences = {split: [line.split(" ") for line in text.split("\n")[:-1]] for split, text in texts.items()}
    return corpus_from_sentences("pydocs", sentences)


def _topics(root: Path) -> Iterator[tuple[str, list[str]]]:
    file = root / "pydoc_data" / "topics.py"
    try:
        tree = ast.parse(file.read_bytes())
        table = next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
        topics = {str(name): str(text) for name, text in table.items()}
    except (OSError, SyntaxError, ValueError, StopIteration, AttributeError) as error:
        raise DataError(f"pydocs: this Python carries no documentation: {file}: {error!r}. {_INSTEAD}") from None
    for name, text in topics.items():
        yield f"topics/{name}", [text]


def _modules(root: Path) -> Iterator[tuple[str, list[str]]]:
    found = False
    for folder, inner, files in os.walk(root):
        top = Path(folder) == root
        inner[:] = [name for name in inner if _wanted(name, top)]
        for file in files:
            if not file.endswith(".py") or not _wanted(file.removesuffix(".py"), top):
                continue
            found = True
            path = Path(folder, file)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # old escape sequences in the library are not ours to report
                    tree = ast.parse(path.read_bytes())
            except (SyntaxError, ValueError):
                continue
            except OSError as error:
                raise DataError(f"pydocs: {path}: cannot be read: {error.strerror}. {_INSTEAD}") from error
            yield path.relative_to(root).as_posix(), list(_docstrings(tree))
    if not found:
        raise DataError(f"pydocs: this Python carries no sources of its library: {root}. {_INSTEAD}")


def _wanted(name: str, top: bool) -> bool:
    # Distributions put files of their own beside the library; the list of names keeps those out of the corpus.
    return name not in _SKIPPED and not name.startswith("test") and (not top or name in sys.stdlib_module_names)


def _docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _sentences(texts: Iterable[str]) -> Iterator[tuple[str, ...]]:
    for paragraph in (part for text in texts for part in _PARAGRAPH_END.split(text)):
        words = paragraph.split()
        flat = " ".join(words)
        if len(words) < 6 or flat[-1] not in ".!?:" or ">>>" in flat:
            continue
        if sum(c.isalpha() or c == " " for c in flat) < 0.82 * len(flat):
            continue
        for sentence in _SENTENCE_END.split(flat):
            tokens = tuple("N" if word[0].isdigit() else word for word in _WORD.findall(sentence.lower()))
            if len(tokens) >= 4:
                yield tokens
