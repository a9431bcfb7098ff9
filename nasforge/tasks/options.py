"""What users write about tasks, and the declarations of the built-in ones. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from nasforge.components import Options, Shape, TaskKind
from nasforge.errors import suggest
from nasforge.recipe import Fraction, NotNegative, Positive, Recipe

CORPORA = ("pydocs", "ptb")


class TextFilesOptions(Options):
    """The user's own text: UTF-8, one sentence a line, words separated by white space.

    Attributes:
        train: path of the training text, relative to the YAML file.
        valid: path of the validation text.
        test: path of the test text.
        min_count: words seen fewer times in the training text become ``<unk>``.
    """

    train: str
    valid: str
    test: str
    min_count: int = Field(default=1, ge=1)


def _corpus(value: Any) -> Any:
    if isinstance(value, str) and value not in CORPORA:
        raise PydanticCustomError(
            "unknown_corpus",
            "{message}",
            {
                "message": f"unknown corpus '{value}'.{suggest(value, CORPORA)}",
                "hint": f"known here: {', '.join(CORPORA)}, or your own text: {{train: FILE, valid: FILE, test: FILE}}",
            },
        )
    if not isinstance(value, str | dict | TextFilesOptions):
        raise PydanticCustomError(
            "corpus_form",
            "{message}",
            {"message": f"a corpus is a name ({', '.join(CORPORA)}) or {{train: FILE, valid: FILE, test: FILE}}"},
        )
    return value


class LanguageModelOptions(Options):
    """The ``task`` block of word-level language modelling.

    Attributes:
        kind: ``language_model``.
        corpus: ``pydocs`` (built from the documentation of the running Python), ``ptb`` (Penn Treebank, brought by the
            user), or the user's own text files.
        train_tokens: how many tokens of the training text are used, from its beginning; null for all of them.
        decoder_bias: whether the output layer, tied to the embedding, has a bias (off in the paper).
        reward: ``negative_nll``, or ``c_over_perplexity`` (the paper).
        reward_scale: c of ``c_over_perplexity`` (reference codes: 80).
        reward_batch_size: sequences of the validation minibatch that gives a reward.
        reward_bptt: its words per sequence; the state starts at zero.
        streams: parallel streams of a proxy evaluation. Reported figures use one stream: the state is carried over the
            whole split.
    """

    kind: Literal["language_model"] = "language_model"
    corpus: Annotated[Literal["pydocs", "ptb"] | TextFilesOptions, BeforeValidator(_corpus)] = "pydocs"
    train_tokens: Annotated[int, Field(ge=2)] | None = None
    decoder_bias: bool = True
    reward: Literal["negative_nll", "c_over_perplexity"] = "negative_nll"
    reward_scale: Positive = 80.0
    reward_batch_size: int = Field(default=20, ge=1)
    reward_bptt: int = Field(default=35, ge=1)
    streams: int = Field(default=20, ge=1)


class LanguageModelRecipe(Recipe):
    """A recipe for language models; dropout values are probabilities of dropping (reference values: docs/enas.md).

    Masks are drawn once per window of `bptt` words and are the same for all its time steps (variational dropout).

    Attributes:
        batch_size: parallel sequences (the paper: 64).
        bptt: words per window of truncated back-propagation (the paper: 35). The state is carried on, detached.
        dropout_words: rows of the embedding that are dropped per window (word dropout).
        dropout_embedding: elements of the embedded words.
        dropout_input: elements of the cell's input x.
        dropout_hidden: elements of h_{t-1} and of every node's state before its matrix; one mask for all nodes.
        dropout_output: elements of the cell's output before the decoder.
        activation_regularization: factor of the mean square of the dropped output.
        temporal_activation_regularization: factor of the mean square of the output's change per step.
        embedding_init_range: the embedding starts from U(±embedding_init_range).
    """

    batch_size: int = Field(default=20, ge=1)
    bptt: int = Field(default=35, ge=1)
    dropout_words: Fraction = 0.0
    dropout_embedding: Fraction = 0.0
    dropout_input: Fraction = 0.3
    dropout_hidden: Fraction = 0.0
    dropout_output: Fraction = 0.4
    activation_regularization: NotNegative = 0.0
    temporal_activation_regularization: NotNegative = 0.0
    embedding_init_range: Positive = 0.1


def input_shapes(config: LanguageModelOptions, width: int) -> Mapping[str, Shape]:
    """Words, state and state mask, each of `width` features."""
    return {"inputs": (width,), "state": (width,), "mask": (width,)}


TASKS: tuple[TaskKind, ...] = (
    TaskKind(
        name="language_model",
        summary="predict the next word; perplexity, lower is better",
        build="nasforge.tasks.language_model:LanguageModel",
        config=LanguageModelOptions,
        recipe=LanguageModelRecipe,
        prepare="nasforge.tasks.language_data:prepare",
        kinds=("recurrent_cell",),
        shapes=input_shapes,
        references=("lstm",),
        data_key="corpus",
        search_recipe={"learning_rate": 8e-3},
        metric=("perplexity", "min"),
    ),
)
