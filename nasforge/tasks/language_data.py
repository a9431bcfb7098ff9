"""What a language-model task asks of its corpus, checked before a run begins. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nasforge.data.catalogue import Corpus, load_corpus
from nasforge.errors import DataError
from nasforge.tasks.options import LanguageModelOptions, LanguageModelRecipe


def prepare(
    config: LanguageModelOptions, recipes: Sequence[LanguageModelRecipe], base: Path, shapes: None = None
) -> str:
    """Load the corpus (``pydocs`` is built and cached on first use) and check that every recipe can use it.

    Args:
        config: the ``task`` block.
        recipes: of the search and of the final training.
        base: the folder that relative paths start from.
        shapes: None: the width of a network follows the recipe, not the space.

    Returns:
        The sha256 of the corpus, by which a resumed run knows its data.

    Raises:
        DataError: a file is missing or wrong, or a split is too small.
    """
    corpus = load_corpus(config.corpus, base)
    for recipe in recipes:
        check_corpus(corpus, config, recipe)
    return corpus.sha256


def used_tokens(corpus: Corpus, config: LanguageModelOptions) -> dict[str, int]:
    """Tokens of each split that the task uses: all of them, but for ``train_tokens``."""
    tokens = dict(corpus.tokens)
    if config.train_tokens is not None:
        tokens["train"] = min(tokens["train"], config.train_tokens)
    return tokens


def check_corpus(corpus: Corpus, config: LanguageModelOptions, recipe: LanguageModelRecipe) -> None:
    """Raise DataError unless every split fills at least one batch."""
    needed = (
        ("train", recipe.batch_size, "batch_size"),
        ("valid", config.reward_batch_size, "task.reward_batch_size"),
        ("test", 1, "batch_size"),
    )
    for split, rows, option in needed:
        tokens = used_tokens(corpus, config)[split]
        if tokens < 2 * rows:
            raise DataError(
                f"the {split} text of corpus '{corpus.name}' has {tokens} tokens, too few for {rows} parallel "
                f"sequences of at least 2; use more text or a smaller {option}"
            )
